"""Privacy level `tracks`: from a video's faces, in memory, to a row a track and its means in bins of time.

A video is never cut at this level, so that its faces stay in memory, all of them, until its tracks are known.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_batch.config import RunConfig
from fer_batch.schema import FRAMES, PROBABILITIES, TRACK_BINS, TRACKS
from fer_batch.tables import FinalVideo

LEAST_SAMPLES: Final = 3
"""Means of fewer would be single faces, or nearly so, and are left out."""

_MEANS: Final = ("face_size", *PROBABILITIES, "valence", "expressiveness")


def without_faces(video: FinalVideo, config: RunConfig) -> FinalVideo:
    """The same video with the tables of level `tracks` in the place of `faces`; `frames` has no probabilities."""
    faces, frames = video.tables["faces"], video.tables["frames"]
    video_id, length_ms = video.ledger["video_id"], 1000 * config.privacy.bin_s
    tracks, times, durations = (faces[name].to_numpy() for name in ("track_id", "timestamp_ms", "duration_ms"))
    values = np.column_stack([faces[name].to_numpy() for name in _MEANS]).astype(np.float64)
    bins = times // length_ms
    of_tracks, of_bins = [], []
    for track in np.unique(tracks):
        mine = np.flatnonzero(tracks == track)
        about = {"video_id": video_id, "track_id": int(track)}
        first, last = mine[0], mine[-1]
        when = {"start_ms": int(times[first]), "end_ms": int(times[last] + durations[last])}
        of_tracks.append(about | when | _means(durations[mine], values[mine]))
        for number in np.unique(bins[mine]):
            inside = mine[bins[mine] == number]
            start_ms = int(number) * length_ms
            when = {"start_ms": start_ms, "duration_ms": min(length_ms, video.ledger["duration_ms"] - start_ms)}
            of_bins.append(about | when | _means(durations[inside], values[inside]))
    nothing = {name: pa.nulls(len(frames), pa.float32()) for name in PROBABILITIES}
    tables = {
        "tracks": pa.Table.from_pylist(of_tracks, schema=TRACKS),
        "track_bins": pa.Table.from_pylist(of_bins, schema=TRACK_BINS),
        "frames": pa.table({name: nothing.get(name, frames[name]) for name in FRAMES.names}, schema=FRAMES),
    }
    return FinalVideo(tables, video.ledger)


def _means(durations: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Means over time; where no sample has a duration (the last one, at the video's very end) each counts the same."""
    seen_ms = int(durations.sum())
    told: dict[str, Any] = {"n_samples": len(durations), "seen_ms": seen_ms}
    if len(durations) < LEAST_SAMPLES:
        return told
    means = np.average(values, axis=0, weights=durations if seen_ms else None)
    return told | dict(zip(_MEANS, means.tolist(), strict=True))
