"""What the tables say of each moment of a video: which faces are shown then, where, and with which probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.schema import EMOTIONS, PROBABILITIES

Floats = NDArray[np.float64]

MAX_STEP_MS: Final = 2000
"""Samples farther apart than this are not joined: on a straight line between them the face would be made up."""

FADE_MS: Final = 300
"""How long a face that the next sample no longer has is shown after its last one, at most."""


@dataclass(frozen=True)
class Label:
    """A face at one moment.

    Attributes:
        track_id: the person's number, as on the report's pages.
        box: x, y, width and height in display pixels; may reach beyond the frame.
        probabilities: float64 (7,), in the order of :data:`fer_batch.schema.EMOTIONS`.
        opacity: 1 between two samples, from 1 down to 0 after a person's last.
    """

    track_id: int
    box: tuple[float, float, float, float]
    probabilities: Floats
    opacity: float

    @property
    def emotion(self) -> str:
        """The class of the highest probability."""
        return EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return float(self.probabilities.max())


class Labels:
    """One video's faces, for any moment.

    The rule, which never shows a face where the tables have none:

    - Where two samples that follow each other, at most :data:`MAX_STEP_MS` apart, both hold a track, its box and its
      probabilities move from the one to the other in a straight line.
    - Where the next sample lacks the track, is farther away, or does not exist, the face stays as it was last seen and
      fades out within half the time to the next sample, at most :data:`FADE_MS`.
    - A track appears at its first sample, not before; so it does after a sample that lacked it.
    - Nothing is shown where the video was not sampled.
    """

    def __init__(self, faces: pa.Table, frames: pa.Table) -> None:
        """
        Args:
            faces, frames: one video's rows of :data:`fer_batch.schema.FACES` and :data:`fer_batch.schema.FRAMES`.
        """
        faces = faces.sort_by([("track_id", "ascending"), ("timestamp_ms", "ascending")])
        frames = frames.sort_by("timestamp_ms")
        self._tracks = faces["track_id"].to_numpy()
        self._boxes = _matrix(faces, ("x", "y", "w", "h"))
        self._probabilities = _matrix(faces, PROBABILITIES)
        at = faces["timestamp_ms"].to_numpy()
        times = frames["timestamp_ms"].to_numpy()
        sample = np.searchsorted(times, at)
        following = np.append(times[1:], times[-1:] + frames["duration_ms"].to_numpy()[-1:])
        to_next = following[sample] - at if len(at) else at
        is_joined = np.zeros(len(at), bool)
        is_joined[:-1] = (np.diff(self._tracks) == 0) & (np.diff(sample) == 1) & (np.diff(at) <= MAX_STEP_MS)
        # A face is shown at its own sample, however short the time that this stands for.
        held = np.clip(to_next // 2, 1, FADE_MS)
        order = np.argsort(at, kind="stable")
        self._row, self._start = order, at[order]
        self._end = (at + np.where(is_joined, to_next, held))[order]
        self._is_joined = is_joined[order]
        self._longest = int((self._end - self._start).max(initial=0))

    def at(self, timestamp_ms: int) -> list[Label]:
        """The faces of a frame, by its time from the start of the video; in order of their numbers."""
        first = int(np.searchsorted(self._start, timestamp_ms - self._longest))
        last = int(np.searchsorted(self._start, timestamp_ms, side="right"))
        shown = [self._label(i, timestamp_ms) for i in range(first, last) if self._end[i] > timestamp_ms]
        return sorted(shown, key=lambda label: label.track_id)

    def _label(self, i: int, timestamp_ms: int) -> Label:
        row = self._row[i]
        share = (timestamp_ms - self._start[i]) / (self._end[i] - self._start[i])
        box, probabilities, opacity = self._boxes[row], self._probabilities[row], 1.0 - share
        if self._is_joined[i]:  # rows are sorted by track and time: the next row is the next sample of this track
            box = box + share * (self._boxes[row + 1] - box)
            probabilities = probabilities + share * (self._probabilities[row + 1] - probabilities)
            opacity = 1.0
        x, y, w, h = box.tolist()
        return Label(int(self._tracks[row]), (x, y, w, h), probabilities, float(opacity))


def _matrix(table: pa.Table, names: tuple[str, ...]) -> Floats:
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)
