"""``python -m benchmarks.floors CLIP FPS TABLES``: what the stages cost alone, in one process, on the same frames.

Each stage runs with the best settings known, on one thread, and nothing else: no file is committed, no worker waits.
The sum is the floor under a run's CPU seconds. Prints JSON.

Decoding is done twice: by the project's own reader, and by the shortest loop over PyAV's packets that decodes the same
frames; the less of the two is the floor. TABLES is the folder of a finished run of the clip: its rows are written
again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
import pyarrow.parquet as pq

from fer_batch.align import crop_face
from fer_batch.bundle import ModelBundle
from fer_batch.config import Detection, Sampling
from fer_batch.decode import SegmentReader
from fer_batch.detect import FaceDetector, default_detector
from fer_batch.plan import whole
from fer_batch.probe import probe
from fer_batch.process import BATCH
from fer_batch.score import Scorer

T = TypeVar("T")


@dataclass(frozen=True)
class Floors:
    """CPU seconds of the stages alone.

    Attributes:
        reader_s: decoding with the project's reader.
        plain_s: decoding with the shortest loop.
        detect_s, align_s, score_s, write_s: the other stages.
        samples, faces: how many there were.
    """

    reader_s: float
    plain_s: float
    detect_s: float
    align_s: float
    score_s: float
    write_s: float
    samples: int
    faces: int

    @property
    def total_s(self) -> float:
        """Sum of the stages, with the faster way to decode."""
        return min(self.reader_s, self.plain_s) + self.detect_s + self.align_s + self.score_s + self.write_s


class Clock:
    """Adds up the CPU seconds of calls, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, call: Callable[[], T]) -> T:
        """What `call` returns; its CPU seconds, of all threads, go to `stage`."""
        start = time.process_time()
        result = call()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - start
        return result


def floors(path: Path, fps: Fraction, tables: Path) -> Floors:
    """Measure the stages on the samples of a clip."""
    cv2.setNumThreads(1)
    video, sampling = probe(path), Sampling(fps=fps)
    bundle = ModelBundle.load()
    scorer = Scorer(bundle, threads=1, precision="int8")
    scorer.warm_up()
    detector = FaceDetector(default_detector(), Detection())
    clock, crops, samples, wanted = Clock(), [], 0, set()
    reader = iter(SegmentReader(whole(video), sampling))
    while (sample := clock("reader", lambda: next(reader, None))) is not None:
        samples += 1
        wanted.add(sample.pts)
        image = sample.image
        if image is None:
            continue
        faces, _ = clock("detect", lambda image=image: detector(image))  # type: ignore[misc]
        for face in faces:
            cut = (image, face.landmarks, bundle.template, bundle.input_size, bundle.channels)
            crops.append(clock("align", lambda cut=cut: crop_face(*cut)))  # type: ignore[misc]
    for first in range(0, len(crops), BATCH):
        batch = np.stack(crops[first : first + BATCH])
        clock("score", lambda batch=batch: scorer(batch))  # type: ignore[misc]
    clock("plain", lambda: _plain(path, wanted))
    files = [file for name in ("faces", "frames") for file in sorted((tables / name).glob("*.parquet"))]
    written = [pq.read_table(file) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        for number, table in enumerate(written):
            clock("write", lambda t=table, n=number: pq.write_table(t, f"{folder}/{n}", compression="zstd"))  # type: ignore[misc]
    s = clock.seconds
    return Floors(
        s["reader"],
        s["plain"],
        s.get("detect", 0.0),
        s.get("align", 0.0),
        s.get("score", 0.0),
        s.get("write", 0.0),
        samples,
        len(crops),
    )


def _plain(path: Path, wanted: set[int]) -> None:
    """Decode the frames with these PTS, and of the others only those that they may refer to."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for packet in container.demux(stream):
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            for frame in packet.decode():
                if frame.pts in wanted:
                    frame.to_ndarray(format="bgr24")  # type: ignore[union-attr]


def every_frame_s(path: Path) -> float:
    """CPU seconds to decode every frame of a clip on one thread, without looking at any."""
    start = time.process_time()
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for _frame in container.decode(stream):
            pass
    return time.process_time() - start


if __name__ == "__main__":
    print(json.dumps(asdict(floors(Path(sys.argv[1]), Fraction(sys.argv[2]), Path(sys.argv[3])))))
