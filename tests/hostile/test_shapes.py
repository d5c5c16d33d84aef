"""Odd pictures: turned, of odd sizes, interlaced, changing, several streams, and pictures too large to decode."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import build, constant_times
from tests.hostile.catalogue import SIZE, TIMES, Case, Files, Truth, truth
from tests.hostile.edits import edit_box, giant_parameters, jpeg_sizes
from tests.hostile.stages import assert_true, look
from tests.scenes import draw

GIANT = 16_000  # FFmpeg itself refuses 16384 x 16384 in H.264

TO_STREAM = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]


def shaped(path: Path, name: str = "h264", size: tuple[int, int] = SIZE, **options: Any) -> Truth:
    return truth(build(path, TIMES, size=size, **options), name)


def turned(path: Path, degrees: int, **options: Any) -> Truth:
    return shaped(path, size=SIZE if degrees == 180 else SIZE[::-1], rotation=degrees, **options)


def changing(path: Path, sizes: list[tuple[int, int]]) -> Truth:
    """A transport stream whose pictures change their size; all are shown at the first one's."""
    n, written = len(TIMES), b""
    for i, size in enumerate(sizes):
        part = path.with_name(f"{path.name}.{i}.ts")
        build(part, TIMES, size=size, start=1 + i * Fraction(n, 25))
        written += part.read_bytes()
        part.unlink()
    path.write_bytes(written)
    times = tuple(Fraction(i, 25) for i in range(n * len(sizes)))
    return Truth(times, tuple(range(n)) * len(sizes), sizes[0], duration_ms=40 * len(times))


def several(path: Path, sizes: list[tuple[int, int]], frames: list[int], default: int | None = None) -> list[Truth]:
    """A file with several video streams, their frames numbered from 0, 1000, ...; gives the truth about each."""
    with av.open(path, "w") as container:
        streams = []
        for i, size in enumerate(sizes):
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.options = {"preset": "ultrafast"}
            if default is not None:
                stream.disposition = av.stream.Disposition.default if i == default else av.stream.Disposition(0)
            streams.append(stream)
        for number in range(max(frames)):
            for i, stream in enumerate(streams):
                if number < frames[i]:
                    picture = draw(sizes[i], (), number / 25, 1000 * i + number)[0]
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts = number
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return [
        Truth(tuple(constant_times(25, n / 25)), tuple(range(1000 * i, 1000 * i + n)), size, duration_ms=40 * n)
        for i, (size, n) in enumerate(zip(sizes, frames, strict=True))
    ]


def resized(path: Path, sizes: list[tuple[int, int]]) -> Truth:
    """Pictures of several sizes in one Matroska track, each a JPEG of its own."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuvj420p"
        number = 0
        for size in sizes:
            encoder = av.CodecContext.create("mjpeg", "w")
            assert isinstance(encoder, av.VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuvj420p", Fraction(1, 25)
            for _ in range(15):
                frame = av.VideoFrame.from_ndarray(np.asarray(draw(size, (), 0, number)[0]), format="rgb24")
                frame.pts = number
                for packet in encoder.encode(frame):
                    packet.pts = packet.dts = number
                    packet.time_base, packet.stream = Fraction(1, 25), stream
                    container.mux(packet)
                number += 1
    return replace(Truth(tuple(constant_times(25, 1.2)), tuple(range(number))), codec="mjpeg")


def one_of(path: Path, which: int, **options: Any) -> Truth:
    return several(path, [(96, 64), SIZE], **options)[which]


def giant_header(path: Path) -> Truth:
    """The container says that the pictures are giant; they are not."""
    found = shaped(path, "mjpeg", codec="mjpeg")
    size = GIANT.to_bytes(2, "big") * 2
    edit_box(path, TO_STREAM, lambda old: old[:40] + size + old[44:])
    return found


def giant_pictures(path: Path, first: int) -> None:
    """The container says that they are small; from a certain one on they are not."""
    build(path, TIMES, size=SIZE, codec="mjpeg")
    jpeg_sizes(path, (GIANT, GIANT), first)


def giant_stream(path: Path, first: int) -> None:
    """H.264 whose own description says that pictures are giant, from a certain key frame on."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        parameters = "keyint=5:scenecut=0:repeat-headers=1:annexb=1"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": parameters}
        packets = []
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(draw(SIZE, (), 0, number)[0], format="rgb24")
            frame.pts = number
            packets += stream.encode(frame)
        for number, packet in enumerate([*packets, *stream.encode()]):
            data = bytes(packet)
            if number >= first:
                data = re.sub(rb"\x00\x00\x00\x01\x67.+?(?=\x00\x00\x00\x01)", _giant, data, flags=re.DOTALL)
            changed = av.Packet(data)
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.stream, changed.is_keyframe = stream, packet.is_keyframe
            container.mux(changed)


def _giant(_old: re.Match[bytes]) -> bytes:
    return giant_parameters(GIANT)


def music_with_cover(path: Path) -> None:
    from tests.clips import build_audio

    build_audio(path, cover=True)


FIELDS = {"flags": "+ildct+ilme"}

FIELDS_H264 = {"x264-params": "tff=1:keyint=12:scenecut=0"}

SHAPES = [
    *(Case(f"turned_{d}.{s}", partial(turned, degrees=d)) for d in (90, 180, 270) for s in ("mp4", "mov", "mkv")),
    Case("odd.mkv", partial(shaped, size=(161, 121))),
    Case("odd.webm", partial(shaped, name="vp9", size=(161, 121), codec="libvpx-vp9")),
    Case("odd.avi", partial(shaped, name="mjpeg", size=(161, 121), codec="mjpeg")),
    *(Case(f"wide_pixels.{s}", partial(shaped, size=(160, 120), sar=Fraction(4, 3))) for s in ("mov", "mkv", "ts")),
    Case("narrow_pixels.mp4", partial(shaped, size=(160, 120), sar=Fraction(10, 11))),
    Case("turned_wide_pixels.mp4", partial(turned, degrees=90, sar=Fraction(4, 3))),
    Case("interlaced.mp4", partial(shaped, options=FIELDS_H264)),
    Case("interlaced_h264.ts", partial(shaped, options=FIELDS_H264)),
    Case("interlaced.ts", partial(shaped, name="mpeg2video", codec="mpeg2video", options=FIELDS)),
    Case("interlaced.mpg", partial(shaped, name="mpeg2video", codec="mpeg2video", options=FIELDS)),
    Case("grows.ts", partial(changing, sizes=[SIZE, (240, 180)])),
    Case("shrinks_and_grows.ts", partial(changing, sizes=[SIZE, (80, 96), SIZE])),
    *(Case(f"two_streams.{s}", partial(one_of, which=0, frames=[30, 30])) for s in ("mp4", "mkv", "ts")),
    Case("second_is_default.mp4", partial(one_of, which=1, frames=[30, 30], default=1)),
    Case("second_is_default.mkv", partial(one_of, which=1, frames=[30, 30], default=1)),
    *(Case(f"a_picture_and_a_film.{s}", partial(one_of, which=1, frames=[1, 30])) for s in ("mp4", "mkv", "ts")),
    Case("cover.mp4", partial(shaped, audio=True, cover=True)),
    Case("cover.mkv", partial(shaped, audio=True, cover=True)),
    Case("cover_and_sound.mp4", music_with_cover, "failed", "no_video_stream"),
    Case("sizes_differ.mkv", partial(resized, sizes=[SIZE, (80, 60)])),
    Case("not_giant.mov", giant_header),
    *(Case(f"giant_by_stream.{s}", partial(giant_stream, first=0), "failed", "too_large", f"{GIANT}x{GIANT}")
      for s in ("ts", "mkv")),
    Case("giant_pictures.avi", partial(giant_pictures, first=0), "failed", "undecodable"),
    Case("giant_later.mkv", partial(giant_pictures, first=10), "partial", "damaged", "lost to damaged data"),
    Case("giant_later.ts", partial(giant_stream, first=10), "partial", "damaged", "lost to damaged data"),
]  # fmt: skip

USABLE = [case for case in SHAPES if case.status == "ok"]


@pytest.mark.parametrize("case", USABLE, ids=str)
def test_pictures_are_shown_as_they_are_meant_to_be(files: Files, case: Case) -> None:
    made = files(case)
    assert made.truth is not None
    assert_true(look(made.path), made.truth)


def test_a_stream_that_appears_only_later_does_no_harm(tmp_path: Path) -> None:
    """Neither near the beginning nor at the end, where FFmpeg looks when it opens a file."""
    parts = [
        build(tmp_path / f"{start}.ts", TIMES, size=SIZE, start=Fraction(start), audio=start == 3).path.read_bytes()
        for start in (1, 3, 5)
    ]
    nothing = (b"\x47\x1f\xff\x10" + bytes(184)) * 40_000  # packets that hold nothing
    path = tmp_path / "late.ts"
    path.write_bytes(nothing.join(parts))
    with av.open(path) as container:
        assert len(container.streams) == 1
        with contextlib.suppress(IndexError):  # now and then; see read_packets
            assert sum(1 for packet in container.demux(video=0) if packet.size) == 90
    seen = look(path)
    assert seen.status == ("ok", None)
    assert seen.numbers == [*range(30)] * 3


def test_interlaced_files_are_interlaced(files: Files) -> None:
    for case in (case for case in SHAPES if case.name.startswith("interlaced")):
        path = files(case).path
        with av.open(path) as container:
            is_flagged = next(container.decode(video=0)).interlaced_frame
        assert is_flagged or b"interlaced=tff" in path.read_bytes()  # as x264 says of itself


@pytest.mark.parametrize("case", [case for case in SHAPES if case.status != "ok"], ids=str)
def test_what_cannot_be_shown_is_said(files: Files, case: Case) -> None:
    seen = look(files(case).path)
    assert seen.status == (case.status, case.code), seen.row
    assert case.said in seen.row["error"]
    if case.status == "partial":
        assert seen.numbers == [*range(10), *[None] * 20]
        assert seen.row["broken_at_ms"] == 400


def test_giant_pictures_take_no_memory(files: Files) -> None:
    paths = [str(files(case).path) for case in SHAPES if case.name.startswith("giant")]
    code = (
        "import resource, sys; from pathlib import Path; from tests.hostile.stages import look\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]: look(Path(path))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    told = subprocess.run([sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True)
    # one picture of 16,000 x 16,000 takes 384 MB; FFmpeg's tables about the parts of one, 80 MB
    assert int(told.stdout) / 1024 < 250


def test_a_limit_holds_for_the_picture_itself(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("limit.mp4", partial(shaped))
    monkeypatch.setattr("fer_batch.container.MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    assert look(files(case).path).status == ("failed", "too_large")
