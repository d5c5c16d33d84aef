"""The stimulus' own pictures, to lie below its curves."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from fer_batch.config import Sampling
from fer_batch.container import check_readable
from fer_batch.decode import SegmentReader
from fer_batch.errors import RefusedError, VideoError
from fer_batch.plan import Segment
from fer_batch.probe import probe

PICTURES: Final = 10
"""Pictures of a stimulus, evenly over its length."""

HEIGHT: Final = 90
"""Of a picture, in pixels."""

LONGEST_DECODED_MS: Final = 300_000
"""Of a longer stimulus key frames are shown: to decode all of it would take minutes."""


@dataclass(frozen=True)
class Picture:
    """A picture of a stimulus.

    Attributes:
        at_ms: its time from the stimulus' start.
        data: a JPEG as a data address.
    """

    at_ms: int
    data: str


def find_stimuli(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """The video of each stimulus that has one: a file of that name, with or without its ending.

    Raises:
        RefusedError: there is no such folder, or two files are called alike.
    """
    if not folder.is_dir():
        raise RefusedError(f"--stimuli {folder}: there is no such folder; give the folder of the stimuli's videos")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        for name in names:
            if name in {path.name, path.stem}:
                if name in found:
                    raise RefusedError(f"--stimuli {folder}: {found[name].name} and {path.name} are both {name!r}; "
                                       "keep one of them there")  # fmt: skip
                found[name] = path
    return found


def pictures(path: Path, length_ms: int) -> tuple[list[Picture], str | None]:
    """Pictures of a stimulus, and why there are none or fewer, or None.

    Args:
        path: its video.
        length_ms: how much of it was watched.
    """
    try:
        check_readable(path)
        video = probe(path)
        length = min(length_ms, video.duration_ms or length_ms)
        wanted = Sampling(fps=Fraction(PICTURES * 1000, max(length, PICTURES)), end_ms=length)
        if length > LONGEST_DECODED_MS:
            wanted = Sampling(mode="keyframes", end_ms=length)
        made: list[Picture] = []
        ends = [*(cut.pts for cut in video.cuts[1:]), video.end_pts]
        for cut, end in zip(video.cuts, ends, strict=True):
            if video.clock.milliseconds(cut.pts) >= length:
                break
            for sample in SegmentReader(Segment(replace(video, cuts=()), cut, end, is_whole=False), wanted):
                due = len(made) * length / PICTURES
                if sample.image is not None and sample.timestamp_ms >= due and len(made) < PICTURES:
                    made.append(Picture(sample.timestamp_ms, _jpeg(sample.image)))
    except (VideoError, RefusedError) as error:
        return [], f"Pictures of {path.name} are missing: {error}."
    return made, None


def _jpeg(image: np.ndarray) -> str:
    size = (max(1, round(HEIGHT * image.shape[1] / image.shape[0])), HEIGHT)
    _, data = cv2.imencode(
        ".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 75]
    )
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
