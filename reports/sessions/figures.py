"""Figures of sessions, as plain data; `frames` hold the same figure of other measures, for the page to choose."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_batch.page import INK
from reports.figures.axes import Figure, grid, layout
from reports.groups.figures import COLOURS, Titles
from reports.sessions.change import Sessions
from reports.sessions.visits import MEASURES, Visit

PALE = "rgba(34,136,204,0.22)"
"""The first of COLOURS, for bands."""


def one_person(
    visits: Sequence[Visit], unit: str, line: dict[str, tuple[float, float] | None], titles: Titles
) -> Figure:
    """A participant's sessions with their intervals, and the line through them.

    Args:
        visits: the participant's, in order.
        unit: of the axis, ``week`` or ``session``.
        line: by measure the value at the first and the last session of the line through them; None without one.
        titles: of the axis, by measure.
    """
    at = [visit.at for visit in visits]
    drawn = {}
    for k, name in enumerate(MEASURES):
        if name not in line:
            continue
        mean = np.array([visit.mean.values[k] for visit in visits])
        reach = np.nan_to_num(np.array([visit.high[k] for visit in visits]) - mean)
        texts = [_said(visit, k) for visit in visits]
        ends = line[name]
        drawn[name] = [
            {"x": [at[0], at[-1]] if ends else [], "y": list(ends or [])},
            {"x": at, "y": mean.tolist(), "text": texts,
             "error_y": {"type": "data", "array": reach.tolist(), "thickness": 1.6, "width": 4, "color": COLOURS[0]}},
        ]  # fmt: skip
    base: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "line through the sessions", "meta": "ink", "hoverinfo": "skip",
         "line": {"width": 1.4, "color": INK, "dash": "dash"}},
        {"type": "scatter", "mode": "lines+markers", "name": "session", "line": {"width": 1.6, "color": COLOURS[0]},
         "marker": {"size": 8, "color": COLOURS[0]}, "hovertemplate": "%{text}<extra></extra>"},
    ]  # fmt: skip
    return _figure(base, drawn, unit, titles)


def everybody(found: Sessions, titles: Titles) -> Figure:
    """Each participant's sessions as a thin line, and over them the mean over people with its band."""
    people = found.people
    course = found.tables["course"].to_pylist()
    drawn: dict[str, list[dict[str, Any]]] = {}
    for k, name in enumerate(MEASURES):
        if name not in found.measures:
            continue
        x: list[float | None] = []
        y: list[float | None] = []
        texts: list[str] = []
        for who in people:
            mine = [visit for visit in found.visits if visit.participant == who]
            x += [*range(1, len(mine) + 1), None]
            y += [*(float(visit.mean.values[k]) for visit in mine), None]
            texts += [*(f"{html.escape(who)}<br>{_said(visit, k)}" for visit in mine), ""]
        rows = [row for row in course if row["measure"] == name]
        sure = [row for row in rows if row["low"] is not None]
        ends = [row["number"] for row in sure]
        drawn[name] = [
            {"x": x, "y": y, "text": texts},
            {"x": ends + ends[::-1], "y": [row["high"] for row in sure] + [row["low"] for row in sure[::-1]]},
            {"x": [row["number"] for row in rows], "y": [row["mean"] for row in rows],
             "text": [f"mean over n = {row['people']}<br>{row['mean']:.3f}" for row in rows]},
        ]  # fmt: skip
    base: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines+markers", "name": "one person", "opacity": 0.45,
         "line": {"width": 1, "color": "#7A8CA8"}, "marker": {"size": 4, "color": "#7A8CA8"},
         "hovertemplate": "%{text}<extra></extra>"},
        {"type": "scatter", "mode": "lines", "name": "95 % band", "line": {"width": 0}, "fill": "toself",
         "fillcolor": PALE, "hoverinfo": "skip"},
        {"type": "scatter", "mode": "lines+markers", "name": "mean over people", "meta": "ink",
         "line": {"width": 2.4, "color": INK}, "marker": {"size": 7, "color": INK},
         "hovertemplate": "%{text}<extra></extra>"},
    ]  # fmt: skip
    return _figure(base, drawn, "number", titles)


def _figure(base: list[dict[str, Any]], drawn: dict[str, list[dict[str, Any]]], unit: str, titles: Titles) -> Figure:
    first = MEASURES[0]
    title = {"week": "Weeks since the first session", "session": "Session", "number": "The person's session, counted"}
    # Whole numbers are sessions: no ticks between them.
    ticks = {} if unit == "week" else {"dtick": 1} if _most(drawn) <= 12 else {"tickformat": "d", "nticks": 8}
    return {
        "data": [trace | part for trace, part in zip(base, drawn[first], strict=True)],
        "layout": layout(
            320,
            hovermode="closest",
            margin={"l": 58, "r": 14, "t": 14, "b": 46},
            xaxis={**grid(), "title": {"text": title[unit]}, "showgrid": False, **ticks},
            yaxis={**grid(), "title": {"text": titles[first]}, "autorange": True, "nticks": 6},
        ),
        "frames": [
            {"name": name, "traces": [*range(len(parts))], "data": parts, "layout": {"yaxis.title.text": titles[name]}}
            for name, parts in drawn.items()
        ],
    }


def _most(drawn: dict[str, list[dict[str, Any]]]) -> float:
    places = [at for at in drawn[MEASURES[0]][-1]["x"] + drawn[MEASURES[0]][0]["x"] if at is not None]
    return max(places, default=0) - min(places, default=0)


def _said(visit: Visit, k: int) -> str:
    ends = f" ({visit.low[k]:.3f} to {visit.high[k]:.3f})" if np.isfinite(visit.low[k]) else ""
    return f"session {html.escape(visit.session)}<br>{visit.mean.values[k]:.3f}{ends}"
