"""A file's way through the engine's stages, without Ray and without a model: probe, decode, rows of the tables."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_batch.config import RunConfig, Sampling
from fer_batch.detect import Face
from fer_batch.errors import VideoError
from fer_batch.plan import whole
from fer_batch.probe import VideoInfo, probe
from fer_batch.process import CropSpec, RunContext, Seconds, process_segments
from fer_batch.tables import detections, failed_row, final_video
from tests.clips import read_frame_number
from tests.hostile.catalogue import Truth

ALL = Sampling(mode="every")


@dataclass
class Look:
    """What came of a file.

    Attributes:
        row: of the ledger.
        video: what probing found; None if the file was refused.
        frames: the table of sampled frames; None if the file failed.
        numbers: of each sampled frame, what its picture says; None where it was lost.
        shapes: all sizes that pictures had, width and height.
    """

    row: dict[str, Any]
    video: VideoInfo | None = None
    frames: pa.Table | None = None
    numbers: list[int | None] = field(default_factory=list)
    shapes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def status(self) -> tuple[str, str | None]:
        """Status and code."""
        return self.row["status"], self.row.get("error_code")

    def column(self, name: str) -> list[Any]:
        """A column of the sampled frames."""
        assert self.frames is not None, self.row
        found: list[Any] = self.frames[name].to_pylist()
        return found


class _Reader:
    """Stands where the face detector does, finds nobody and notes what the pictures say."""

    def __init__(self) -> None:
        self.numbers: list[int | None] = []
        self.shapes: set[tuple[int, int]] = set()

    def __call__(self, image: np.ndarray) -> tuple[list[Face], int]:
        self.numbers.append(read_frame_number(image))
        self.shapes.add((image.shape[1], image.shape[0]))
        return [], 0


class _NoScores:
    def submit(self, crops: np.ndarray) -> Any:
        raise AssertionError(f"nobody was found, but there are {len(crops)} crops")

    def result(self, ticket: Any) -> np.ndarray:
        raise AssertionError(ticket)


def look(path: Path, sampling: Sampling = ALL) -> Look:
    """Send a file through the stages, as a worker does."""
    config = RunConfig(sampling=sampling)
    crop = CropSpec(np.zeros((5, 2), np.float32), 48, 1)
    context = RunContext(Path(), config, Path(), crop, {})
    try:
        video = probe(path)
    except VideoError as error:
        return Look(failed_row(path, error))
    reader = _Reader()
    (result,) = process_segments((whole(video),), context, reader, _NoScores(), Seconds())  # type: ignore[arg-type]
    if result.error is not None:
        return Look(failed_row(path, result.error, video), video)
    final = final_video(video, [detections(result)], config, "part")
    said = iter(reader.numbers)
    numbers = [None if frame.reason == "decode_error" else next(said) for frame in result.samples]
    return Look(final.ledger, video, final.tables["frames"], numbers, reader.shapes)


def assert_true(seen: Look, expected: Truth) -> None:
    """Everything about a file that can be used."""
    assert seen.status == ("ok", None), seen.row
    assert seen.video is not None
    row = seen.row
    assert seen.numbers == list(expected.numbers)
    assert seen.column("timestamp_ms") == expected.times_ms
    assert seen.column("frame_index") == list(range(len(expected.times)))
    assert seen.shapes == {expected.size} == {(row["width"], row["height"])}
    assert (row["rotation"], row["codec"]) == (expected.rotation, expected.codec)
    assert row["n_frames"] == row["n_sampled"] == len(expected.times)
    assert abs(row["duration_ms"] - expected.duration_ms) <= 1
    assert row["sampled_ms"] == sum(seen.column("duration_ms")) == row["duration_ms"]
    assert seen.video.timing == expected.timing
    assert row["broken_at_ms"] is None


def ffprobe_times(ffprobe: str, path: Path) -> list[Fraction]:
    """The frames' times from the first as ffprobe tells them."""
    command = [ffprobe, "-v", "quiet", "-select_streams", "v:0", "-of", "json"]
    entries = ["-show_entries", "frame=best_effort_timestamp:stream=time_base"]
    answer = json.loads(subprocess.run([*command, *entries, path], capture_output=True, check=True).stdout)
    base = Fraction(answer["streams"][0]["time_base"])
    times = [frame["best_effort_timestamp"] * base for frame in answer["frames"]]
    return [t - times[0] for t in times]
