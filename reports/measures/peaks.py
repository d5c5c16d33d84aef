"""Peak moments: where one track's smoothed expression rises clearly above what lies about it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_batch.schema import EMOTIONS
from reports.measures.columns import Floats, probabilities
from reports.measures.smoothing import smoothed
from reports.measures.video import samples_of

PROMINENCE: Final = 0.2
"""How far a peak must rise above the higher of the two valleys beside it, as a probability."""

_SCHEMA: Final = pa.schema(
    [
        ("track_id", pa.int64()),
        ("emotion", pa.string()),
        ("at_ms", pa.int64()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("probability", pa.float64()),
        ("prominence", pa.float64()),
    ]
)


def peaks(faces: pa.Table, window: int) -> pa.Table:
    """The peaks of each track and each emotion but neutral, by time.

    A track's samples are smoothed over `window` (:func:`reports.measures.smoothed`). A peak is a local maximum with a
    prominence of at least :data:`PROMINENCE` (``scipy.signal.find_peaks``) at which the emotion is the most probable of
    the seven. `start_ms` and `end_ms` are where the curve crosses half of the prominence below the top. Time in which
    the track is not seen for longer than the window separates two curves; before and after a curve its own lowest value
    is taken to go on, so that a face that leaves at the height of its smile still has a peak, and one that smiles all
    along has none.

    Returns:
        `track_id, emotion, at_ms, start_ms, end_ms, probability, prominence`; `probability` is the smoothed one.
    """
    ids = faces["track_id"].to_numpy()
    rows: list[dict[str, Any]] = []
    for track_id in np.unique(ids):
        one = smoothed(samples_of(faces.filter(pa.array(ids == track_id))), window)
        time = one["timestamp_ms"].to_numpy().astype(np.int64)
        length = one["duration_ms"].to_numpy().astype(np.int64)
        values = probabilities(one)
        breaks = np.flatnonzero(np.diff(time) > np.maximum(window, 2 * length[:-1])) + 1
        for piece in np.split(np.arange(len(time)), breaks):
            rows += [{"track_id": int(track_id), **row} for row in _of_curve(time[piece], length[piece], values[piece])]
    rows.sort(key=lambda row: (row["at_ms"], row["track_id"]))
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _of_curve(time: Any, length: Any, values: Floats) -> list[dict[str, Any]]:
    from scipy.signal import find_peaks, peak_widths

    rows: list[dict[str, Any]] = []
    strongest = values.argmax(axis=1)
    for index, emotion in enumerate(EMOTIONS):
        curve = values[:, index]
        if emotion == "neutral" or not (strongest == index).any():
            continue
        padded = np.r_[curve.min(), curve, curve.min()]
        tops, found = find_peaks(padded, prominence=PROMINENCE)
        if not len(tops):
            continue
        bases = (found["prominences"], found["left_bases"], found["right_bases"])
        _, _, left, right = peak_widths(padded, tops, rel_height=0.5, prominence_data=bases)
        # A position between two samples is a time between theirs; the padding lies at the ends' own times.
        places = np.arange(len(time))
        start, end = np.interp(left - 1, places, time), np.interp(right - 1, places, time)
        for top, begin, stop, height in zip(tops - 1, start, end, found["prominences"], strict=True):
            if strongest[top] == index:
                # The last sample stands for its own duration.
                finish = max(stop, time[top] + length[top])
                rows.append(
                    {"emotion": emotion, "at_ms": int(time[top]), "start_ms": int(begin), "end_ms": int(finish),
                     "probability": float(curve[top]), "prominence": float(height)}
                )  # fmt: skip
    return rows
