"""Figures: functions from a table to a Plotly figure. Colours of text and grid follow the page (``page.js``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.page import GRID, INK, LAYOUT
from fer_batch.palette import COLOURS, CONDITIONS
from fer_batch.schema import EMOTIONS, PROBABILITIES

if TYPE_CHECKING:
    import plotly.graph_objects as go

PATTERNS: Final = {"no_face": "/", "too_small": ".", "decode_error": "x"}
"""Fill pattern of each condition without scores; the legend in ``base.html`` draws the same ones."""

_SECOND: Final = 1000
_DAY: Final = 86_400_000


def timeline(points: pa.Table, stretches: pa.Table, extent_ms: int, *, compact: bool = False) -> go.Figure:
    """The seven probabilities through a video, stacked, on a true time axis; below them the number of faces.

    Args:
        points: rows of the table `frames`, all or :func:`reports.measures.thinned`.
        stretches: :func:`reports.measures.conditions` of the same video. The areas stop where no face was seen and a
            pattern says why; nothing is drawn where nothing was sampled.
        extent_ms: length of the time axis.
        compact: leave out the number of faces.
    """
    import plotly.graph_objects as go

    time = points["timestamp_ms"].to_numpy().astype(np.int64)
    n_faces = points["n_faces"].to_numpy()
    values = np.stack([points[name].to_numpy(zero_copy_only=False) for name in PROBABILITIES], axis=1)
    x, rows = _areas(time, n_faces, stretches)
    traces: list[dict[str, Any]] = []
    for condition, name in CONDITIONS.items():
        bands_x, bands_y = _bands(stretches, condition)
        if len(bands_x):
            pattern = {
                "shape": PATTERNS[condition],
                "size": 7,
                "solidity": 0.18,
                "fgcolor": INK,
                "fillmode": "overlay",
            }
            traces.append(
                {"x": bands_x, "y": bands_y, "name": name, "meta": condition, "mode": "lines", "line": {"width": 0},
                 "fill": "tozeroy", "fillpattern": pattern, "fillcolor": "rgba(122,132,148,0.10)", "hoverinfo": "skip"}
            )  # fmt: skip
    for index, emotion in enumerate(EMOTIONS):
        y = np.where(rows < 0, 0, values[np.maximum(rows, 0), index]) if len(rows) else np.zeros(0)
        traces.append(
            {"x": x, "y": y.astype(np.float32), "name": emotion, "meta": "emotion", "mode": "lines",
             "stackgroup": "expressions", "line": {"width": 0, "color": COLOURS[emotion]},
             "fillcolor": COLOURS[emotion], "hoverinfo": "skip"}
        )  # fmt: skip
    # One invisible trace carries the readings: with one a kind, Plotly would show the nearest of each at once.
    traces.append(
        {"x": axis_time(time), "y": np.full(len(time), 0.5, np.float32), "name": "label", "meta": "label",
         "mode": "markers", "marker": {"opacity": 0, "size": 1, "color": INK}, "text": _readings(points, values),
         "hovertemplate": "<b>%{x}</b><br>%{text}<extra></extra>"}
    )  # fmt: skip
    if not compact:
        counts_x, counts = _face_counts(time, n_faces, stretches)
        traces.append(
            {"x": counts_x, "y": counts, "yaxis": "y2", "name": "faces", "meta": "faces", "mode": "lines",
             "fill": "tozeroy", "line": {"shape": "hv", "width": 1.5, "color": INK},
             "fillcolor": "rgba(122,132,148,0.25)", "hoverinfo": "skip"}
        )  # fmt: skip
    most = max(1, int(n_faces.max())) if len(n_faces) else 1
    # All at once: adding traces and layout one by one makes Plotly check everything again each time.
    return go.Figure({"data": [{"type": "scatter", **trace} for trace in traces],
                      "layout": _layout(extent_ms, most, compact)})  # fmt: skip


def axis_time(values: Any) -> NDArray[np.int32]:
    """Milliseconds of video as Plotly's dates, from the second day of the epoch on; enough for 23 days.

    Plotly takes numbers below 10,000 for years, hence the day. 32-bit integers are packed into a third of the text.
    """
    return np.minimum(np.asarray(values, dtype=np.int64) + _DAY, np.iinfo(np.int32).max).astype(np.int32)


def _areas(time: NDArray[Any], n_faces: NDArray[Any], stretches: pa.Table) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Where the stacked areas have points: times, and the row each takes its value from (-1 for zero).

    Plotly draws a stack straight across missing values, which would show expressions where no face was. So each
    stretch ends in a point at zero and the next begins with one, a millisecond off the samples.
    """
    x: list[NDArray[Any]] = []
    rows: list[NDArray[Any]] = []
    for stretch in stretches.to_pylist():
        start, end = stretch["start_ms"], stretch["end_ms"]
        if stretch["condition"] != "face" or end - start < 2:
            continue
        low, high = np.searchsorted(time, (start, end))
        inside = np.arange(low, high)[n_faces[low:high] > 0]
        if len(inside):
            # The last sample stands for its whole duration.
            x += [np.array([start - 1]), time[inside], np.array([end - 1, end])]
            rows += [np.array([-1]), inside, np.array([inside[-1], -1])]
    if not x:
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    times, sources = np.concatenate(x), np.concatenate(rows)
    # Two stretches that touch share their zero, and one of a few milliseconds has no room for its own.
    order = np.r_[True, np.diff(times) > 0] & (times >= 0)
    return axis_time(times[order]), sources[order]


def _bands(stretches: pa.Table, condition: str) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """A box from 0 to 1 over each stretch of a condition, as one line."""
    mine = [row for row in stretches.to_pylist() if row["condition"] == condition]
    x = [at for row in mine for at in (row["start_ms"], row["start_ms"], row["end_ms"], row["end_ms"])]
    return axis_time(x), np.tile(np.array([0, 1, 1, 0], np.int8), len(mine))


def _face_counts(
    time: NDArray[Any], n_faces: NDArray[Any], stretches: pa.Table
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The number of faces as steps, from each stretch's start to its end; unknown (NaN) in damage and between them."""
    x: list[NDArray[Any]] = []
    y: list[NDArray[Any]] = []
    for stretch in stretches.to_pylist():
        low, high = np.searchsorted(time, (stretch["start_ms"], stretch["end_ms"]))
        if low == high or stretch["condition"] == "decode_error":
            continue
        counts = n_faces[low:high].astype(np.float64)
        x.append(np.r_[time[low:high], stretch["end_ms"], stretch["end_ms"]])
        y.append(np.r_[counts, counts[-1], np.nan])
    if not x:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    times, values = np.concatenate(x), np.concatenate(y)
    # Where the next stretch starts at once, the line goes on.
    starts = np.cumsum([len(part) for part in x])[:-1]
    joined = [int(at) - 1 for at in starts if times[at] == times[at - 1]]
    return axis_time(np.delete(times, joined)), np.delete(values, joined).astype(np.float32)


def _readings(points: pa.Table, values: NDArray[Any]) -> list[str]:
    """What the pointer reads at each sample: its expressions from 1 % on, highest first, or why there are none."""
    texts: list[str] = []
    counts, reasons = points["n_faces"].to_pylist(), points["reason"].to_pylist()
    for row, count, reason in zip(values, counts, reasons, strict=True):
        if not count:
            texts.append(CONDITIONS[reason or "no_face"])
            continue
        lines = [f"{EMOTIONS[i]} {row[i]:.0%}" for i in np.argsort(-row, kind="stable") if row[i] >= 0.005]
        texts.append("<br>".join([*lines, f"mean of {count} faces"] if count > 1 else lines))
    return texts


def _layout(extent_ms: int, most_faces: int, compact: bool) -> dict[str, Any]:
    ends = [str(np.datetime64(_DAY + at, "ms")) for at in (0, max(extent_ms, 1))]
    clock = "%-M:%S" if extent_ms < 3600 * _SECOND else "%-H:%M:%S"
    layout: dict[str, Any] = {
        **LAYOUT,
        "showlegend": False,
        "hovermode": "x",
        "hoverdistance": -1,
        "dragmode": "zoom",
        "height": 180 if compact else 450,
        "margin": {"l": 58, "r": 12, "t": 10 if compact else 30, "b": 46},
        "xaxis": {
            **GRID, "type": "date", "range": ends, "minallowed": ends[0], "maxallowed": ends[1], "showgrid": False,
            "title": {"text": "Time in the video (h:mm:ss)" if "H" in clock else "Time in the video (m:ss)"},
            "tickformatstops": [
                {"dtickrange": [None, _SECOND - 1], "value": clock + ".%2f"},
                {"dtickrange": [_SECOND, None], "value": clock},
            ],
            "hoverformat": clock + ".%1f", "nticks": 8, "showspikes": True, "spikemode": "across",
            "spikethickness": 1, "spikedash": "solid", "spikecolor": INK, "anchor": "y" if compact else "y2",
        },
        "yaxis": {
            **GRID, "range": [0, 1], "fixedrange": True, "tickformat": ".0%", "nticks": 5,
            "title": {"text": "Probability" if compact else "Mean probability of the faces"},
            "domain": [0, 1] if compact else [0.3, 1],
        },
    }  # fmt: skip
    if not compact:
        layout["yaxis2"] = {
            **GRID, "range": [0, most_faces * 1.12], "fixedrange": True, "tickformat": "d", "domain": [0, 0.2],
            "title": {"text": "Faces"}, **({"dtick": 1} if most_faces <= 4 else {"nticks": 4}),
        }  # fmt: skip
    return layout


def strip_paths(strip: pa.Table) -> list[tuple[str, str]]:
    """A :func:`reports.measures.strip` as outlines for a small picture that needs no script.

    Returns:
        Name and SVG path data of each layer, to be painted in this order, in a box 4 units a column wide and 100 high.
        Each layer reaches down to the base line and the next one covers it, so no slits show between them.
    """
    layers = (*EMOTIONS, *CONDITIONS)
    heights = np.stack([strip[name].to_numpy() for name in layers])
    tops = np.rint(100 - 100 * np.clip(np.cumsum(heights, axis=0), 0, 1)).astype(int)
    paths: list[tuple[str, str]] = []
    below = np.full(heights.shape[1], 100)
    for name, top in zip(layers, tops, strict=True):
        if (top < below).any():
            paths.append((name, "M0 100" + "".join(f"V{height}h4" for height in top) + "V100z"))
        below = top
    return paths[::-1]
