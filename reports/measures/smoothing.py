"""A video's samples as a figure shows them: smoothed over a stated window, and no more of them than a screen shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from reports.measures.columns import column, probabilities, with_probabilities

LEAST_WINDOW_MS: Final = 3_000
LEAST_WINDOW_SAMPLES: Final = 5
"""The window is as long as both ask: single samples are noisy, and expressions last for seconds."""

LONGEST_FIGURE: Final = 1_200
"""A figure with more samples than this is thinned; a screen shows no more."""


def window_ms(frames: pa.Table) -> int:
    """Length of the window for :func:`smoothed`."""
    start = frames["timestamp_ms"].to_numpy()
    step = int(np.median(np.diff(start))) if len(start) > 1 else 0
    return max(LEAST_WINDOW_MS, LEAST_WINDOW_SAMPLES * step)


def smoothed(frames: pa.Table, window: int) -> pa.Table:
    """Each sample's probabilities replaced by their mean over the faces within half a `window` before and after it.

    Only samples with a face count, each for its duration, and a sample without one stays without: nothing is made up
    where nobody was seen. The column `coverage` is the share of the window's sampled time that has a face.

    Args:
        frames: rows of the table `frames`, by time, or :func:`reports.measures.of_track`.
        window: milliseconds.
    """
    start = column(frames, "timestamp_ms")
    time = np.maximum(column(frames, "duration_ms"), 1)
    seen = column(frames, "n_faces") > 0
    low = np.searchsorted(start, start - window / 2, side="left")
    high = np.searchsorted(start, start + window / 2, side="right")
    weights = time * seen
    values = np.nan_to_num(probabilities(frames)) * weights[:, None]
    sums = np.concatenate([np.zeros((1, 7)), np.cumsum(values, axis=0)])
    with_face, all_time = np.r_[0, np.cumsum(weights)], np.r_[0, np.cumsum(time)]
    inside = with_face[high] - with_face[low]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(seen[:, None], (sums[high] - sums[low]) / inside[:, None], np.nan)
        coverage = inside / (all_time[high] - all_time[low])
    return with_probabilities(frames, means).append_column("coverage", pa.array(coverage))


def thinned(
    frames: pa.Table, stretches: pa.Table, limit: int = LONGEST_FIGURE, whole: Iterable[tuple[int, int]] = ()
) -> pa.Table:
    """The rows that a figure of about `limit` points needs; all of them where they are fewer.

    In each of `limit` / 10 spans of rows, those with the highest and the lowest value of each probability, of the
    number of faces and of the coverage stay, and so do the first and the last of each stretch: what stands out in the
    table stands out in the figure. In the times from and to of `whole`, milliseconds, every row stays.
    """
    if frames.num_rows <= limit:
        return frames
    more = [column(frames, name) for name in ("n_faces", "coverage") if name in frames.column_names]
    values = np.c_[probabilities(frames), np.stack(more, axis=1)]
    start = frames["timestamp_ms"].to_numpy()
    keep = {0, frames.num_rows - 1}
    first = np.searchsorted(start, stretches["start_ms"].to_numpy())
    after = np.searchsorted(start, stretches["end_ms"].to_numpy())
    keep.update(first.tolist())
    keep.update((after - 1).tolist())
    for span in whole:
        keep.update(range(*np.searchsorted(start, span).tolist()))
    edges = np.linspace(0, frames.num_rows, max(1, limit // 10) + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        span = values[low:high]
        known = span[:, ~np.isnan(span).all(axis=0)]
        keep.update((low + np.nanargmax(known, axis=0)).tolist())
        keep.update((low + np.nanargmin(known, axis=0)).tolist())
        if len(more) > 1:  # coverage stays at 0 and 1 for long: where it leaves them matters too
            last = high - 1 - np.array([more[1][low:high][::-1].argmax(), more[1][low:high][::-1].argmin()])
            keep.update(last.tolist())
    return frames.take(pa.array(sorted(keep), pa.int64()))
