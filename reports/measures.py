"""Measures: functions from a table to a table. Every mean over time weighs a sample by its `duration_ms`."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.schema import EMOTIONS, PROBABILITIES

Floats = NDArray[np.float64]

LONGEST_FIGURE: Final = 2_000
"""A figure with more samples than this is thinned; a screen shows no more."""


def _column(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def _probabilities(table: pa.Table) -> Floats:
    """Shape (rows, 7); NaN where there is no face."""
    return np.stack([_column(table, name) for name in PROBABILITIES], axis=1)


def _weighted(values: Floats, weights: Floats) -> Floats:
    """Mean over the rows. Samples that stand for no time at all count alike."""
    if weights.sum() <= 0:
        weights = np.ones_like(weights)
    return np.asarray(np.average(values, axis=0, weights=weights))


def _strongest(means: Floats | None) -> tuple[str | None, float | None]:
    if means is None:
        return None, None
    best = int(np.argmax(means))
    return EMOTIONS[best], float(means[best])


def expressions(frames: pa.Table) -> pa.Table:
    """A row an emotion: the mean over the time with a face, and the highest sample with its time; null without one."""
    seen = frames.filter(pa.array(_column(frames, "n_faces") > 0))
    if seen.num_rows == 0:
        unknown = pa.nulls(len(EMOTIONS), pa.float64())
        times = unknown.cast(pa.int64())
        return pa.table({"emotion": EMOTIONS, "mean": unknown, "highest": unknown, "highest_ms": times})
    values = _probabilities(seen)
    at = values.argmax(axis=0)
    return pa.table(
        {
            "emotion": EMOTIONS,
            "mean": _weighted(values, _column(seen, "duration_ms")),
            "highest": values.max(axis=0),
            "highest_ms": seen["timestamp_ms"].to_numpy()[at],
        }
    )


def conditions(frames: pa.Table) -> pa.Table:
    """A row a stretch of time of one condition: `face`, `no_face`, `too_small` or `decode_error`.

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


def thinned(frames: pa.Table, stretches: pa.Table, limit: int = LONGEST_FIGURE) -> pa.Table:
    """The rows that a figure of about `limit` points needs; all of them where they are fewer.

    In each of `limit` / 10 spans of rows, those with the highest and the lowest value of each probability and of the
    number of faces stay, and so do the first and the last of each stretch: what stands out in the table stands out in
    the figure.
    """
    if frames.num_rows <= limit:
        return frames
    values = np.c_[_probabilities(frames), _column(frames, "n_faces")]
    start = frames["timestamp_ms"].to_numpy()
    keep = {0, frames.num_rows - 1}
    first = np.searchsorted(start, stretches["start_ms"].to_numpy())
    after = np.searchsorted(start, stretches["end_ms"].to_numpy())
    keep.update(first.tolist())
    keep.update((after - 1).tolist())
    edges = np.linspace(0, frames.num_rows, max(1, limit // 10) + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        span = values[low:high]
        known = span[:, ~np.isnan(span).all(axis=0)]
        keep.update((low + np.nanargmax(known, axis=0)).tolist())
        keep.update((low + np.nanargmin(known, axis=0)).tolist())
    return frames.take(pa.array(sorted(keep), pa.int64()))


def strip(frames: pa.Table, extent_ms: int, columns: int) -> pa.Table:
    """The video cut into `columns` equal times, a row each: the share of that time that each condition had.

    The seven expressions' shares are their probabilities over the time with a face; with `no_face`, `too_small` and
    `decode_error` they add up to the part of the time that was sampled. A sample counts where its duration lies.
    """
    edges = np.linspace(0, max(extent_ms, 1), columns + 1)
    start, length = _column(frames, "timestamp_ms"), _column(frames, "duration_ms").copy()
    if len(start) > 1:
        # A sample is the first frame at or after the instant that it stands for, so it comes up to a frame late: what
        # is missing to the next sample, or too much, is no gap unless it is longer than the sample itself.
        step = np.diff(start)
        length[:-1] = np.where(step < 2 * length[:-1], step, length[:-1])
    faces = _column(frames, "n_faces") > 0
    reasons = [reason or "no_face" for reason in frames["reason"].to_pylist()]
    rates = np.nan_to_num(_probabilities(frames)) * faces[:, None]
    for reason in ("no_face", "too_small", "decode_error"):
        rates = np.c_[rates, ~faces & np.array([r == reason for r in reasons], dtype=bool)]
    # Time inside a column is a difference of the running integral, which is linear within each sample.
    knots = np.maximum.accumulate(np.c_[start, start + length].ravel()) if len(start) else np.zeros(1)
    shares: dict[str, Any] = {"start_ms": edges[:-1].astype(np.int64), "end_ms": edges[1:].astype(np.int64)}
    for index, name in enumerate((*EMOTIONS, "no_face", "too_small", "decode_error")):
        integral = np.repeat(np.r_[0, np.cumsum(rates[:, index] * length)], 2)[1:-1] if len(start) else np.zeros(1)
        shares[name] = np.diff(np.interp(edges, knots, integral)) / np.diff(edges)
    return pa.table(shares)


def tracks(faces: pa.Table, sampled_ms: int | None) -> pa.Table:
    """A row a track: when it was seen, in how many samples, for which share of the sampled time, and its means."""
    names = ("track_id", "first_ms", "last_ms", "samples", "seen_ms", "coverage", *PROBABILITIES, "emotion", "share",
             "valence", "expressiveness", "face_size")  # fmt: skip
    rows: list[dict[str, Any]] = []
    ids = faces["track_id"].to_numpy()
    for track_id in np.unique(ids):
        one = faces.filter(pa.array(ids == track_id))
        start, length = one["timestamp_ms"].to_numpy(), _column(one, "duration_ms")
        means = _weighted(_probabilities(one), length)
        emotion, share = _strongest(means)
        seen = int(length.sum())
        rows.append(
            {
                "track_id": int(track_id),
                "first_ms": int(start[0]),
                "last_ms": int(start[-1] + length[-1]),
                "samples": one.num_rows,
                "seen_ms": seen,
                "coverage": seen / sampled_ms if sampled_ms else None,
                **{name: float(value) for name, value in zip(PROBABILITIES, means, strict=True)},
                "emotion": emotion,
                "share": share,
                **{
                    name: float(_weighted(_column(one, name), length))
                    for name in ("valence", "expressiveness", "face_size")
                },
            }
        )
    return pa.Table.from_pylist(rows) if rows else pa.table({name: pa.nulls(0) for name in names})


def summary(frames: pa.Table, faces: pa.Table) -> pa.Table:
    """One row for one video: its times by condition, and the mean of each probability by time and by face."""
    means = expressions(frames)["mean"].to_pylist()
    by_time = None if means[0] is None else np.array(means)
    by_face = _probabilities(faces).mean(axis=0) if faces.num_rows else None
    stretches = conditions(frames)
    length = _column(stretches, "end_ms") - _column(stretches, "start_ms")
    names = stretches["condition"].to_pylist()
    without = [(float(ms), i) for i, (ms, name) in enumerate(zip(length, names, strict=True)) if name == "no_face"]
    longest = max(without, key=lambda pair: pair[0], default=None)
    weights = _column(frames, "duration_ms")
    seen = _column(frames, "n_faces") > 0
    reasons = np.array(["" if r is None else r for r in frames["reason"].to_pylist()], dtype=object)
    emotion, share = _strongest(by_time)
    row: dict[str, Any] = {
        "n_sampled": frames.num_rows,
        "n_faces": faces.num_rows,
        "most_faces": int(_column(frames, "n_faces").max()) if frames.num_rows else 0,
        "sampled_ms": int(weights.sum()),
        "with_face_ms": int(weights[seen].sum()),
        **{f"{name}_ms": int(weights[~seen & (reasons == name)].sum()) for name in ("too_small", "decode_error")},
        "longest_gap_ms": None if longest is None else int(longest[0]),
        "longest_gap_at_ms": None if longest is None else stretches["start_ms"][longest[1]].as_py(),
        "emotion": emotion,
        "share": share,
    }
    row["no_face_ms"] = row["sampled_ms"] - row["with_face_ms"] - row["too_small_ms"] - row["decode_error_ms"]
    for index, name in enumerate(EMOTIONS):
        row[f"time_{name}"] = None if by_time is None else float(by_time[index])
        row[f"face_{name}"] = None if by_face is None else float(by_face[index])
    return pa.Table.from_pylist([row])


def distribution(summaries: pa.Table) -> pa.Table:
    """A row an emotion over many videos' summaries: each video counting alike, and each face counting alike."""
    seen = [row for row in summaries.to_pylist() if row["time_angry"] is not None]
    count = sum(row["n_faces"] for row in seen)
    by_video = [sum(row[f"time_{name}"] for row in seen) / len(seen) if seen else None for name in EMOTIONS]
    by_face = [
        sum((row[f"face_{name}"] or 0.0) * row["n_faces"] for row in seen) / count if count else None
        for name in EMOTIONS
    ]
    return pa.table(
        {
            "emotion": EMOTIONS,
            "by_video": pa.array(by_video, pa.float64()),
            "by_face": pa.array(by_face, pa.float64()),
        }
    )


def totals(ledger: pa.Table) -> pa.Table:
    """One row over a ledger: files by status; times and counts of distinct contents, so that a copy counts once."""
    rows = ledger.select(
        ["video_id", "status", "duration_ms", "n_sampled", "n_faces", "n_tracks", "sampled_ms", "with_face_ms"]
    ).to_pylist()
    distinct: dict[str, dict[str, Any]] = {}
    for found in rows:
        if found["video_id"] is not None and (found["video_id"] not in distinct or found["n_sampled"] is not None):
            distinct[found["video_id"]] = found
    row: dict[str, Any] = {"files": len(rows)}
    for status in ("ok", "partial", "failed"):
        row[status] = sum(r["status"] == status for r in rows)
    row["copies"] = sum(r["video_id"] is not None for r in rows) - len(distinct)
    for name in ("duration_ms", "n_sampled", "n_faces", "n_tracks", "sampled_ms", "with_face_ms"):
        row[name] = sum(r[name] or 0 for r in distinct.values())
    row["coverage"] = row["with_face_ms"] / row["sampled_ms"] if row["sampled_ms"] else None
    return pa.Table.from_pylist([row])
