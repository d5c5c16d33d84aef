"""Figures of a comparison, as plain data; `frames` hold the same figure of other measures, for the page to choose."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.page import INK, NONE
from fer_batch.schema import PROBABILITIES
from reports.figures.axes import Figure, axis_time, grid, layout, pieces, time_axis
from reports.groups.cells import CURVES, MEASURES
from reports.groups.compare import OTHERS, Factor
from reports.groups.over_time import Curve
from reports.groups.settings import Settings

COLOURS: Final = ("#2288CC", "#EE7733", "#009988", "#CC3311", "#7A8CA8", "#AA6FC5")
"""Of groups: near Paul Tol's 'vibrant', legible on light and dark, in an order that stays apart with any common kind of
colour blindness. No emotion has one of them, and lines differ in their dashes too."""

DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

LABELS: Final = {
    "valence": "Valence",
    "expressiveness": "Expressiveness",
    "time_positive": "Time positive",
    "peak_valence": "Peak valence",
    **{name: f"p({name.removeprefix('p_')})" for name in MEASURES if name.startswith("p_")},
}
"""What a reader calls the measures."""

Titles = Mapping[str, str]
"""Titles of the axes by measure, with range and unit."""

LINE: Final = 18
"""Letters in a line of a label: a phone has room for no more."""


def titles(asked: Settings) -> Titles:
    """What the axes are called: the measure, that a baseline is subtracted, the range, and what it is a share of."""
    found = {}
    for measure in MEASURES:
        low, high = (f"{end:g}".replace("-", "\u2212") for end in asked.bounds(measure))
        minus = " minus baseline" if asked.baseline is not None and measure != "time_positive" else ""
        kind = "share of time, " if measure == "time_positive" else "probability, " if measure in PROBABILITIES else ""
        found[measure] = f"{LABELS[measure]}{minus} ({kind if not minus else ''}{low} to {high})"
    return found


def short(text: str) -> str:
    """A name from a table as a label: two lines at most, and nothing in it is taken for markup."""
    lines = textwrap.wrap(text, LINE, max_lines=2, placeholder="\u2026", break_on_hyphens=False)
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def _pair(a: str, b: str) -> str:
    return short(a) if b == OTHERS else f"{short(a)} \u2212<br>{short(b)}"


def courses(found: Sequence[Curve], step_ms: int, titles: Titles) -> Figure:
    """A line a group with its band over time; below 12 people each person's points instead of a band."""
    names = list(dict.fromkeys(one.a for one in found))
    drawn = {measure: _traces([one for one in found if one.measure == measure], names, step_ms) for measure in CURVES}
    extent = max(int(one.at_ms[-1]) for one in found) + step_ms
    return _over_time(drawn, extent, titles)


def gaps(found: Sequence[Curve], step_ms: int) -> Figure:
    """The difference of two groups over time with its band; frames are named ``measure/number of the pair``."""
    pairs = list(dict.fromkeys((one.a, one.b) for one in found))
    drawn = {}
    for one in found:
        key = f"{one.measure}/{pairs.index((one.a, one.b))}"
        drawn[key] = _lines(one, "difference", INK, "solid", step_ms, is_ink=True)
    extent = max(int(one.at_ms[-1]) for one in found) + step_ms
    first = {f"valence/{pairs.index(pairs[0])}": drawn[f"valence/{pairs.index(pairs[0])}"]}
    made = _over_time(first | drawn, extent, {name: _of("Difference in", name) for name in CURVES})
    made["layout"]["yaxis"] |= {"zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1.5}
    return made


def _of(text: str, measure: str) -> str:
    return f"{text} {LABELS[measure][:1].lower()}{LABELS[measure][1:]}"


def _over_time(drawn: Mapping[str, list[dict[str, Any]]], extent: int, titles: Titles) -> Figure:
    def title(key: str) -> str:
        return titles[key.partition("/")[0]]

    keys = sorted(drawn, key=lambda key: not key.startswith("valence"))
    return {
        "data": drawn[keys[0]],
        "layout": layout(
            340,
            hovermode="closest",
            margin={"l": 58, "r": 12, "t": 14, "b": 46},
            xaxis=time_axis(extent) | {"title": {"text": "Time from the start of the stimulus (m:ss)"}},
            yaxis={**grid(), "title": {"text": title(keys[0])}, "autorange": True, "nticks": 6},
        ),
        "frames": [
            {"name": key, "traces": list(range(len(drawn[key]))), "data": [_changing(one) for one in drawn[key]],
             "layout": {"yaxis.title.text": title(key)}}
            for key in keys
        ],
    }  # fmt: skip


def _changing(trace: Mapping[str, Any]) -> dict[str, Any]:
    return {key: trace[key] for key in ("x", "y", "text") if key in trace}


def _traces(found: Sequence[Curve], names: Sequence[str], step_ms: int) -> list[dict[str, Any]]:
    made: list[list[dict[str, Any]]] = []
    by_name = {one.a: one for one in found if one.b is None}
    for i, name in enumerate(names):
        if name in by_name:
            label = short(name) or "mean"
            made.append(_lines(by_name[name], label, COLOURS[i % 6], DASHES[i % 6], step_ms))
    for bands in made if len(made) > 3 else []:
        bands[0]["opacity"] = 0.5  # many bands over each other hide what is below
    # No group's band lies over another's line.
    return [traces[layer] for layer in range(3) for traces in made]


def _lines(
    one: Curve, label: str, colour: str, dash: str, step_ms: int, *, is_ink: bool = False
) -> list[dict[str, Any]]:
    middle = one.at_ms + step_ms // 2
    found = one.estimate
    traces = [_band(middle, found.low, found.high, colour, label)]
    points = one.points
    x = np.tile(middle, 0 if points is None else len(points))
    traces.append(
        {"type": "scatter", "mode": "markers", "x": axis_time(x), "y": np.asarray([] if points is None else
         points.ravel(), np.float32), "name": f"{label}: each person", "marker": {"size": 4, "color": colour,
         "opacity": 0.5}, "hoverinfo": "skip"}
    )  # fmt: skip
    at, y, texts = [], [], []
    for run in pieces(np.isfinite(found.value)):
        at += [*middle[run].tolist(), int(middle[run[-1]])]
        y += [*found.value[run].tolist(), np.nan]
        for step in run:
            ends = f" ({_n(found.low[step])} to {_n(found.high[step])})" if np.isfinite(found.low[step]) else ""
            texts.append(f"{label} {_n(found.value[step])}{ends}<br>n = {found.people[step]}")
        texts.append("")
    mode = "lines+markers" if len(middle) == 1 else "lines"
    traces.append(
        {"type": "scatter", "mode": mode, "x": axis_time(at), "y": np.asarray(y, np.float32), "name": label,
         "line": {"width": 2.2, "color": colour, "dash": dash}, "text": texts, "meta": "ink" if is_ink else "group",
         "hovertemplate": "%{x}<br>%{text}<extra></extra>"}
    )  # fmt: skip
    return traces


def _band(at: NDArray[np.int64], low: NDArray[Any], high: NDArray[Any], colour: str, label: str) -> dict[str, Any]:
    x: list[NDArray[Any]] = [np.zeros(0)]
    y: list[NDArray[Any]] = [np.zeros(0)]
    for run in pieces(np.isfinite(low)):
        x += [at[run], at[run][::-1], at[run][:1]]
        y += [high[run], low[run][::-1], np.array([np.nan])]
    return {
        "type": "scatter", "mode": "lines", "x": axis_time(np.concatenate(x)),
        "y": np.concatenate(y).astype(np.float32),
        "line": {"width": 0}, "fill": "toself", "fillcolor": _pale(colour), "name": f"{label}: 95 % band",
        "hoverinfo": "skip",
    }  # fmt: skip


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.22)"


def forest(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Effect sizes with their intervals, a row a comparison; frames are measures."""
    drawn = {}
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in rows))
    for measure in MEASURES:
        by_pair = {(row["a"], row["b"]): row for row in rows if row["measure"] == measure}
        mine = [by_pair[pair] for pair in pairs if pair in by_pair]
        known = [(i, row) for i, row in enumerate(mine) if row["effect"] is not None]
        sure = [row["effect_low"] is not None for _, row in known]
        drawn[measure] = {
            "x": [row["effect"] for _, row in known], "y": [i for i, _ in known],
            "error_x": {"type": "data", "symmetric": False, "thickness": 1.6, "width": 5, "array": [
                row["effect_high"] - row["effect"] if s else 0 for (_, row), s in zip(known, sure, strict=True)],
                "arrayminus": [row["effect"] - row["effect_low"] if s else 0
                               for (_, row), s in zip(known, sure, strict=True)]},
            "text": [f"{short(row['a'])} \u2212 {short(row['b'])}<br>g = {_n(row['effect'])}" + (
                f" ({_n(row['effect_low'])} to {_n(row['effect_high'])})" if s else "")
                for (_, row), s in zip(known, sure, strict=True)],
        }  # fmt: skip
    base = {"type": "scatter", "mode": "markers", "meta": "ink", "name": "effect",
            "marker": {"size": 9, "symbol": "square", "color": INK},
            "hovertemplate": "%{text}<extra></extra>"}  # fmt: skip
    labels = [_pair(a, b) for a, b in pairs]
    return {
        "data": [base | drawn["valence"]],
        "layout": layout(
            84 + 46 * len(pairs),
            hovermode="closest",
            margin={"l": 10, "r": 14, "t": 12, "b": 46},
            xaxis={**grid(), "title": {"text": _of("Hedges' g of", "valence")}, "zeroline": True,
                   "zerolinecolor": INK, "zerolinewidth": 1.5, "fixedrange": True, "nticks": 6, "tickangle": 0},
            yaxis={**grid(), "range": [len(pairs) - 0.5, -0.5], "tickvals": list(range(len(pairs))),
                   "ticktext": labels, "ticks": "", "fixedrange": True, "automargin": True},
        ),
        "frames": [{"name": name, "traces": [0], "data": [trace],
                    "layout": {"xaxis.title.text": _of("Hedges' g of", name)}} for name, trace in drawn.items()],
    }  # fmt: skip


def points(factor: Factor, rows: Sequence[Mapping[str, Any]], titles: Titles) -> Figure:
    """Each person's own mean in each group, without names, and the mean over people with its interval."""
    levels = [int(level) for level in np.flatnonzero(factor.shown)]
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(factor.values))
    drawn: dict[str, list[dict[str, Any]]] = {}
    labels: dict[str, list[str]] = {}
    for k, measure in enumerate(MEASURES):
        means = {row["level"]: row for row in rows if row["measure"] == measure}
        if not means:
            continue
        mine = [means[factor.levels[level]] for level in levels]
        sure = [row["low"] is not None for row in mine]
        found = [factor.values[:, level, k] for level in levels]
        people = [np.flatnonzero(np.isfinite(one)) for one in found]
        labels[measure] = [f"{short(row['level'])}<br>n = {row['people']}" for row in mine]
        drawn[measure] = [
            {"x": np.concatenate([one[who] for one, who in zip(found, people, strict=True)]).astype(np.float32),
             "y": np.concatenate([i + jitter[who] for i, who in enumerate(people)]).astype(np.float32)},
            {"x": [row["mean"] for row in mine], "y": list(range(len(levels))),
             "error_x": {"type": "data", "symmetric": False, "thickness": 2, "width": 7,
                         "array": [row["high"] - row["mean"] if s else 0 for row, s in zip(mine, sure, strict=True)],
                         "arrayminus": [row["mean"] - row["low"] if s else 0
                                        for row, s in zip(mine, sure, strict=True)]},
             "text": [f"mean {_n(row['mean'])}" + (f" ({_n(row['low'])} to {_n(row['high'])})" if s else "") +
                      f"<br>n = {row['people']}" for row, s in zip(mine, sure, strict=True)]},
        ]  # fmt: skip
    base: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "markers", "name": "one person", "hovertemplate": "%{x:.3f}<extra></extra>",
         "marker": {"size": 6, "color": COLOURS[0], "opacity": 0.65}},
        {"type": "scatter", "mode": "markers", "name": "mean over people", "meta": "ink",
         "marker": {"size": 10, "symbol": "diamond", "color": INK}, "hovertemplate": "%{text}<extra></extra>"},
    ]  # fmt: skip
    return {
        "data": [trace | part for trace, part in zip(base, drawn["valence"], strict=True)],
        "layout": layout(
            90 + 54 * len(levels),
            hovermode="closest",
            margin={"l": 10, "r": 14, "t": 12, "b": 46},
            xaxis={**grid(), "title": {"text": titles["valence"]}, "fixedrange": True, "nticks": 6, "tickangle": 0,
                   "autorange": True},
            yaxis={**grid(), "range": [len(levels) - 0.5, -0.5], "tickvals": list(range(len(levels))), "ticks": "",
                   "ticktext": labels["valence"], "fixedrange": True,
                   "automargin": True, "showgrid": False},
        ),
        "frames": [{"name": name, "traces": [0, 1], "data": parts,
                    "layout": {"xaxis.title.text": titles[name], "yaxis.ticktext": labels[name]}}
                   for name, parts in drawn.items()],
    }  # fmt: skip


def ranks(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How often each group has each rank, as a heat map; the group with the highest mean first; frames are measures."""
    drawn: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for measure in MEASURES:
        mine = [row for row in rows if row["measure"] == measure and row["probability"] is not None]
        names = list(dict.fromkeys(row["level"] for row in mine))
        if names:
            cells = np.array([row["probability"] for row in mine], np.float32).reshape(len(names), -1)
            texts = [[_chance(value) for value in row] for row in cells.tolist()]
            drawn[measure] = ({"z": cells, "text": texts}, [short(name) for name in names])
    first = "valence" if "valence" in drawn else next(iter(drawn))
    count = len(drawn[first][1])
    ticks = list(range(1, count + 1))
    trace = {
        "type": "heatmap", "x": ticks, "y": list(range(count)), "zmin": 0, "zmax": 1, "colorscale": "Cividis",
        "xgap": 2, "ygap": 2, "name": "chance of a rank", "texttemplate": "%{text}" if count <= 12 else "",
        "hovertemplate": "rank %{x}: %{text}<extra></extra>", "showscale": count > 12,
    }  # fmt: skip
    return {
        "data": [trace | drawn[first][0]],
        "layout": layout(
            90 + 40 * count,
            hovermode="closest",
            margin={"l": 10, "r": 14, "t": 12, "b": 46},
            xaxis={**grid(), "title": {"text": _of("Rank (1: highest) by mean", first)}, "tickvals": ticks,
                   "fixedrange": True, "showgrid": False},
            yaxis={**grid(), "range": [count - 0.5, -0.5], "tickvals": list(range(count)), "ticktext": drawn[first][1],
                   "ticks": "", "fixedrange": True, "automargin": True, "showgrid": False},
        ),
        "frames": [{"name": name, "traces": [0], "data": [part],
                    "layout": {"yaxis.ticktext": names, "xaxis.title.text": _of("Rank (1: highest) by mean", name)}}
                   for name, (part, names) in drawn.items()],
    }  # fmt: skip


def _chance(share: float) -> str:
    """A share of the resamples in percent; what is not quite none or all does not look so."""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _n(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}".replace("-", "\u2212")
