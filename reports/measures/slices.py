"""A video cut into equal slices of time: what each holds, for small pictures, tables, heat maps and bands."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_batch.palette import CONDITIONS
from fer_batch.schema import EMOTIONS
from reports.measures.columns import column, probabilities

MOST_SLOTS: Final = 240
"""Slices of a figure; a phone has about as many points, a laptop four times as many pixels."""

SLICES_OF_TABLE: Final = 20
"""The timeline as a table has at most so many rows."""

_ROUND_S: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600)


def strip(frames: pa.Table, extent_ms: int, columns: int) -> pa.Table:
    """The video cut into `columns` equal times, a row each: the share of that time that each condition had.

    The seven expressions' shares are their probabilities over the time with a face; with `no_face`, `too_small` and
    `decode_error` they add up to the part of the time that was sampled. A sample counts where its duration lies.
    """
    return _shares(frames, np.linspace(0, max(extent_ms, 1), columns + 1))


def _shares(frames: pa.Table, edges: np.ndarray) -> pa.Table:
    start, length = column(frames, "timestamp_ms"), column(frames, "duration_ms").copy()
    if len(start) > 1:
        # A sample is the first frame at or after the instant that it stands for, so it comes up to a frame late: what
        # is missing to the next sample, or too much, is no gap unless it is longer than the sample itself.
        step = np.diff(start)
        length[:-1] = np.where(step < 2 * length[:-1], step, length[:-1])
    faces = column(frames, "n_faces") > 0
    reasons = [reason or "no_face" for reason in frames["reason"].to_pylist()]
    rates = np.nan_to_num(probabilities(frames)) * faces[:, None]
    for condition in CONDITIONS:
        rates = np.c_[rates, ~faces & np.array([r == condition for r in reasons], dtype=bool)]
    # Time inside a slice is a difference of the running integral, which is linear within each sample.
    knots = np.maximum.accumulate(np.c_[start, start + length].ravel()) if len(start) else np.zeros(1)
    shares: dict[str, Any] = {"start_ms": edges[:-1].astype(np.int64), "end_ms": edges[1:].astype(np.int64)}
    for index, name in enumerate((*EMOTIONS, *CONDITIONS)):
        integral = np.repeat(np.r_[0, np.cumsum(rates[:, index] * length)], 2)[1:-1] if len(start) else np.zeros(1)
        shares[name] = np.diff(np.interp(edges, knots, integral)) / np.diff(edges)
    return pa.table(shares)


def slices(frames: pa.Table, extent_ms: int) -> pa.Table:
    """The timeline as a table: :func:`strip` in slices of a round length, with the number of samples in each.

    A slice lasts whole seconds and at least two samples, so that its times and shares are no more exact than they
    look; the last one may be shorter.
    """
    start = column(frames, "timestamp_ms")
    step = float(np.median(np.diff(start))) if len(start) > 1 else 0.0
    least = max(extent_ms / SLICES_OF_TABLE, 2 * step) / 1000
    seconds = next((s for s in _ROUND_S if s >= least), None)
    length = 1000 * (seconds or int(np.ceil(least / 3600)) * 3600)
    edges = np.append(np.arange(0, max(extent_ms, 1), length), max(extent_ms, 1)).astype(float)
    counts = np.histogram(start, edges)[0] if len(start) else np.zeros(len(edges) - 1, int)
    return _shares(frames, edges).append_column("samples", pa.array(counts, pa.int64()))


def heat(frames: pa.Table, extent_ms: int) -> pa.Table:
    """The mean of each probability over the time with a face in each slice of the video; null without one."""
    columns = int(min(MOST_SLOTS, max(1, 8 * frames.num_rows)))
    shares = strip(frames, extent_ms, columns)
    values = np.stack([shares[name].to_numpy() for name in EMOTIONS], axis=1)
    seen = values.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(seen > 1e-9, values / seen, np.nan)
    kept = {name: shares[name] for name in ("start_ms", "end_ms")}
    return pa.table(kept | {name: pa.array(means[:, i], from_pandas=True) for i, name in enumerate(EMOTIONS)})


def slots(frames: pa.Table, extent_ms: int) -> pa.Table:
    """`start_ms, end_ms` of the times at which :func:`spread` looks: a row a sample, or equal slices if too many."""
    if frames.num_rows <= MOST_SLOTS:
        start = frames["timestamp_ms"].to_numpy().astype(np.int64)
        end = start + np.maximum(frames["duration_ms"].to_numpy().astype(np.int64), 1)
        if len(start) > 1:
            end[:-1] = np.minimum(end[:-1], np.maximum(start[1:], start[:-1] + 1))
    else:
        edges = np.linspace(0, max(extent_ms, 1), MOST_SLOTS + 1).astype(np.int64)
        start, end = edges[:-1], edges[1:]
    return pa.table({"start_ms": pa.array(start, pa.int64()), "end_ms": pa.array(end, pa.int64())})


def spread(faces: pa.Table, times: pa.Table, window: int, names: tuple[str, ...]) -> pa.Table:
    """How some columns of `faces` lie about each of `times` (:func:`slots`).

    Args:
        faces: rows of the table `faces`, by time.
        times: where to look; a time without any face of its own has nulls.
        window: milliseconds about each time's middle over which faces are taken together, all faces of all frames
            alike; at least the time itself.
        names: columns.

    Returns:
        `at_ms`, the middle, `n`, the faces, and for each column its `_mean`, and `_low` and `_high`, its 10th and 90th
        percentile.
    """
    at = column(faces, "timestamp_ms")
    start, end = column(times, "start_ms"), column(times, "end_ms")
    middle, half = (start + end) / 2, np.maximum(window, end - start) / 2
    own = np.searchsorted(at, end) - np.searchsorted(at, start)
    low, high = np.searchsorted(at, middle - half), np.searchsorted(at, middle + half)
    values = np.stack([column(faces, name) for name in names], axis=1)
    found = np.full((len(middle), 3, len(names)), np.nan)
    for row in np.flatnonzero(own > 0):
        some = values[low[row] : high[row]]
        found[row, 0] = some.mean(axis=0)
        found[row, 1:] = np.quantile(some, (0.1, 0.9), axis=0)
    columns: dict[str, Any] = {"at_ms": middle.astype(np.int64), "n": np.where(own > 0, high - low, 0)}
    for index, name in enumerate(names):
        for place, what in enumerate(("mean", "low", "high")):
            columns[f"{name}_{what}"] = pa.array(found[:, place, index], from_pandas=True)
    return pa.table(columns)
