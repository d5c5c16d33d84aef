"""Look for faces in every frame of a video, at two scales, on all cores."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.config import Detection, Sampling
from fer_batch.decode import FrameSample, SegmentReader
from fer_batch.detect import FaceDetector
from fer_batch.plan import whole
from fer_batch.probe import VideoInfo

MISS_LESS: Final = Detection(long_side=1280, min_score=0.3, min_face=1)
"""What faces are looked for with when they are to be hidden: at twice the size and with a far lower threshold than in a
run, for a mask too many does little harm and one too few does much."""

COARSE_SIDE: Final = 320
"""Long side of the second look. Near 600 pixels a face is too large for YuNet in a frame of 1280; in one of 320 it is
found at any size (measured on an enlarged portrait)."""

_SAME: Final = 0.4
"""Overlap (intersection over union) above which detections at two scales are one face."""

Progress = Callable[[int, int], None]
"""Hears of frames done, and of all frames."""


@dataclass(frozen=True)
class Found:
    """The faces of every frame that can be decoded.

    Attributes:
        frame_index: int64 (n,), which frames these are, rising.
        timestamp_ms: int64 (n,), their times.
        position: int32 (k,), for each face its frame's place among the n; not falling.
        boxes: float32 (k, 4), x, y, width and height in display pixels.
        scores: float32 (k,), the detector's confidence.
        scale: pixels of the picture that the detector saw for a display pixel, at most 1.
    """

    frame_index: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    position: NDArray[np.int32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    scale: float


def every_frame(video: VideoInfo) -> SegmentReader:
    """All frames of a video in order; damaged ones without a picture."""
    return SegmentReader(whole(video), Sampling(mode="every", every=1))


def find_faces(
    video: VideoInfo, weights: Path, settings: Detection, threads: int, on_progress: Progress | None = None
) -> Found:
    """Look for faces in every frame.

    At most two frames a thread are in memory, whatever the video's length; of each frame a few numbers stay.

    Args:
        video: the video.
        weights: see :func:`fer_batch.detect.check_detector`.
        settings: see :data:`MISS_LESS`.
        threads: frames looked at side by side.
        on_progress: called after each frame.
    """
    detectors: queue.SimpleQueue[_TwoScales] = queue.SimpleQueue()
    for _ in range(threads):
        detectors.put(_TwoScales(weights, settings))

    def look(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        detector = detectors.get()
        try:
            return detector(image)
        finally:
            detectors.put(detector)

    times: list[tuple[int, int]] = []
    faces: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor(threads) as pool:
        for sample, found in _in_order(pool, look, iter(every_frame(video)), 2 * threads):
            times.append((sample.frame_index, sample.timestamp_ms))
            faces.append(found)
            if on_progress is not None:
                on_progress(sample.frame_index + 1, video.n_frames)
    rows = np.concatenate([np.empty((0, 5), np.float32), *faces])
    index, at = np.array(times, np.int64).reshape(-1, 2).T
    position = np.repeat(np.arange(len(faces), dtype=np.int32), [len(found) for found in faces])
    scale = min(1.0, settings.long_side / max(video.width, video.height))
    return Found(index, at, position, rows[:, :4], rows[:, 4], scale)


def _in_order(
    pool: ThreadPoolExecutor,
    look: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    samples: Iterator[FrameSample],
    ahead: int,
) -> Iterator[tuple[FrameSample, NDArray[np.float32]]]:
    """Each sample that has a picture, now without it, and what was found there."""
    waiting: deque[tuple[FrameSample, Future[NDArray[np.float32]]]] = deque()
    for sample in samples:
        if sample.image is not None:
            waiting.append((replace(sample, image=None), pool.submit(look, sample.image)))
        if len(waiting) >= ahead:
            bare, result = waiting.popleft()
            yield bare, result.result()
    for bare, result in waiting:
        yield bare, result.result()


class _TwoScales:
    """Looks at a frame at full and at coarse scale; float32 (faces, 5): box and score."""

    def __init__(self, weights: Path, settings: Detection) -> None:
        self._detectors = [
            FaceDetector(weights, replace(settings, long_side=side))
            for side in sorted({settings.long_side, min(COARSE_SIDE, settings.long_side)}, reverse=True)
        ]

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        kept: list[tuple[float, ...]] = []
        for detector in self._detectors:
            faces = detector(image)[0]
            kept += [(*face.box, face.score) for face in faces if all(_iou(face.box, k) < _SAME for k in kept)]
        return np.array(kept, np.float32).reshape(-1, 5)


def _iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0.0, wide) * max(0.0, high)
    return common / max(1e-9, one[2] * one[3] + other[2] * other[3] - common)
