"""What all figures share: time as Plotly's dates, patterns for time without scores, grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch import page
from fer_batch.page import INK
from fer_batch.palette import CONDITIONS
from reports.measures import NOT_SEEN

Figure = dict[str, Any]
"""A Plotly figure as plain data; arrays may be NumPy's."""

BAND: Final = "rgba(122,132,148,0.25)"

WITHOUT_SCORES: Final = {**CONDITIONS, NOT_SEEN: "This track not seen"}
"""Names of the conditions that have a pattern in a figure."""

PATTERNS: Final = {"no_face": "/", "too_small": ".", "decode_error": "x", NOT_SEEN: "-"}
"""Fill pattern of each condition without scores; the legend in ``base.html`` draws the same ones."""

_SECOND: Final = 1000
_DAY: Final = 86_400_000


def axis_time(values: Any) -> NDArray[np.int32]:
    """Milliseconds of video as Plotly's dates, from the second day of the epoch on; enough for 23 days.

    Plotly takes numbers below 10,000 for years, hence the day. 32-bit integers are packed into a third of the text.
    """
    return np.minimum(np.asarray(values, dtype=np.int64) + _DAY, np.iinfo(np.int32).max).astype(np.int32)


def time_axis(extent_ms: int, **more: Any) -> dict[str, Any]:
    """A true time axis of a video, labelled m:ss, or h:mm:ss from an hour on."""
    ends = [str(np.datetime64(_DAY + at, "ms")) for at in (0, max(extent_ms, 1))]
    clock = "%-M:%S" if extent_ms < 3600 * _SECOND else "%-H:%M:%S"
    return {
        **grid(), "type": "date", "range": ends, "minallowed": ends[0], "maxallowed": ends[1], "showgrid": False,
        "title": {"text": "Time in the video (h:mm:ss)" if "H" in clock else "Time in the video (m:ss)"},
        "tickformatstops": [
            {"dtickrange": [None, _SECOND - 1], "value": clock + ".%2f"},
            {"dtickrange": [_SECOND, None], "value": clock},
        ],
        "hoverformat": clock + ".%1f", "nticks": 8, **more,
    }  # fmt: skip


def grid() -> dict[str, Any]:
    """Looks of an axis."""
    return dict(page.GRID)


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Looks of a figure, transparent so that the page's own background shows."""
    looks = {name: value for name, value in page.LAYOUT.items() if value is not None}
    margin = {"l": 58, "r": 12, "t": 30, "b": 46}
    return {**looks, "showlegend": False, "dragmode": "zoom", "height": height, "margin": margin, **more}


def headings(domains: Mapping[str, Sequence[float]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """A heading above each of several plots in one figure: along a low axis a title would not fit."""
    return [
        {"text": text, "x": 0, "xref": "paper", "xanchor": "left", "y": domains[axis][1], "yref": "paper",
         "yanchor": "bottom", "showarrow": False, "align": "left"}
        for axis, text in titles.items()
    ]  # fmt: skip


def condition_bands(stretches: pa.Table, low: float, high: float, **axes: str) -> list[dict[str, Any]]:
    """A trace a condition without scores: a patterned box from `low` to `high` over each of its stretches."""
    traces = []
    rows = stretches.to_pylist()
    for condition, name in WITHOUT_SCORES.items():
        mine = [row for row in rows if row["condition"] == condition]
        corners = ("start_ms", "start_ms", "end_ms", "end_ms", "end_ms")
        x = [row[corner] for row in mine for corner in corners]
        pattern = {"shape": PATTERNS[condition], "size": 7, "solidity": 0.18, "fgcolor": INK, "fillmode": "overlay"}
        traces.append(
            {"type": "scatter", "x": axis_time(x), "y": np.tile(np.array([low, high, high, low, np.nan], np.float32),
             len(mine)), "name": name, "meta": condition, "mode": "lines", "line": {"width": 0}, "fill": "toself",
             "fillpattern": pattern, "fillcolor": "rgba(122,132,148,0.10)", "hoverinfo": "skip", **axes}
        )  # fmt: skip
    return traces


def pieces(known: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Runs of rows that are known, as row numbers."""
    rows = np.flatnonzero(known)
    return [run for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(run)]


def line_with_band(
    table: pa.Table, name: str, label: str, window: int, **axes: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The band from `_low` to `_high` and the line `_mean` of a column of :func:`reports.measures.spread`.

    A piece of a single point is drawn as wide as a third of the window, so that it shows at all.
    """
    at = table["at_ms"].to_numpy().astype(np.int64)
    mean, low, high = (
        np.asarray(table[f"{name}_{what}"].to_numpy(zero_copy_only=False), np.float64)
        for what in ("mean", "low", "high")
    )
    line_x, line_y, band_x, band_y = [], [], [], []
    for rows in pieces(~np.isnan(mean)):
        x, m, lo, hi = at[rows], mean[rows], low[rows], high[rows]
        if len(rows) == 1:
            x = np.array([x[0] - window // 6, x[0] + window // 6])
            m, lo, hi = np.repeat(m, 2), np.repeat(lo, 2), np.repeat(hi, 2)
        line_x += [x, x[-1:]]
        line_y += [m, [np.nan]]
        band_x += [x, x[::-1], x[:1]]
        band_y += [hi, lo[::-1], [np.nan]]
    band = {
        "x": axis_time(_joined(band_x)), "y": _joined(band_y).astype(np.float32), "name": f"{label}, 10th to 90th "
        "percentile", "meta": "band", "type": "scatter", "mode": "lines", "line": {"width": 0}, "fill": "toself",
        "fillcolor": BAND, "hoverinfo": "skip", **axes,
    }  # fmt: skip
    line = {
        "x": axis_time(_joined(line_x)), "y": _joined(line_y).astype(np.float32), "name": label, "meta": "ink",
        "type": "scatter", "mode": "lines", "line": {"width": 1.8, "color": INK},
        "hovertemplate": "%{x}<br>" + label + " %{y:.2f}<extra></extra>", **axes,
    }  # fmt: skip
    return band, line


def _joined(arrays: list[Any]) -> NDArray[np.float64]:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def frame(name: str, traces: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Another view of a figure: what its traces, by number, show instead."""
    return {"name": name, "traces": list(traces), "data": list(traces.values())}
