"""Clips for the benchmarks, made on the spot: real faces on a wall that a camera wanders over.

The faces are the two public-domain portraits of :mod:`jobs.samples`. Film grain, other in each frame, gives the codec
the work that a camera's noise gives it. Clips are kept in a folder and made once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from jobs.samples import Image, portrait

FPS = 24
"""Two samples a second are every twelfth frame, also for peers that count frames."""

GRAIN = 4.0
"""Standard deviation of the grain, in grey levels."""

Codec = Literal["h264", "hevc"]


@dataclass(frozen=True)
class Clip:
    """A clip to be made.

    Attributes:
        height: 480, 720 or 1080; 16 to 9.
        faces: how many are seen all the time.
        seconds: length.
        codec: how it is encoded.
        gop: frames from a key frame to the next.
        seed: where the camera starts.
    """

    height: int = 720
    faces: int = 1
    seconds: int = 60
    codec: Codec = "h264"
    gop: int = 50
    seed: int = 0

    @property
    def name(self) -> str:
        """Says what it is; a file's name without its ending."""
        start = f"_{self.seed}" if self.seed else ""
        return f"{self.height}p_{self.faces}f_{self.codec}_gop{self.gop}_{self.seconds}s{start}"

    def make(self, folder: Path) -> Path:
        """The clip's file, made if it is not there."""
        path = folder / f"{self.name}.mp4"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".part")
            _encode(self, unfinished)
            unfinished.replace(path)
        return path


def repeated(path: Path, times: int) -> Path:
    """A clip as long as `times` of another, from its packets: no encoding."""
    made = path.with_stem(f"{path.stem}_x{times}")
    if made.exists():
        return made
    unfinished = made.with_suffix(".part")
    with av.open(unfinished, "w", format="mp4") as target:
        stream: VideoStream | None = None
        for round_ in range(times):
            with av.open(path) as source:
                assert isinstance(source, InputContainer)  # noqa: S101 - for mypy
                film = source.streams.video[0]
                stream = stream or target.add_stream_from_template(film)
                for packet in source.demux(film):
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round_ * (film.duration or 0)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    target.mux(packet)
    unfinished.replace(made)
    return made


def _encode(clip: Clip, path: Path) -> None:
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264" if clip.codec == "h264" else "libx265", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = clip.height * 16 // 9 // 2 * 2, clip.height, "yuv420p"
        stream.gop_size = clip.gop
        stream.options = {"preset": "veryfast", "crf": "23"}
        if clip.codec == "hevc":
            stream.options |= {"x265-params": f"log-level=none:keyint={clip.gop}"}
            stream.codec_tag = "hvc1"
        else:
            stream.options |= {"x264-params": f"keyint={clip.gop}:scenecut=0"}
        for picture in _pictures(clip, (stream.width, stream.height)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))


def _pictures(clip: Clip, size: tuple[int, int]) -> Iterator[Image]:
    """What the camera sees: it sways by a hundredth of the picture, slowly."""
    wall = _wall(clip.faces, (size[0] + size[0] // 10, size[1] + size[1] // 10))
    rng = np.random.default_rng(clip.seed + 1)
    grain = rng.normal(0, GRAIN, (size[1] + 64, size[0] + 64, 1)).astype(np.float32)
    room = np.array(wall.shape[1::-1]) - size
    for index in range(clip.seconds * FPS):
        t = index / FPS + 13 * clip.seed
        sway = np.array([0.5 + 0.35 * math.sin(0.7 * t), 0.5 + 0.35 * math.sin(0.53 * t + 1)]) * room
        to_frame = np.array([[1, 0, -sway[0]], [0, 1, -sway[1]]])
        seen = cv2.warpAffine(wall, to_frame, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        down, right = rng.integers(0, 64, 2)
        noise = grain[down : down + size[1], right : right + size[0]]
        yield np.clip(seen + noise, 0, 255).astype(np.uint8)


def _wall(faces: int, size: tuple[int, int]) -> Image:
    """A wall with some portraits in rows, BGR, as (height, width, 3)."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    light = 1.05 - 0.25 * rows / height - 0.1 * np.cos(9 * columns / width)
    wall = np.clip(np.array([140, 152, 150]) * light[..., None], 0, 255).astype(np.uint8)
    if not faces:
        return wall
    across = math.ceil(math.sqrt(faces * 16 / 9))
    down = math.ceil(faces / across)
    cell = min(width / across, height / down)
    for number in range(faces):
        whole = portrait("astronaut" if number % 2 == 0 else "hopper")
        left, top, wide, high = whole.face
        side = 2 * max(wide, high)
        x0, y0 = max(0, int(left + wide / 2 - side / 2)), max(0, int(top + high / 2 - side / 2))
        shown = whole.image[y0 : y0 + int(side), x0 : x0 + int(side), ::-1]
        scale = 0.8 * cell / max(shown.shape[:2])
        shown = cv2.resize(np.ascontiguousarray(shown), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        row, column = divmod(number, across)
        y = int((row + 0.5) * height / down - shown.shape[0] / 2)
        x = int((column + 0.5) * width / across - shown.shape[1] / 2)
        wall[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    return wall
