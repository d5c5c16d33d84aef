"""Whole files are called whole, in every form that containers allow; shorter ones are not."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from fer_batch.mp4 import begins_as_mp4, has_external_media
from fer_batch.truncation import is_cut_short
from tests.clips import build, build_audio, constant_times


def box(name: bytes, payload: bytes, size: int | None = None) -> bytes:
    return (len(payload) + 8 if size is None else size).to_bytes(4, "big") + name + payload


HEAD = box(b"ftyp", b"isom\0\0\0\0")

LARGE = (1).to_bytes(4, "big") + b"mdat" + (16 + 100).to_bytes(8, "big") + bytes(100)

EBML = b"\x1aE\xdf\xa3\x84abcd\x18\x53\x80\x67"

PACKET = b"\x47" + bytes(187)

WHOLE = {
    "boxes": HEAD + box(b"moov", bytes(80)) + box(b"mdat", bytes(200)),
    "a large box": HEAD + LARGE,
    "a box up to the end": HEAD + box(b"mdat", bytes(50), size=0),
    "remarks behind the last box": HEAD + box(b"mdat", bytes(50)) + b"camera remark of some length",
    "zeros behind the last box": HEAD + box(b"mdat", bytes(50)) + bytes(4096),
    "a box of no size that there is": HEAD + box(b"mdat", bytes(50), size=3),
    "matroska": EBML + b"\x01\0\0\0\0\0\0\x0a" + bytes(10),
    "matroska, a short size": EBML + b"\x8a" + bytes(10),
    "matroska, left open": EBML + b"\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(10),
    "matroska, more behind it": EBML + b"\x8a" + bytes(99),
    "matroska, no segment": b"\x1aE\xdf\xa3\x84abcd" + bytes(40),
    "avi": b"RIFF" + (14).to_bytes(4, "little") + b"AVI " + bytes(10),
    "avi, not padded": b"RIFF" + (15).to_bytes(4, "little") + b"AVI " + bytes(10),
    "avi in two": b"RIFF"
    + (14).to_bytes(4, "little")
    + b"AVI "
    + bytes(10)
    + b"RIFF"
    + bytes([6, 0, 0, 0])
    + b"AVIXxx",
    "transport stream": PACKET * 10,
    "transport stream with time codes": (bytes(4) + PACKET) * 10,
    "transport stream with parity": (PACKET + bytes(16)) * 10,
    "something else": b"something else entirely",
    "nearly nothing": b"\0",
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(WHOLE[name])
    assert not is_cut_short(path, path.stat().st_size)


@pytest.mark.parametrize(
    "name", ["boxes", "a large box", "matroska", "matroska, a short size", "avi", "avi in two", "transport stream",
             "transport stream with time codes", "transport stream with parity"]
)  # fmt: skip
def test_the_last_bytes_are_missed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    for lost in (2, 3, 5):
        path.write_bytes(WHOLE[name][:-lost])
        assert is_cut_short(path, path.stat().st_size)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "ts", "avi"])
def test_files_as_ffmpeg_writes_them(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = build(tmp_path / f"clip.{suffix}", constant_times(25, 1), size=(64, 48), codec=codec, audio=True).path
    data = path.read_bytes()
    assert not is_cut_short(path, len(data))
    for lost in (2, 100, len(data) // 3 * 2 + 1):
        path.write_bytes(data[:-lost])
        assert is_cut_short(path, path.stat().st_size)


def test_a_fragmented_mp4(tmp_path: Path) -> None:
    whole = build(tmp_path / "whole.mp4", constant_times(25, 2), size=(64, 48), gop=10).path
    path = tmp_path / "fragments.mp4"
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(whole) as source, av.open(path, "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = path.read_bytes()
    assert data.count(b"moof") == 5
    assert not is_cut_short(path, len(data))
    for share in (0.3, 0.5, 0.7, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert is_cut_short(path, path.stat().st_size)


def test_media_within_and_elsewhere(tmp_path: Path) -> None:
    clip = build(tmp_path / "clip.mov", constant_times(25, 1), size=(64, 48), audio=True).path
    assert begins_as_mp4(clip)
    assert not has_external_media(clip)
    assert not has_external_media(build_audio(tmp_path / "sound.m4a"))
    data = clip.read_bytes()
    assert data.count(b"url \0\0\0\1") == 2
    position = data.rindex(b"url \0\0\0\1")  # the sound's
    clip.write_bytes(data[: position + 7] + b"\0" + data[position + 8 :])
    assert has_external_media(clip)
