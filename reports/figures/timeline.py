"""The timeline: seven probabilities stacked, coverage, number of faces, and who is on screen, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.page import INK
from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS, PROBABILITIES
from reports.figures.axes import BAND, Figure, axis_time, condition_bands, frame, grid, headings, layout, time_axis

MOST_LANES: Final = 12
"""Lanes of the ribbon; more people than that at once are not drawn, but they are in the table of tracks."""

_HEADINGS: Final = {
    "y": "Mean probability",
    "y2": "Coverage",
    "y3": "Number of faces",
    "y4": "Tracks on screen, by number",
}
_CODES: Final = {"no_face": 1, "too_small": 2, "decode_error": 3, "not_seen": 4}


@dataclass(frozen=True)
class TimelineView:
    """What one view of the timeline shows.

    Attributes:
        name: ``all/smooth``, ``all/raw``, ``3/smooth`` ...: whom (everyone, or a track), and how.
        points: rows of the table `frames`, or :func:`reports.measures.of_track`, as they are or smoothed and thinned.
            Where they have a column `coverage`, it is drawn.
        stretches: :func:`reports.measures.conditions` of the same. The areas stop where no face was seen and a pattern
            says why; nothing is drawn where nothing was sampled.
    """

    name: str
    points: pa.Table
    stretches: pa.Table


def timeline(views: Sequence[TimelineView], ribbon: pa.Table, extent_ms: int) -> Figure:
    """The figure of the first view, with the others as frames.

    Args:
        views: the first one, of everyone, also gives the number of faces.
        ribbon: :func:`reports.measures.lanes`.
        extent_ms: length of the time axis.
    """
    first, *others = views
    own = _traces(first)
    at = len(own)
    faces_x, faces = _face_counts(first.points, first.stretches)
    alone = _alone(ribbon)
    lanes = min(MOST_LANES, 1 + max(ribbon["lane"].to_pylist(), default=0))
    data = [
        *own,
        {"x": faces_x, "y": faces, "yaxis": "y3", "name": "faces", "meta": "faces", "mode": "lines", "type": "scatter",
         "fill": "tozeroy", "line": {"shape": "hv", "width": 1.5, "color": INK}, "fillcolor": BAND,
         "hoverinfo": "skip"},
        {**_ribbon(ribbon), "name": "on screen", "meta": "ribbon", "line": {"width": 9, "color": INK}},
        {**_ribbon(ribbon.slice(0, 0)), "name": "chosen", "meta": "chosen", "line": {"width": 9, "color": INK}},
        _ribbon_numbers(ribbon, extent_ms, alone),
    ]  # fmt: skip
    frames = []
    for view in others:
        changed = dict(enumerate(_traces(view, changes_only=True)))
        who = view.name.partition("/")[0]
        if who != "all":
            mine = ribbon.filter(pa.array(np.equal(ribbon["track_id"].to_numpy(), int(who))))
            changed[at + 2] = {name: _ribbon(mine)[name] for name in ("x", "y")}
        frames.append(frame(view.name, changed))
    most = int(max(np.nan_to_num(faces), default=1)) or 1
    return {"data": data, "layout": _layout(extent_ms, most, lanes, alone), "frames": frames}


def _traces(view: TimelineView, *, changes_only: bool = False) -> list[dict[str, Any]]:
    """Patterns, seven areas, the readings and the coverage of one view; or what differs from another's."""
    points = view.points
    time = points["timestamp_ms"].to_numpy().astype(np.int64)
    n_faces = points["n_faces"].to_numpy()
    values = np.stack([points[name].to_numpy(zero_copy_only=False) for name in PROBABILITIES], axis=1)
    x, rows = _areas(time, n_faces, view.stretches)
    traces = condition_bands(view.stretches, 0, 1)
    for index, emotion in enumerate(EMOTIONS):
        y = np.where(rows < 0, 0, values[np.maximum(rows, 0), index]) if len(rows) else np.zeros(0)
        # Plotly would drop the points at zero, a millisecond off their neighbours, to draw fewer.
        traces.append(
            {"x": x, "y": y.astype(np.float32), "name": emotion, "meta": "emotion", "mode": "lines", "type": "scatter",
             "stackgroup": "expressions", "line": {"width": 0, "color": COLOURS[emotion], "simplify": False},
             "fillcolor": COLOURS[emotion], "hoverinfo": "skip"}
        )  # fmt: skip
    # One invisible trace carries the readings, which the page puts into words: with one a kind, Plotly would show the
    # nearest of each at once.
    traces.append(
        {"x": axis_time(time), "y": np.full(len(time), 0.5, np.float32), "name": "readings", "meta": "readings",
         "mode": "markers", "marker": {"opacity": 0, "size": 1, "color": INK}, "type": "scatter",
         "customdata": _readings(points, values), "hovertemplate": "<b>%{x}</b><br>%{text}<extra></extra>"}
    )  # fmt: skip
    known = "coverage" in points.column_names
    coverage = points["coverage"].to_numpy().astype(np.float32) if known else (n_faces > 0).astype(np.float32)
    ends = time[-1:] + points["duration_ms"].to_numpy()[-1:]  # the last sample stands for its whole duration
    traces.append(
        {"x": axis_time(np.append(time, ends)), "y": np.append(coverage, coverage[-1:]), "yaxis": "y2",
         "name": "coverage", "meta": "coverage", "mode": "lines",
         "type": "scatter", "fill": "tozeroy", "line": {"width": 1.5, "color": INK}, "fillcolor": BAND,
         "hoverinfo": "skip"}
    )  # fmt: skip
    if changes_only:
        return [{name: trace[name] for name in ("x", "y", "customdata") if name in trace} for trace in traces]
    return traces


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


def _face_counts(points: pa.Table, stretches: pa.Table) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The number of faces as steps, from each stretch's start to its end; unknown (NaN) in damage and between them."""
    time = points["timestamp_ms"].to_numpy().astype(np.int64)
    n_faces = points["n_faces"].to_numpy()
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


def _readings(points: pa.Table, values: NDArray[Any]) -> NDArray[np.uint8]:
    """What the pointer reads at each sample: seven per cents, the number of faces, and a code for why there is none."""
    table = np.zeros((points.num_rows, 9), np.uint8)
    table[:, :7] = np.rint(100 * np.nan_to_num(values))
    table[:, 7] = np.minimum(points["n_faces"].to_numpy(), 255)
    for row, (count, reason) in enumerate(zip(table[:, 7], points["reason"].to_pylist(), strict=True)):
        table[row, 8] = 0 if count else _CODES[reason or "no_face"]
    return table


def _ribbon(ribbon: pa.Table) -> dict[str, Any]:
    """A bar a stretch of a track, in its lane."""
    rows = [row for row in ribbon.to_pylist() if row["lane"] < MOST_LANES]
    x = [at for row in rows for at in (row["start_ms"], row["end_ms"], row["end_ms"])]
    y = [at for row in rows for at in (row["lane"], row["lane"], np.nan)]
    return {"x": axis_time(x), "y": np.array(y, np.float32), "yaxis": "y4", "type": "scatter", "mode": "lines",
            "hoverinfo": "skip"}  # fmt: skip


def _ribbon_numbers(ribbon: pa.Table, extent_ms: int, alone: dict[int, int]) -> dict[str, Any]:
    """The number of each track that shares its lane, at its start, where it does not cover another's."""
    x, y, numbers = [], [], []
    last_in_lane: dict[int, int] = {}
    seen: set[int] = set()
    for row in ribbon.to_pylist():
        track, lane, start = row["track_id"], row["lane"], row["start_ms"]
        if track in seen or lane in alone or lane >= MOST_LANES:
            continue
        seen.add(track)
        if lane not in last_in_lane or start - last_in_lane[lane] > extent_ms / 25:
            last_in_lane[lane] = start
            x.append(start)
            y.append(lane - 0.15)
            numbers.append(str(track))
    return {"x": axis_time(x), "y": np.array(y, np.float32), "text": numbers, "yaxis": "y4", "type": "scatter",
            "mode": "text", "name": "track numbers", "meta": "numbers", "textposition": "top right",
            "textfont": {"size": 10}, "hoverinfo": "skip"}  # fmt: skip


def _alone(ribbon: pa.Table) -> dict[int, int]:
    """The track of each lane that has one only."""
    tracks: dict[int, set[int]] = {}
    for row in ribbon.to_pylist():
        tracks.setdefault(row["lane"], set()).add(row["track_id"])
    return {lane: next(iter(found)) for lane, found in tracks.items() if len(found) == 1}


def _layout(extent_ms: int, most_faces: int, lanes: int, alone: dict[int, int]) -> dict[str, Any]:
    """Four plots above each other; the ribbon grows with its lanes."""
    is_shared = any(lane not in alone for lane in range(lanes))
    heights = {"y": 260, "y2": 48, "y3": 60, "y4": (26 if is_shared else 18) * lanes + 8}
    gap, top, bottom = 34, 44, 48
    inner = sum(heights.values()) + gap * 3
    domains, upper = {}, inner
    for name, height in heights.items():
        domains[name] = [max(0.0, (upper - height) / inner), upper / inner]
        upper -= height + gap
    axis = {**grid(), "fixedrange": True}
    return layout(
        inner + top + bottom,
        hovermode="x",
        hoverdistance=-1,
        margin={"l": 58, "r": 12, "t": top, "b": bottom},
        annotations=headings(domains, _HEADINGS),
        xaxis=time_axis(extent_ms, anchor="y4", showspikes=True, spikemode="across", spikethickness=1,
                        spikedash="solid", spikecolor=INK),
        yaxis={**axis, "range": [0, 1], "tickformat": ".0%", "nticks": 5, "domain": domains["y"]},
        yaxis2={**axis, "range": [0, 1.04], "tickformat": ".0%", "tickvals": [0, 1], "domain": domains["y2"]},
        yaxis3={**axis, "range": [0, most_faces * 1.15], "tickformat": "d", "domain": domains["y3"],
                **({"dtick": 1} if most_faces <= 3 else {"nticks": 3})},
        yaxis4={**axis, "range": [lanes - 0.4, -0.8 if is_shared else -0.6], "showgrid": False, "ticks": "",
                "tickvals": list(alone), "ticktext": [str(track) for track in alone.values()], "domain": domains["y4"]},
    )  # fmt: skip
