"""Writes video files with known answers: exact times, sizes and faces, and each frame's own number in the picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from jobs.samples import Image
from tests.scenes import Box, Person, draw

HIDDEN_NUMBER = 60_000
"""Frames that an edit list hides carry numbers from here on: none of them may ever be seen."""

_SAMPLE_RATE = 48_000

_ENCODERS = {
    "libx264": (
        "yuv420p",
        {"preset": "ultrafast", "crf": "23", "x264-params": "scenecut=0:keyint={gop}:min-keyint={gop}:open-gop={open}"},
    ),
    "libx265": (
        "yuv420p10le",
        {
            "preset": "ultrafast",
            "x265-params": "log-level=none:scenecut=0:keyint={gop}:min-keyint={gop}:open-gop={open}:pools=none",
        },
    ),
    "libvpx-vp9": ("yuv420p", {"deadline": "realtime", "cpu-used": "8", "b": "400k"}),
    "libsvtav1": ("yuv420p", {"preset": "12", "crf": "30", "svtav1-params": "lp=1"}),
    "mpeg4": ("yuv420p", {"b": "2M"}),
    "mjpeg": ("yuvj420p", {}),
    "prores_ks": ("yuv422p10le", {}),
}
"""Pixel format and options of each encoder: fast, and legible frame numbers."""


@dataclass(frozen=True)
class Clip:
    """A video file and the truth about it. Frame ``i`` in display order carries the number ``i``."""

    path: Path
    times: tuple[Fraction, ...]
    """Presentation time of each frame in seconds, exactly as the container can hold it; the first is zero."""
    duration: Fraction
    """End of the last frame. Where frames of uneven length are stored out of order, MP4 says a little else."""
    size: tuple[int, int]
    """Display width and height: rotation applied, pixels square."""
    coded_size: tuple[int, int]
    """Width and height as stored."""
    sar: Fraction
    """Pixel aspect as stored, width to height, before rotation."""
    rotation: int
    """Degrees clockwise by which a player must turn the stored picture."""
    keyframes: tuple[int, ...]
    """Numbers of the key frames."""
    boxes: tuple[tuple[Box, ...], ...]
    """True faces of each frame, in display pixels."""
    has_audio: bool

    @property
    def times_ms(self) -> list[int]:
        """The frames' times in whole milliseconds, rounded down."""
        return [math.floor(t * 1000) for t in self.times]

    @property
    def is_vfr(self) -> bool:
        """Whether the frames' distances vary by more than rounding to milliseconds explains."""
        steps = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return bool(steps) and max(steps) - min(steps) > Fraction(1, 500)


def constant_times(fps: int | Fraction, seconds: float) -> list[Fraction]:
    """The times of a clip with a constant frame rate."""
    return [Fraction(i) / Fraction(fps) for i in range(round(seconds * fps))]


def build(
    path: Path,
    times: Sequence[Fraction],
    people: Sequence[Person] = (),
    *,
    size: tuple[int, int] = (320, 240),
    start: Fraction = Fraction(0),
    gop: int = 15,
    bframes: int = 0,
    closed_gop: bool = True,
    rotation: int = 0,
    sar: Fraction = Fraction(1),
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    faststart: bool = False,
    trimmed: int = 0,
    audio: bool = False,
    cover: bool = False,
) -> Clip:
    """Writes a video file.

    Args:
        path: the file; its suffix chooses the container. In Matroska times are rounded to milliseconds, and the clip's
            truth says so.
        times: strictly rising, from zero, in seconds; the last frame lasts as long as the one before.
        people: who is in the picture, see :func:`still` and :func:`line`.
        size: display size; odd numbers are stored without chroma subsampling.
        start: time of the first frame in the container.
        gop: frames from one key frame to the next, at most.
        bframes: consecutive B-frames.
        closed_gop: whether no frame refers across a key frame.
        rotation: 0, 90, 180 or 270 degrees clockwise, by metadata.
        sar: pixel aspect, for anamorphic files.
        codec: any of PyAV's encoders.
        options: for the encoder, beside those that it gets anyway.
        faststart: the index of an MP4 at its beginning, so that a file cut short can be read.
        trimmed: so many frames at the beginning are hidden by an edit list, as after a cut without encoding anew. The
            clip's truth knows the others only, and counts their times and numbers from the first one that shows.
        audio: add a tone.
        cover: add a picture as cover art.
    """
    steps = [b - a for a, b in itertools.pairwise(times)] or [Fraction(1, 25)]
    if times[0] != 0 or min(steps) <= 0:
        raise ValueError("times must start at zero and rise")
    duration = times[-1] + steps[-1]
    start -= times[trimmed]
    tick = Fraction(1, math.lcm(*(t.denominator for t in (*times, start, duration))))
    lasts = {int((start + t) / tick): int(step / tick) for t, step in zip(times, [*steps, steps[-1]], strict=False)}
    boxes = []
    # An edit list hides what lies before time zero, if the muxer is not told to shift it; bitexact leaves out dates.
    muxing = {"fflags": "+bitexact", "avoid_negative_ts": "disabled" if trimmed else "auto"}
    with av.open(path, "w", options=muxing | ({"movflags": "+faststart"} if faststart else {})) as container:
        stream = _video_stream(container, codec, size, rotation, sar, tick, gop, bframes, closed_gop)
        stream.options = {**stream.options, **(options or {})}
        sound = _audio_stream(container) if audio else None
        if cover:
            _write_cover(container, *size)
        sounded = 0
        for index, t in enumerate(times):
            number = index - trimmed if index >= trimmed else HIDDEN_NUMBER + index
            picture, faces = draw(size, people, float(t - times[trimmed]), number)
            boxes.append(faces)
            turned = np.ascontiguousarray(np.rot90(picture, rotation // 90))
            stored = np.asarray(
                cv2.resize(turned, (stream.width, stream.height), interpolation=cv2.INTER_AREA), np.uint8
            )
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = int((start + t) / tick), tick
            _mux(container, stream, frame, lasts)
            if sound is not None:
                sounded = _write_tone(container, sound, sounded, float(start + t))
        _mux(container, stream, None, lasts)
        if sound is not None:
            container.mux(sound.encode())
        coded_size = (stream.width, stream.height)
    held = [_held(path, start + t) for t in times[trimmed:]]
    return Clip(
        path=path,
        times=tuple(t - held[0] for t in held),
        duration=_held(path, start + duration) - held[0],
        size=size,
        coded_size=coded_size,
        sar=sar,
        rotation=rotation,
        keyframes=_keyframes(path),
        boxes=tuple(boxes[trimmed:]),
        has_audio=audio,
    )


def build_audio(path: Path, seconds: float = 2, *, cover: bool = False) -> Path:
    """Writes a file that has sound and perhaps cover art, but no video."""
    with av.open(path, "w") as container:
        stream = _audio_stream(container)
        if cover:
            _write_cover(container, 64, 64)
        _write_tone(container, stream, 0, seconds)
        container.mux(stream.encode())
    return path


def _video_stream(
    container: OutputContainer,
    codec: str,
    size: tuple[int, int],
    rotation: int,
    sar: Fraction,
    tick: Fraction,
    gop: int,
    bframes: int,
    closed_gop: bool,
) -> VideoStream:
    stream = container.add_stream(codec)
    assert isinstance(stream, VideoStream)
    upright = size if rotation % 180 == 0 else size[::-1]
    stream.width, stream.height = round(upright[0] / sar), upright[1]
    is_odd = bool(stream.width % 2 or stream.height % 2)
    pix_fmt, options = _ENCODERS.get(codec, ("yuv420p", {}))
    stream.pix_fmt = "yuv444p" if is_odd and codec == "libx264" else pix_fmt
    stream.sample_aspect_ratio = sar
    stream.time_base = stream.codec_context.time_base = tick
    stream.gop_size = gop
    stream.max_b_frames = bframes
    stream.thread_count = 1  # one thread writes the same bytes everywhere
    stream.options = {name: value.format(gop=gop, open=int(not closed_gop)) for name, value in options.items()}
    if rotation:
        stream.set_display_rotation(-rotation)
    return stream


def _mux(container: OutputContainer, stream: VideoStream, frame: av.VideoFrame | None, lasts: dict[int, int]) -> None:
    """Encodes and writes a frame, or at the end the rest, with each packet's duration: encoders leave it to a guess."""
    for packet in stream.encode(frame):
        assert packet.pts is not None
        packet.duration = lasts[packet.pts]
        container.mux(packet)


def _audio_stream(container: OutputContainer) -> AudioStream:
    stream = container.add_stream("aac", rate=_SAMPLE_RATE)
    assert isinstance(stream, AudioStream)
    stream.layout = "mono"
    return stream


def _write_tone(container: OutputContainer, stream: AudioStream, written: int, until: float) -> int:
    """Writes 440 Hz from one sample number up to a time in seconds; gives the next sample number."""
    block = 1024
    while written < until * _SAMPLE_RATE:
        phase = (written + np.arange(block, dtype=np.float32)) * (2 * np.pi * 440 / _SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(0.1 * np.sin(phase)[None].astype(np.float32), "fltp", "mono")
        frame.pts, frame.sample_rate, frame.time_base = written, _SAMPLE_RATE, Fraction(1, _SAMPLE_RATE)
        container.mux(stream.encode(frame))
        written += block
    return written


def _write_cover(container: OutputContainer, width: int, height: int) -> None:
    stream = container.add_stream("mjpeg")
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    picture: Image = np.full((height, width, 3), 128, np.uint8)
    for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *stream.encode()]:
        container.mux(packet)


def _held(path: Path, t: Fraction) -> Fraction:
    """A time as the container of a path holds it."""
    if path.suffix in {".mkv", ".webm"}:
        return Fraction(math.floor(t * 1000 + Fraction(1, 2)), 1000)
    return t


def _keyframes(path: Path) -> tuple[int, ...]:
    """Numbers in display order of the frames whose packets are marked as key frames."""
    with av.open(path) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.pts is not None and not p.is_discard]
    shown = sorted((packet.pts, packet.is_keyframe) for packet in packets)
    return tuple(number for number, (_, is_key) in enumerate(shown) if is_key)
