"""Odd times: the encoder's own log tells what is right, and where FFmpeg's tools can read it, they agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clips import build, constant_times
from tests.hostile.catalogue import SIZE, TIMES, Case, Files, Truth, truth
from tests.hostile.edits import box, edit_box, edit_list, shift_clusters, without_pts
from tests.hostile.stages import assert_true, ffprobe_times, look

UNEVEN = [Fraction(sum(([17, 33, 100, 3, 250, 40, 700, 33] * 2)[:i]), 1000) for i in range(16)]

MPEG_WRAP = Fraction(2**33, 90_000)
"""MPEG's PTS begin anew after so many seconds."""

TO_EDIT_LIST = [b"moov", b"trak", b"edts", b"elst"]


def encoded(path: Path, times: list[Fraction] = TIMES, **options: Any) -> Truth:
    codec = "mpeg4" if options.get("codec") == "mpeg4" else "h264"
    timing = "decoder" if path.suffix == ".avi" and options.get("bframes") else "packets"
    return truth(build(path, times, size=SIZE, **options), codec, timing)


def edited(path: Path, edits: list[tuple[int, int]], numbers: list[int], timing: str) -> Truth:
    """An MP4 whose edit list is another one; a tick of the movie is 1 ms, one of the media 1/12800 s."""
    build(path, constant_times(25, 2), size=SIZE)
    edit_box(path, TO_EDIT_LIST, lambda _old: edit_list(*edits))
    times = tuple(Fraction(i, 25) for i in range(len(numbers)))
    return Truth(times, tuple(numbers), duration_ms=40 * len(numbers), timing=timing)


def lacking(path: Path, which: Callable[[int], bool], bframes: int = 0) -> Truth:
    """A transport stream in which some frames have no time."""
    found = truth(build(path, TIMES, size=SIZE, gop=10, bframes=bframes))
    without_pts(path, which)
    return replace(found, timing="decoder")


def moved(path: Path, by_ms: int, bframes: int = 0) -> Truth:
    """A Matroska file whose clusters from the middle on are elsewhere in time, to the millisecond."""
    found = truth(build(path, constant_times(25, 4), size=SIZE, gop=25, bframes=bframes))
    shift_clusters(path, lambda at: by_ms if at >= 2000 else 0)
    if by_ms < 0:  # the new time line is joined to the old one
        return replace(found, timing="decoder")
    times = tuple(t + (Fraction(by_ms, 1000) if t >= 2 else 0) for t in found.times)
    return replace(found, times=times, duration_ms=found.duration_ms + by_ms)


def joined(path: Path, parts: int) -> Truth:
    """Transport streams one after the other, each beginning at one second, as recorders leave them."""
    one = path.with_name(path.name + ".part.ts")
    clip = build(one, TIMES, size=SIZE, start=Fraction(1), bframes=2)
    path.write_bytes(one.read_bytes() * parts)
    one.unlink()
    n = len(TIMES)
    times = tuple(Fraction(i, 25) for i in range(n * parts))
    return Truth(times, tuple(range(n)) * parts, clip.size, duration_ms=1200 * parts, timing="decoder")


def too_long(path: Path) -> None:
    """Each frame lasts nearly two days."""
    build(path, TIMES, size=SIZE)
    times = bytes(4) + (1).to_bytes(4, "big") + (30).to_bytes(4, "big") + (0x7FFFFFFF).to_bytes(4, "big")
    edit_box(path, [b"moov", b"trak", b"edts"], lambda old: box(b"skip", old[8:]))
    edit_box(path, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"], lambda _old: times)


TIMED = [
    *(Case(f"one_frame.{s}", partial(encoded, times=[Fraction(0)])) for s in ("mp4", "mkv", "ts", "flv")),
    Case("one_frame.avi", partial(encoded, times=[Fraction(0)], codec="mpeg4")),
    *(Case(f"uneven.{s}", partial(encoded, times=UNEVEN, bframes=2)) for s in ("mov", "mkv", "ts")),
    *(Case(f"b_frames.{s}", partial(encoded, bframes=3, closed_gop=False)) for s in ("mov", "mkv", "ts", "flv")),
    Case("b_frames.avi", partial(encoded, bframes=2), is_plain=False),
    Case("begins_late.ts", partial(encoded, start=Fraction(3600), bframes=2)),
    Case("begins_late.mkv", partial(encoded, start=Fraction(7), bframes=2)),
    Case("trimmed.mov", partial(encoded, trimmed=7, bframes=2)),
    Case("pts_wrap.ts", partial(encoded, start=MPEG_WRAP - Fraction(1, 2), bframes=2)),
    Case("empty_edit.mp4", partial(edited, edits=[(400, -1), (1000, 0)], numbers=list(range(25)), timing="packets")),
    Case("cuts_by_edits.mp4", partial(edited, edits=[(400, 12800 // 5), (600, 12800 * 6 // 5)],
                                      numbers=[*range(5, 15), *range(30, 45)], timing="decoder")),
    Case("repeated_by_edits.mp4", partial(edited, edits=[(800, 0), (800, 0)], numbers=[*range(20), *range(20)],
                                          timing="decoder"), is_plain=False),
    Case("pts_now_and_then.ts", partial(lacking, which=lambda n: n % 10 != 0), is_plain=False),
    Case("pts_now_and_then_b_frames.ts", partial(lacking, which=lambda n: n % 3 != 0, bframes=2), is_plain=False),
    Case("pts_only_later.ts", partial(lacking, which=lambda n: n < 7), is_plain=False),
    Case("pts_never.ts", partial(lacking, which=lambda _n: True), is_plain=False),
    Case("jumps_back.mkv", partial(moved, by_ms=-1500), is_plain=False),
    Case("jumps_back_b_frames.mkv", partial(moved, by_ms=-2000, bframes=2), is_plain=False),
    Case("jumps_ahead.mkv", partial(moved, by_ms=30_000, bframes=2)),
    Case("joined.ts", partial(joined, parts=3), is_plain=False),
    Case("too_long.mp4", too_long, "failed", "bad_times", "days"),
]  # fmt: skip

USABLE = [case for case in TIMED if case.status == "ok"]


@pytest.mark.parametrize("case", USABLE, ids=str)
def test_every_frame_has_its_time(files: Files, case: Case) -> None:
    made = files(case)
    assert made.truth is not None
    assert_true(look(made.path), made.truth)


@pytest.mark.parametrize("case", [case for case in USABLE if case.is_plain], ids=str)
def test_times_agree_with_ffprobe(files: Files, case: Case, ffprobe: str) -> None:
    made = files(case)
    assert made.truth is not None
    assert ffprobe_times(ffprobe, made.path) == list(made.truth.times)


def test_times_that_no_table_can_hold_are_refused(files: Files) -> None:
    (case,) = [case for case in TIMED if case.status == "failed"]
    seen = look(files(case).path)
    assert seen.status == ("failed", "bad_times")
    assert case.said in seen.row["error"]
