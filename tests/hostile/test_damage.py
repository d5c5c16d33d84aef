"""Files cut anywhere and files with bits turned over: what decodes is kept, nothing false is said, damage is named."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import pytest

from fer_batch.truncation import is_cut_short
from tests.clips import Clip, build, constant_times
from tests.hostile.catalogue import SIZE, Case, Files, Truth, truth
from tests.hostile.edits import flip_bits
from tests.hostile.stages import Look, look

CONTAINERS = ["mp4", "mov", "mkv", "webm", "avi", "ts", "flv"]

FRAMES = 50

SAYS_ITS_LENGTH = {"mp4", "mov", "mkv", "webm", "avi", "flv"}


@dataclass(frozen=True)
class Stored:
    """Where each frame's data ends in a file, in the order in which it is stored; frames are numbered as shown."""

    numbers: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def whole(path: Path) -> Clip:
    """Two seconds; a key frame each 10, of which all others of its group need all before them."""
    suffix = path.suffix[1:]
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    return build(path, constant_times(25, 2), size=SIZE, codec=codec, gop=10, faststart=suffix in {"mp4", "mov"})


def stored(path: Path) -> Stored:
    """Read with FFmpeg's demuxer, from the whole file."""
    with av.open(path) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size and p.pts is not None]
    order = sorted(packet.pts or 0 for packet in packets)
    positions = [packet.pos or 0 for packet in packets]
    return Stored(
        tuple(order.index(packet.pts or 0) for packet in packets),
        tuple(positions),
        tuple(position + packet.size for position, packet in zip(positions, packets, strict=True)),
    )


def assert_nothing_false(seen: Look) -> None:
    """Whatever the file is: each picture is the one of its time, and the counts add up."""
    row = seen.row
    assert row["status"] in {"ok", "partial", "failed"}
    assert (row.get("error_code") is None) == (row["status"] == "ok")
    if seen.frames is None:
        return
    times = seen.column("timestamp_ms")
    assert times == sorted(set(times))
    for at_ms, number in zip(times, seen.numbers, strict=True):
        assert number is None or at_ms == number * 40
    assert sum(seen.column("duration_ms")) == row["sampled_ms"] <= row["duration_ms"]


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_cut_at_every_tenth(tmp_path: Path, suffix: str) -> None:
    clip = whole(tmp_path / f"whole.{suffix}")
    data, places = clip.path.read_bytes(), stored(clip.path)
    assert not is_cut_short(clip.path, len(data))
    assert look(clip.path).status == ("ok", None)
    kept = []
    for tenth in range(1, 10):
        end = len(data) * tenth // 10
        path = tmp_path / f"{tenth}.{suffix}"
        path.write_bytes(data[:end])
        intact = [n for n, last in zip(places.numbers, places.ends, strict=True) if last <= end]
        touched = [n for n, first in zip(places.numbers, places.starts, strict=True) if first < end]
        leaves_a_trace = suffix != "ts" or end % 188 != 0
        assert is_cut_short(path, end) == leaves_a_trace
        seen = look(path)
        assert_nothing_false(seen)
        good = [number for number in seen.numbers if number is not None]
        kept.append(len(good))
        if not good:
            assert len(intact) <= 1, f"{tenth}: all of {intact} were lost"
            assert seen.row["error_code"] in {"unfinished", "no_frames", "undecodable"}
            continue
        assert good == list(range(len(good)))
        # where sizes are not known beforehand, a frame is complete only when the next one begins
        assert len(intact) - 2 <= len(good) <= len(touched), f"{tenth}: {len(good)} of {len(intact)}"
        if not leaves_a_trace:  # a transport stream that ends between two packets
            assert seen.status[0] in {"ok", "partial"}
            continue
        assert seen.status == ("partial", "damaged"), f"{tenth}: {seen.row}"
        assert abs(seen.row["broken_at_ms"] - 40 * len(intact)) <= 80
        length_ms = seen.row["duration_ms"]
        assert 40 * len(good) <= length_ms <= 40 * (len(touched) + 1)
        if suffix in SAYS_ITS_LENGTH:
            share = 100 * (2000 - length_ms) / 2000
            assert f"of 0:02.000: {said(2000 - length_ms)} ({share:.1f} %) is missing" in seen.row["error"]
        else:
            assert f"cut short at {said(length_ms)}; it does not say how long" in seen.row["error"]
    assert kept == sorted(kept)
    assert kept[-1] >= 40


def said(ms: int) -> str:
    return f"0:{ms / 1000:06.3f}"


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_bits_turned_over_in_the_data(tmp_path: Path, suffix: str) -> None:
    """In one frame's data: frames before it and from the next key frame on are kept, and none is false."""
    clip = whole(tmp_path / f"clip.{suffix}")
    places = stored(clip.path)
    hurt = 23
    start, end = places.starts[hurt], places.ends[hurt]
    flip_bits(clip.path, start + (end - start) // 3, end - 4, 3)
    seen = look(clip.path)
    assert_nothing_false(seen)
    assert seen.status[0] in {"ok", "partial"}  # a decoder need not notice
    assert seen.numbers[: hurt - 1] == list(range(hurt - 1))
    assert seen.numbers[30:] == list(range(30, FRAMES))
    if seen.status[0] == "partial":
        assert abs(seen.row["broken_at_ms"] - 40 * hurt) <= 80
        assert "samples are lost to damaged data" in seen.row["error"] or "none is lost" in seen.row["error"]


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("every", [1, 3, 17])
def test_bits_turned_over_in_the_header(tmp_path: Path, suffix: str, every: int) -> None:
    clip = whole(tmp_path / f"clip.{suffix}")
    flip_bits(clip.path, 0, 64, every)
    seen = look(clip.path)
    assert seen.row["status"] in {"ok", "partial", "failed"}
    if every == 1 and suffix in {"mkv", "webm", "avi", "flv"}:  # not even the container can be told
        assert seen.status == ("failed", "not_a_video")
    if suffix in {"mp4", "mov"}:
        assert seen.row["status"] != "failed" or seen.row["error_code"] in {"not_a_video", "unfinished"}


INDEXES = {"mp4": b"stco", "mov": b"stsz", "mkv": b"\x1c\x53\xbb\x6b", "webm": b"\x1c\x53\xbb\x6b", "avi": b"idx1"}


@pytest.mark.parametrize("suffix", INDEXES)
def test_bits_turned_over_in_the_index(tmp_path: Path, suffix: str) -> None:
    clip = whole(tmp_path / f"clip.{suffix}")
    start = clip.path.read_bytes().rindex(INDEXES[suffix])
    flip_bits(clip.path, start + 12, start + 72, 1)
    seen = look(clip.path)
    assert_nothing_false(seen)
    if suffix in {"mkv", "webm"}:  # needed for going to a place only
        assert seen.status == ("ok", None)
        assert seen.numbers == list(range(FRAMES))
    else:
        assert seen.status[1] in {"damaged", "undecodable", "no_frames", "unfinished"}, seen.row


def cut_case(path: Path) -> None:
    clip = whole(path)
    data = clip.path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])


def flipped(path: Path) -> Truth:
    """The data of frames 20 to 23 is noise; the key frame 30 heals it."""
    clip = whole(path)
    places = stored(clip.path)
    for hurt in range(20, 24):
        flip_bits(path, places.starts[hurt] + 20, places.ends[hurt], 1)
    return truth(clip)


DAMAGED = [
    *(Case(f"cut.{suffix}", cut_case, "partial", "damaged", "cut short at") for suffix in CONTAINERS),
    *(Case(f"noise.{suffix}", partial(flipped), "partial", "damaged", "lost to damaged data")
      for suffix in ("mp4", "mkv", "ts")),
]  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED, ids=str)
def test_the_ledger_says_what_is_missing(files: Files, case: Case) -> None:
    seen = look(files(case).path)
    assert seen.status == (case.status, case.code), seen.row
    assert case.said in seen.row["error"]
    assert_nothing_false(seen)
    if case.name.startswith("noise"):
        assert set(seen.numbers) >= {*range(19), *range(30, FRAMES)}
        assert not set(seen.numbers) & {20, 21, 22, 23}
        assert 760 <= seen.row["broken_at_ms"] <= 1000  # packets that are no longer seen as such leave no trace


def test_damage_between_samples_loses_none(files: Files) -> None:
    from fer_batch.config import Sampling

    (case,) = [case for case in DAMAGED if case.name == "noise.mp4"]
    seen = look(files(case).path, Sampling(fps=Fraction(1, 2)))
    assert seen.column("timestamp_ms") == [0]
    assert seen.status[0] in {"ok", "partial"}
    assert None not in seen.numbers
