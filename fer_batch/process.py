"""The way of a segment: decode, detect, align, score. Plain code that runs in a worker, a test or a notebook alike."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fer_batch.align import crop_face, sharpness
from fer_batch.bins import Bins
from fer_batch.config import RunConfig
from fer_batch.decode import FrameSample, SegmentReader
from fer_batch.detect import Face, FaceDetector
from fer_batch.errors import VideoError
from fer_batch.object_path import AnyPath
from fer_batch.path_names import PathNames
from fer_batch.plan import Segment
from fer_batch.watchdog import STALL_S, beat, unwatched

BATCH = 32
"""Crops sent to a model at a time."""

MAX_IN_FLIGHT = 4
"""Batches that a worker may have sent without having their scores: decoding and scoring overlap, memory stays flat."""


class Scores(Protocol):
    """Where crops go to be scored: a model in this process, or actors elsewhere."""

    def submit(self, crops: np.ndarray) -> Any:
        """Send crops, uint8 (n, size, size, channels); returns a ticket at once."""

    def result(self, ticket: Any) -> np.ndarray:
        """Wait for the probabilities, float32 (n, 7), of the crops sent with this ticket."""


@dataclass(frozen=True)
class CropSpec:
    """How the model wants its faces; see :func:`fer_batch.align.crop_face`."""

    template: np.ndarray
    size: int
    channels: int


@dataclass(frozen=True)
class RunContext:
    """What a worker must know of the run it works for.

    Attributes:
        path: the run's folder.
        config: what is asked.
        detector: file with the detector's weights.
        crop: what the model expects.
        metadata: goes into the metadata of every table.
        stall_s: how long a file may bring no progress before its worker is ended.
        memory_bytes: how much memory a worker may use before it is ended; None for any amount.
        copies: bytes of a machine's disk that copies of videos on object stores may take; None for
            :func:`fer_batch.staging.share_of_disk`'s own.
        workers: on a machine, which share them.
        lease: token of the driver that this is done for; a worker whose driver lost the folder commits nothing more.
        names: how paths are written down.
    """

    path: AnyPath
    config: RunConfig
    detector: Path
    crop: CropSpec
    metadata: dict[str, str]
    stall_s: float = STALL_S
    memory_bytes: int | None = None
    lease: str = ""
    copies: int | None = None
    workers: int = 1
    names: PathNames = field(default_factory=PathNames)

    @property
    def stalled(self) -> AnyPath:
        """Where a worker that is ended by its watchdog says which file it was."""
        return self.path / "work" / "stalled"

    @property
    def lease_file(self) -> AnyPath:
        """Says whose folder it is, see :class:`fer_batch.lease.Lease`."""
        return self.path / "work" / "lease.json"


@dataclass
class Seconds:
    """Where a worker's time went, by stage."""

    decode: float = 0.0
    detect: float = 0.0
    align: float = 0.0
    score_wait: float = 0.0
    write: float = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time spent inside the `with` block to `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)


@dataclass(frozen=True)
class SampledFrame:
    """A sample with the faces found in it; `reason` says why there are none."""

    frame_index: int
    timestamp_ms: int
    duration_ms: int
    reason: str | None
    faces: tuple[Face, ...] = ()
    sharpness: tuple[float, ...] = ()


@dataclass(frozen=True)
class SegmentResult:
    """What was found in a segment.

    Attributes:
        segment: what was looked at.
        samples: its samples in order.
        probabilities: float32 (faces of all samples, 7), in the order of the faces.
        n_frames, n_decoded: frames of the segment and how many were decoded.
        broken_at_ms: where damage begins, None if there is none.
        end_ms: end of a video whose packets do not tell it, else None.
        wall_s: time spent on it.
        error: set when the segment's video turned out to be unusable; then there is nothing else.
    """

    segment: Segment
    samples: list[SampledFrame]
    probabilities: np.ndarray
    n_frames: int
    n_decoded: int
    broken_at_ms: int | None
    end_ms: int | None
    wall_s: float
    error: VideoError | None = None


@dataclass
class Batcher:
    """Gathers crops into batches and keeps a bounded number of them on their way.

    Crops of several segments share batches, so that short videos do not cost a model call each.
    """

    scores: Scores
    seconds: Seconds
    n_crops: int = 0
    _waiting: list[np.ndarray] = field(default_factory=list)
    _in_flight: deque[Any] = field(default_factory=deque)
    _done: list[np.ndarray] = field(default_factory=list)

    def add(self, crop: np.ndarray) -> None:
        """Queue one crop, uint8 (size, size, channels)."""
        self._waiting.append(crop)
        self.n_crops += 1
        if len(self._waiting) == BATCH:
            self._send()

    def finish(self) -> np.ndarray:
        """The probabilities of all crops added, float32 (n, 7), in that order."""
        if self._waiting:
            self._send()
        while self._in_flight:
            self._receive()
        return np.concatenate(self._done) if self._done else np.empty((0, 7), np.float32)

    def _send(self) -> None:
        while len(self._in_flight) >= MAX_IN_FLIGHT:
            self._receive()
        self._in_flight.append(self.scores.submit(np.stack(self._waiting)))
        self._waiting = []

    def _receive(self) -> None:
        with self.seconds.measure("score_wait"), unwatched():
            self._done.append(self.scores.result(self._in_flight.popleft()))


def process_segments(
    segments: tuple[Segment, ...], context: RunContext, detector: FaceDetector, scores: Scores, seconds: Seconds
) -> list[SegmentResult]:
    """Look at all samples of some segments. A video that cannot be used becomes a result with its error."""
    batcher = Batcher(scores, seconds)
    found = []
    for segment in segments:
        beat(context.names.text(segment.video.path))
        start, first_crop = time.perf_counter(), batcher.n_crops
        reader, wanted = _reader(segment, context.config)
        samples: list[SampledFrame] = []
        error = None
        try:
            samples.extend(_look(sample, context, detector, batcher, seconds) for sample in _timed(wanted, seconds))
        except VideoError as video_error:
            error, samples = video_error, []
        wall_s = time.perf_counter() - start
        found.append((segment, reader, samples, first_crop, batcher.n_crops, wall_s, error))
    probabilities = batcher.finish()
    return [
        SegmentResult(
            segment,
            samples,
            probabilities[first:last] if error is None else probabilities[:0],
            reader.n_frames,
            reader.n_decoded,
            reader.broken_at_ms,
            reader.end_ms,
            wall_s,
            error,
        )
        for segment, reader, samples, first, last, wall_s, error in found
    ]


def _reader(segment: Segment, config: RunConfig) -> tuple[SegmentReader, Iterator[FrameSample]]:
    """What reads a segment, and the samples to look at: those in its bins where it has bins, all where it has none."""
    bins, held = Bins.of(config), segment.bins
    if bins is None or held is None:
        reader = SegmentReader(segment, config.sampling)
        return reader, iter(reader)
    seen = replace(segment, start=held.read_from, end_pts=held.read_to)
    reader = SegmentReader(seen, bins.until(held.end, config.sampling) if held.end else config.sampling)
    if held.first == held.end:
        return reader, iter(())
    first_ms = bins.border_ms(held.first)
    return reader, (sample for sample in reader if sample.timestamp_ms >= first_ms)


def _look(
    sample: FrameSample, context: RunContext, detector: FaceDetector, batcher: Batcher, seconds: Seconds
) -> SampledFrame:
    if sample.image is None:
        return SampledFrame(sample.frame_index, sample.timestamp_ms, sample.duration_ms, "decode_error")
    with seconds.measure("detect"):
        faces, n_too_small = detector(sample.image)
    wanted = context.crop
    with seconds.measure("align"):
        crops = [
            crop_face(sample.image, face.landmarks, wanted.template, wanted.size, wanted.channels) for face in faces
        ]
        sharp = tuple(sharpness(crop) for crop in crops)
    for crop in crops:
        batcher.add(crop)
    reason = None if faces else "too_small" if n_too_small else "no_face"
    return SampledFrame(sample.frame_index, sample.timestamp_ms, sample.duration_ms, reason, tuple(faces), sharp)


def _timed(samples: Iterator[FrameSample], seconds: Seconds) -> Iterator[FrameSample]:
    while True:
        with seconds.measure("decode"):
            sample = next(samples, None)
        if sample is None:
            return
        yield sample
