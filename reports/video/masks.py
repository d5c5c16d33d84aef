"""Where faces are hidden: every detection with room about it, and the moments in between that the detector missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_batch.config import Tracking
from fer_batch.track import assign_tracks
from reports.video.faces import Found
from reports.video.text import Colour, Picture, bgr

MARGIN: Final = 0.3
"""Room on each side of a detected box, as a part of its width and height: hair, ears and chin are hidden too."""

BRIDGE_MS: Final = 2000
"""Longest time for which a face that was lost and found again is hidden in between."""

HOLD_MS: Final = 1000
"""How long a face is hidden before it is first and after it was last detected."""

GROWTH: Final = 1.0
"""How much larger a mask grows for each second to the nearest detection: by then the face may have moved."""

SLOWEST_STEP_MS: Final = 200
"""The time from one frame to the next counts as no more than this, so that at any frame rate, however low, at least
five frames are held and ten bridged."""

FILL: Final[Colour] = bgr("#59626F")
"""The colour of every mask. It says nothing of what it hides; mosaics and blurs can be undone in part."""

_PACE_MS: Final = 300
"""A face's motion at the end of its track is taken from so much of it."""

Corners = NDArray[np.float32]


@dataclass(frozen=True)
class Masks:
    """What is hidden in each frame.

    Attributes:
        found: what was detected.
        track: int32 (k,), which track each detection belongs to.
        clock: float64 (n,), the frames' times in ms, their steps cut to :data:`SLOWEST_STEP_MS`.
        position: int32 (m,), for each mask its frame's place in `found`; not falling.
        corners: float32 (m, 4), left, top, right and bottom in display pixels.
    """

    found: Found
    track: NDArray[np.int32]
    clock: NDArray[np.float64]
    position: NDArray[np.int32]
    corners: Corners

    def of(self, position: int) -> Corners:
        """The masks of a frame."""
        first, last = np.searchsorted(self.position, (position, position + 1))
        return self.corners[first:last]

    def by_track(self) -> list[NDArray[np.int64]]:
        """For each track its detections, as rows of `found`, by time."""
        return _by_track(self.track)


def masks(found: Found) -> Masks:
    """Link detections to tracks and fill what is missing, forward and backward.

    A detection's mask is its box with :data:`MARGIN` about it. Between two detections of a track, up to
    :data:`BRIDGE_MS` apart, the mask moves from the one to the other. For :data:`HOLD_MS` before a track's first and
    after its last detection the mask covers where the face was and where its motion leads. Filled masks grow with the
    time to the nearest detection (:data:`GROWTH`).
    """
    steps = np.diff(found.timestamp_ms, prepend=found.timestamp_ms[:1])
    # Frames within the same millisecond are different frames all the same.
    clock = np.cumsum(np.clip(steps, 1, SLOWEST_STEP_MS)).astype(np.float64)
    at = clock[found.position]
    track = assign_tracks(at.astype(np.int64), found.boxes.astype(np.float64), Tracking(max_gap_ms=BRIDGE_MS))
    positions, corners = [np.empty(0, np.int32)], [np.empty((0, 4), np.float32)]
    for rows in _by_track(track):
        first = int(np.searchsorted(clock, at[rows[0]] - HOLD_MS))
        last = int(np.searchsorted(clock, at[rows[-1]] + HOLD_MS, side="right"))
        positions.append(np.arange(first, last, dtype=np.int32))
        corners.append(_of_track(clock[first:last], at[rows], found.boxes[rows].astype(np.float64)))
    position = np.concatenate(positions)
    by_frame = np.argsort(position, kind="stable")
    return Masks(found, track, clock, position[by_frame], np.concatenate(corners)[by_frame])


def with_margin(boxes: NDArray[np.float64]) -> Corners:
    """Boxes (n, 4) of x, y, width and height as masks (n, 4) of left, top, right and bottom."""
    return _corners(boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] * (1 + 2 * MARGIN))


def hide(picture: Picture, corners: Corners) -> None:
    """Fill masks, float32 (n, 4), in place: nothing of what was there is left.

    Their corners are rounded, by no more than the margin: a detected box lies within its mask.
    """
    for values in corners.tolist():
        left, top, right, bottom = (int(np.floor(v)) if i < 2 else int(np.ceil(v)) for i, v in enumerate(values))
        radius = min(right - left, bottom - top) // 4
        cv2.rectangle(picture, (left + radius, top), (right - radius, bottom), FILL, cv2.FILLED)
        cv2.rectangle(picture, (left, top + radius), (right, bottom - radius), FILL, cv2.FILLED)
        for x in (left + radius, right - radius):
            for y in (top + radius, bottom - radius):
                cv2.circle(picture, (x, y), radius, FILL, cv2.FILLED)


def _by_track(track: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    order = np.argsort(track, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(track[order])) + 1) if len(order) else []


def _of_track(clock: NDArray[np.float64], at: NDArray[np.float64], boxes: NDArray[np.float64]) -> Corners:
    """A track's masks at the times of `clock`, from its detections at the times `at`."""
    centre, size = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    # np.interp holds the first and the last value beyond the ends.
    centres = np.stack([np.interp(clock, at, values) for values in centre.T], axis=1)
    sizes = np.stack([np.interp(clock, at, values) for values in size.T], axis=1)
    after = np.clip(np.searchsorted(at, clock), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    away_s = np.minimum(abs(clock - at[after]), abs(clock - at[before])) / 1000
    grown = sizes * (1 + 2 * MARGIN) * (1 + GROWTH * away_s)[:, None]
    masks = _corners(centres, grown)
    moved = _corners(centres + _motion(clock, at, centre), grown)
    return np.concatenate([np.minimum(masks[:, :2], moved[:, :2]), np.maximum(masks[:, 2:], moved[:, 2:])], axis=1)


def _motion(clock: NDArray[np.float64], at: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the face will have gone before its track's first and after its last detection, if it went on so."""
    moved = np.zeros((len(clock), 2))
    early, late = np.flatnonzero(at <= at[0] + _PACE_MS)[-1], np.flatnonzero(at >= at[-1] - _PACE_MS)[0]
    for end, other, is_outside in ((0, early, clock < at[0]), (-1, late, clock > at[-1])):
        elapsed = at[end] - at[other]
        if elapsed:
            pace = (centre[end] - centre[other]) / elapsed
            moved[is_outside] = pace * (clock[is_outside] - at[end])[:, None]
    return moved


def _corners(centre: NDArray[np.float64], size: NDArray[np.float64]) -> Corners:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
