"""Codecs in containers: every frame is found, at its time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.clips import build
from tests.hostile.catalogue import SIZE, TIMES, Case, Files, Truth, truth
from tests.hostile.stages import assert_true, ffprobe_times, look

ENCODERS = {
    "h264": ("libx264", "mp4 mov mkv avi ts flv"),
    "hevc": ("libx265", "mp4 mov mkv ts"),
    "vp9": ("libvpx-vp9", "mp4 mkv webm avi"),
    "av1": ("libsvtav1", "mp4 mkv webm avi"),
    "mpeg4": ("mpeg4", "mp4 mov mkv avi ts"),
    "mjpeg": ("mjpeg", "mp4 mov mkv avi"),
    "prores": ("prores_ks", "mov mkv"),
    "mpeg2video": ("mpeg2video", "mpg vob ts mkv"),
}
"""Each codec's encoder, and the containers that may hold it: FFmpeg's muxers refuse the others or mark them private."""

CONTAINERS = {"mp4": "mov", "mov": "mov", "mkv": "matroska", "webm": "matroska", "avi": "avi", "ts": "mpegts",
              "flv": "flv", "mpg": "mpeg", "vob": "mpeg"}  # fmt: skip


def make(path: Path, codec: str) -> Truth:
    encoder = ENCODERS[codec][0]
    return truth(build(path, TIMES, size=SIZE, codec=encoder, gop=12), codec)


FORMATS = [
    Case(f"{codec}.{suffix}", partial(make, codec=codec), is_plain=suffix not in {"mpg", "vob"})
    for codec, (_encoder, suffixes) in ENCODERS.items()
    for suffix in suffixes.split()
]


@pytest.mark.parametrize("case", FORMATS, ids=str)
def test_every_frame_is_found_at_its_time(files: Files, case: Case) -> None:
    made = files(case)
    assert made.truth is not None
    seen = look(made.path)
    assert_true(seen, made.truth)
    assert seen.row["container"].startswith(CONTAINERS[made.path.suffix[1:]])


@pytest.mark.parametrize("case", [case for case in FORMATS if case.is_plain], ids=str)
def test_times_agree_with_ffprobe(files: Files, case: Case, ffprobe: str) -> None:
    made = files(case)
    assert made.truth is not None
    assert ffprobe_times(ffprobe, made.path) == list(made.truth.times)


def test_ten_bits_are_ten_bits(files: Files) -> None:
    import av

    case = next(case for case in FORMATS if case.name == "hevc.mp4")
    with av.open(files(case).path) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
