"""Join a video's faces into tracks: one pass over all its samples, in order, with nothing but boxes and times.

At two samples a second a face can move by more than its own size between samples, so overlap alone does not tell who
is who. Each track expects its face where its motion leads, and the pairs of tracks and faces that fit best as a whole
are joined (the assignment problem, solved by SciPy; the idea is that of SORT, Bewley et al. 2016, without its fixed
frame rate). The tracker sees times, not frame numbers, so it works alike for every sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fer_batch.config import Tracking

VELOCITY_MEMORY_MS = 1000
"""How far ahead a track trusts its own motion: people stop and turn."""

MAX_REACH_MS = 2000
"""How long the distance at which a lost face is looked for keeps growing."""

_IMPOSSIBLE = 1e6


@dataclass
class _Track:
    track_id: int
    centre: np.ndarray
    size: float
    seen_ms: int
    velocity: np.ndarray
    """Display pixels a millisecond."""

    def expected(self, at_ms: int) -> np.ndarray:
        ahead: np.ndarray = self.velocity * min(at_ms - self.seen_ms, VELOCITY_MEMORY_MS)
        return np.asarray(self.centre + ahead)

    def follow(self, centre: np.ndarray, size: float, at_ms: int) -> None:
        elapsed = at_ms - self.seen_ms
        if elapsed > 0:
            # half of the new motion: a single jitter of the box is no motion yet
            self.velocity = 0.5 * self.velocity + 0.5 * (centre - self.centre) / elapsed
        self.centre, self.size, self.seen_ms = centre, size, at_ms


def assign_tracks(timestamps_ms: np.ndarray, boxes: np.ndarray, settings: Tracking, step_ms: int = 0) -> np.ndarray:
    """Number the tracks of one video.

    The cost of joining a face to a track is its distance from where the track expects it, in units of the face size,
    plus the logarithm of the ratio of sizes. A pair is possible only if the distance is within
    ``max_distance * (1 + half the seconds since the track was seen)``, at most two seconds, for the longer a face was
    not seen the farther it may have gone, and if its size changed by no more than ``max_growth``.

    Args:
        timestamps_ms: int (n,), rising; faces with the same time are in the same frame.
        boxes: float (n, 4), x, y, width, height in display pixels.
        settings: limits.
        step_ms: usual time between samples. A track survives at least one sample without its face, however far
            apart samples are.

    Returns:
        int32 (n,): track ids from 1, in order of appearance.
    """
    ids = np.zeros(len(timestamps_ms), np.int32)
    if not len(timestamps_ms):
        return ids
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    sizes = np.sqrt(boxes[:, 2] * boxes[:, 3])
    active: list[_Track] = []
    n_tracks = 0
    max_gap_ms = max(settings.max_gap_ms, 2 * step_ms + 1)
    starts = np.flatnonzero(np.diff(timestamps_ms, prepend=timestamps_ms[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(timestamps_ms)], strict=True):
        now = int(timestamps_ms[start])
        active = [track for track in active if now - track.seen_ms <= max_gap_ms]
        costs = _costs(active, centres[start:end], sizes[start:end], now, settings)
        for row, column in _assigned(costs):
            if costs[row, column] < _IMPOSSIBLE:
                face = int(start) + column
                active[row].follow(centres[face], float(sizes[face]), now)
                ids[face] = active[row].track_id
        for face in range(start, end):
            if not ids[face]:
                n_tracks += 1
                ids[face] = n_tracks
                active.append(_Track(n_tracks, centres[face], float(sizes[face]), now, np.zeros(2)))
    return ids


def _costs(tracks: list[_Track], centres: np.ndarray, sizes: np.ndarray, now: int, settings: Tracking) -> np.ndarray:
    costs = np.full((len(tracks), len(centres)), _IMPOSSIBLE)
    for row, track in enumerate(tracks):
        reach = settings.max_distance * (1 + 0.5 * min(now - track.seen_ms, MAX_REACH_MS) / 1000)
        # A track that stopped or turned is looked for where it was as well as where its motion leads.
        expected = track.expected(now)
        for column, (centre, size) in enumerate(zip(centres, sizes, strict=True)):
            scale = math.sqrt(track.size * float(size))
            ahead = float(np.hypot(*(centre - expected))) / scale
            still = float(np.hypot(*(centre - track.centre))) / scale
            growth = max(track.size, float(size)) / min(track.size, float(size))
            if min(ahead, still) <= reach and growth <= settings.max_growth:
                costs[row, column] = min(ahead, 0.5 + still) + math.log(growth)
    return costs


def _assigned(costs: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of rows and columns of the smallest sum, as many as fit."""
    if not costs.size:
        return []
    if costs.shape[0] <= costs.shape[1]:
        cheapest = costs.argmin(axis=1)
        if len(set(cheapest.tolist())) == len(cheapest):  # each row has its own: no sum is smaller
            return list(enumerate(cheapest.tolist()))
    from scipy.optimize import linear_sum_assignment  # a third of a second, which most videos need not wait for

    rows, columns = linear_sum_assignment(costs)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
