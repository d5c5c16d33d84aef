"""The stretches of a video with obscured faces that a person should look at before it is passed on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.config import Detection
from fer_batch.store import atomic_write
from reports.video.masks import HOLD_MS, Masks

WEAK: Final = Detection().min_score
"""Detections below the confidence that a run asks for are weak."""

SMALL: Final = 16
"""Faces below this size, in pixels of the frame that the detector saw, are near the smallest that it finds (about 10).
Others of that size were probably missed."""

NOTHING_MS: Final = 1000
"""Shortest stretch without any mask that is listed."""

_JOIN_MS: Final = 200
"""Stretches of one kind and one track that are closer than this are one."""

REASONS: Final = {
    "bridged": "the detector lost a face and found it again; the mask in between is a guess",
    "appears": "a face is detected from here on; before it, the mask is a guess",
    "disappears": "a face was detected up to here; after it, the mask is a guess",
    "weak": f"the detector is less than {100 * WEAK:.0f} % sure that this is a face",
    "small": "faces this small are easily missed",
    "count": "the number of faces jumps by two or more from one frame to the next",
    "nothing": "no face was found at all",
}


@dataclass(frozen=True)
class Stretch:
    """A stretch to look at.

    Attributes:
        start_ms, end_ms: its first frame's time and the end of its last.
        first_frame, frames: its first frame's index in the video, and how many frames it has.
        reason: a key of :data:`REASONS`.
        track: the face's number among the detector's tracks; None where it is about the whole frame.
        x, y, w, h: where to look first, in display pixels; None for the whole frame.
        lowest_score: least confidence of the detections, None where there is none.
    """

    start_ms: int
    end_ms: int
    first_frame: int
    frames: int
    reason: str
    track: int | None = None
    x: int | None = None
    y: int | None = None
    w: int | None = None
    h: int | None = None
    lowest_score: float | None = None


def review(masks: Masks, duration_ms: int) -> list[Stretch]:
    """The stretches of a video to look at, by time."""
    found = [*_of_frames(masks, duration_ms)]
    for rows in masks.by_track():
        found += _of_track(masks, rows, duration_ms)
    return sorted(found, key=lambda stretch: (stretch.start_ms, stretch.reason, stretch.track or 0))


def write_review(path: Path, stretches: list[Stretch]) -> None:
    """Write them as CSV, a row a stretch, with the times also as h:mm:ss.mmm and the reason in words."""
    page = io.StringIO(newline="")
    writer = csv.writer(page)
    writer.writerow(["from", "to", *(field.name for field in fields(Stretch)), "meaning"])
    for s in stretches:
        writer.writerow([_clock(s.start_ms), _clock(s.end_ms), *astuple(s), REASONS[s.reason]])
    with atomic_write(path) as file:
        file.write(page.getvalue().encode())


def _of_frames(masks: Masks, duration_ms: int) -> Iterator[Stretch]:
    count = np.bincount(masks.found.position, minlength=len(masks.clock))
    for position in (np.flatnonzero(abs(np.diff(count)) >= 2) + 1).tolist():
        yield _stretch(masks, position, position, "count", duration_ms)
    hidden = np.bincount(masks.position, minlength=len(masks.clock))
    for first, last in _runs(np.flatnonzero(hidden == 0)):
        stretch = _stretch(masks, first, last, "nothing", duration_ms)
        if stretch.end_ms - stretch.start_ms >= NOTHING_MS:
            yield stretch


def _of_track(masks: Masks, rows: NDArray[np.int64], duration_ms: int) -> Iterator[Stretch]:
    found, clock = masks.found, masks.clock
    at = found.position[rows]

    def stretch(first: int, last: int, reason: str, row: int, scores: NDArray[np.float32] | None = None) -> Stretch:
        return _stretch(masks, first, last, reason, duration_ms, int(row), scores)

    if at[0] > 0:
        first = int(np.searchsorted(clock, clock[at[0]] - HOLD_MS))
        yield stretch(first, at[0] - 1, "appears", rows[0])
    if at[-1] < len(clock) - 1:
        last = int(np.searchsorted(clock, clock[at[-1]] + HOLD_MS, side="right")) - 1
        yield stretch(at[-1] + 1, last, "disappears", rows[-1])
    for i in np.flatnonzero(np.diff(at) > 1):
        yield stretch(at[i] + 1, at[i + 1] - 1, "bridged", rows[i])
    side = np.sqrt(found.boxes[rows, 2] * found.boxes[rows, 3])
    for reason, is_meant in (("weak", found.scores[rows] < WEAK), ("small", side * found.scale < SMALL)):
        marked = np.flatnonzero(is_meant)
        joined = np.split(marked, np.flatnonzero(np.diff(clock[at[marked]]) > _JOIN_MS) + 1)
        for part in joined if len(marked) else []:
            yield stretch(at[part[0]], at[part[-1]], reason, rows[part[0]], found.scores[rows[part]])


def _stretch(
    masks: Masks,
    first: int,
    last: int,
    reason: str,
    duration_ms: int,
    row: int | None = None,
    scores: NDArray[np.float32] | None = None,
) -> Stretch:
    found = masks.found
    end = int(found.timestamp_ms[last + 1]) if last + 1 < len(found.timestamp_ms) else duration_ms
    start, index = int(found.timestamp_ms[first]), int(found.frame_index[first])
    frames = int(last - first + 1)
    if row is None:
        return Stretch(start, end, index, frames, reason)
    lowest = None if scores is None else round(float(scores.min()), 3)
    x, y, w, h = (round(value) for value in found.boxes[row].tolist())
    return Stretch(start, end, index, frames, reason, int(masks.track[row]), x, y, w, h, lowest)


def _runs(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive whole numbers."""
    parts = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part)]


def _clock(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
