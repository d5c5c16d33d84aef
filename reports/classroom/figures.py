"""The figure of a video's bins, as plain data: three proxies one above the other, and gaps that say why they are."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import numpy as np

from fer_batch.page import INK
from reports.figures.axes import Figure, axis_time, grid, headings, layout, time_axis

PROXIES: Final = {"presence": "Presence (0 to 1)", "expressiveness": "Expressiveness (0 to 1)",
                  "valence": "Valence (\u22121 to 1)"}  # fmt: skip

_RANGES: Final = {"presence": [0, 1.05], "expressiveness": [0, 1.05], "valence": [-1.05, 1.05]}

_PATTERNS: Final = {"too_few": "/", "damaged": "x", "not_sampled": "."}

_LINE: Final = "#2288cc"


def course(bins: list[dict[str, Any]], extent_ms: int, why: dict[str, str]) -> Figure:
    """The proxies through a video.

    Args:
        bins: its rows of :data:`fer_batch.schema.BINS`, by time.
        extent_ms: its length.
        why: for each status but ``shown``, what a gap says.
    """
    traces: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    domains: dict[str, list[float]] = {}
    titles: dict[str, str] = {}
    for number, (name, title) in enumerate(PROXIES.items(), 1):
        axis = f"y{number}" if number > 1 else "y"
        domain = [1 - number / 3 + 0.02, 1 - (number - 1) / 3 - 0.06]
        domains[axis] = domain
        titles[axis] = title
        axes[f"yaxis{number if number > 1 else ''}"] = {**grid(), "domain": domain, "range": _RANGES[name], "nticks": 4}
        traces += [_gap(status, rows, _RANGES[name], axis, why[status]) for status, rows in _gaps(bins)]
        traces.append(_steps(name, title, [row for row in bins if row["status"] == "shown"], axis))
    return {
        "data": traces,
        "layout": layout(
            460,
            hovermode="closest",
            annotations=headings(domains, titles),
            xaxis=time_axis(extent_ms) | {"anchor": "y3"},
            **axes,
        ),
    }


def _gaps(bins: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Stretches of bins of one status, but for those that are shown."""
    found = [(status, list(rows)) for status, rows in groupby(bins, key=lambda row: str(row["status"]))]
    return [(status, rows) for status, rows in found if status != "shown"]


def _gap(status: str, rows: list[dict[str, Any]], ends: list[float], axis: str, text: str) -> dict[str, Any]:
    start, end = rows[0]["start_ms"], rows[-1]["start_ms"] + rows[-1]["duration_ms"]
    low, high = ends
    pattern = {"shape": _PATTERNS[status], "size": 7, "solidity": 0.18, "fgcolor": INK, "fillmode": "overlay"}
    return {
        "type": "scatter", "mode": "lines", "x": axis_time([start, start, end, end]),
        "y": np.array([low, high, high, low], np.float32), "line": {"width": 0}, "fill": "toself", "meta": status,
        "fillpattern": pattern, "fillcolor": "rgba(122,132,148,0.10)", "name": text, "text": text, "hoveron": "fills",
        "hoverinfo": "text", "xaxis": "x", "yaxis": axis,
    }  # fmt: skip


def _steps(name: str, title: str, rows: list[dict[str, Any]], axis: str) -> dict[str, Any]:
    """A level line a bin; bins that follow each other are joined."""
    x: list[int] = []
    y: list[float] = []
    texts: list[str] = []
    for row in rows:
        if x and x[-1] != row["start_ms"]:
            x.append(x[-1])
            y.append(float("nan"))
            texts.append("")
        x += [row["start_ms"], row["start_ms"] + row["duration_ms"]]
        y += [row[name]] * 2
        texts += [f"{title.partition(' ')[0]} {row[name]:.2f}<br>about {row['people']} people"] * 2
    return {
        "type": "scatter", "mode": "lines", "x": axis_time(x), "y": np.asarray(y, np.float32), "name": title,
        "line": {"width": 2.2, "color": _LINE}, "text": texts, "hovertemplate": "%{x}<br>%{text}<extra></extra>",
        "xaxis": "x", "yaxis": axis,
    }  # fmt: skip
