"""Stretches of time: what was known of a video when, and who was on screen when."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

NOT_SEEN: Final = "not_seen"
"""The condition of time in which one person is not seen while others may be; see :func:`reports.measures.of_track`."""


def conditions(frames: pa.Table) -> pa.Table:
    """A row a stretch of time of one condition: `face`, or the reason why there is none.

    A stretch ends where the condition changes or where the samples leave time uncovered.
    """
    start = frames["timestamp_ms"].to_numpy().astype(np.int64)
    length = frames["duration_ms"].to_numpy().astype(np.int64)
    faces = frames["n_faces"].to_numpy() > 0
    reasons = frames["reason"].to_pylist()
    names = np.array(["face" if f else (r or "no_face") for f, r in zip(faces, reasons, strict=True)], dtype=object)
    if len(names) == 0:
        return _stretches([], [], [], [])
    # Times are rounded down to milliseconds: a hole of one or two is rounding.
    hole = start[1:] > (start + length)[:-1] + np.maximum(2, length[:-1] // 2)
    first = np.flatnonzero(np.r_[True, (names[1:] != names[:-1]) | hole])
    last = np.r_[first[1:], len(names)] - 1
    end = (start + length)[last]
    # A stretch reaches to the next one's start, so that rounding leaves no slit between them.
    end[:-1] = np.where(hole[last[:-1]], end[:-1], start[first[1:]])
    return _stretches(start[first], end, names[first], last - first + 1)


def _stretches(start: Any, end: Any, names: Any, samples: Any) -> pa.Table:
    return pa.table(
        {
            "start_ms": pa.array(start, pa.int64()),
            "end_ms": pa.array(end, pa.int64()),
            "condition": pa.array(names, pa.string()),
            "samples": pa.array(samples, pa.int64()),
        }
    )


def bridged(stretches: pa.Table, shortest_ms: float) -> pa.Table:
    """Stretches for a figure: those without a face that are shorter than `shortest_ms` join the faces about them."""
    kept: list[dict[str, Any]] = []
    for row in stretches.to_pylist():
        if row["condition"] != "face" and row["end_ms"] - row["start_ms"] < shortest_ms and kept:
            row["condition"] = kept[-1]["condition"]
        if kept and kept[-1]["condition"] == row["condition"] and kept[-1]["end_ms"] == row["start_ms"]:
            kept[-1]["end_ms"] = row["end_ms"]
            kept[-1]["samples"] += row["samples"]
        else:
            kept.append(row)
    return pa.Table.from_pylist(kept, schema=stretches.schema)


def presence(faces: pa.Table, bridge_ms: float = 0) -> pa.Table:
    """A row a stretch of a track: `track_id, start_ms, end_ms`, by time; gaps up to `bridge_ms` are not told apart."""
    ids, start = faces["track_id"].to_numpy(), faces["timestamp_ms"].to_numpy().astype(np.int64)
    length = faces["duration_ms"].to_numpy().astype(np.int64)
    order = np.lexsort((start, ids))
    ids, start, end = ids[order], start[order], (start + length)[order]
    # Samples come up to a frame late, so half a sample between two is no gap.
    slack = np.maximum(length[order][:-1] // 2, bridge_ms)
    first = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (start[1:] > end[:-1] + slack)][: len(ids)])
    last = np.r_[first[1:], len(ids)][: len(first)] - 1
    by_time = np.lexsort((ids[first], start[first]))
    return pa.table(
        {
            "track_id": pa.array(ids[first][by_time], pa.int64()),
            "start_ms": pa.array(start[first][by_time], pa.int64()),
            "end_ms": pa.array(end[last][by_time], pa.int64()),
        }
    )


def lanes(stretches: pa.Table, room_ms: float = 0) -> pa.Table:
    """:func:`presence` with a column `lane`: tracks share one, from 0, if `room_ms` lies between their stays."""
    rows = stretches.to_pylist()
    ends: dict[int, int] = {}
    for row in rows:
        ends[row["track_id"]] = max(ends.get(row["track_id"], 0), row["end_ms"])
    free_at: list[float] = []
    lane_of: dict[int, int] = {}
    for row in rows:
        track = row["track_id"]
        if track not in lane_of:
            free = [lane for lane, at in enumerate(free_at) if at <= row["start_ms"]]
            lane_of[track] = free[0] if free else len(free_at)
            if not free:
                free_at.append(0)
            free_at[lane_of[track]] = ends[track] + room_ms
    return stretches.append_column("lane", pa.array([lane_of[row["track_id"]] for row in rows], pa.int64()))
