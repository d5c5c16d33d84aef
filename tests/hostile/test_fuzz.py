"""Spoilt clips: no hang, no crash, each ends as ok, partial or failed with a code."""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import build, constant_times
from tests.hostile.catalogue import SIZE
from tests.hostile.fuzz import Outcome, run

CASES = int(os.environ.get("FER_BATCH_FUZZ", "3000"))
"""Of the long form."""

CODES = {
    None, "damaged", "undecodable", "not_a_video", "unfinished", "no_frames", "no_video_stream", "no_decoder",
    "too_large", "bad_times", "external_media",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small ones of each kind; a second and a half each, some with sound."""
    folder = tmp_path_factory.mktemp("fuzz")
    times = constant_times(25, 1.5)
    uneven = [Fraction(sum(([17, 33, 100, 3, 250, 40, 170, 33] * 2)[:i]), 1000) for i in range(16)]
    build(folder / "h264.mp4", times, size=SIZE, bframes=2, audio=True, faststart=True)
    build(folder / "trimmed.mov", times, size=SIZE, trimmed=5, bframes=2, rotation=90)
    build(folder / "uneven.mkv", uneven, size=SIZE, bframes=2)
    build(folder / "hevc.mp4", times, size=SIZE, codec="libx265")
    build(folder / "vp9.webm", times, size=SIZE, codec="libvpx-vp9")
    build(folder / "av1.mkv", times, size=SIZE, codec="libsvtav1")
    build(folder / "mpeg4.avi", times, size=SIZE, codec="mpeg4", audio=True)
    build(folder / "mjpeg.avi", times, size=SIZE, codec="mjpeg")
    build(folder / "h264.ts", times, size=SIZE, bframes=2, audio=True)
    build(folder / "mpeg2.mpg", times, size=SIZE, codec="mpeg2video", bframes=2)
    build(folder / "prores.mov", times[:5], size=SIZE, codec="prores_ks")
    build(folder / "h264.flv", times, size=SIZE)
    return folder


def assert_all_ended_well(outcomes: list[Outcome], count: int) -> None:
    bad = [o for o in outcomes if o.status not in {"ok", "partial", "failed"} or o.code not in CODES]
    assert not bad
    assert len(outcomes) == count
    assert all((outcome.code is None) == (outcome.status == "ok") for outcome in outcomes)


def test_some_dozens(whole_clips: Path) -> None:
    outcomes = list(run(whole_clips, 0, 60))
    assert_all_ended_well(outcomes, 60)
    assert {outcome.status for outcome in outcomes} == {"ok", "partial", "failed"}  # they do differ


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_some_thousands(whole_clips: Path) -> None:
    outcomes = list(run(whole_clips, 1000, CASES))
    slowest = max(outcome.seconds for outcome in outcomes)
    print(Counter((o.status, o.code) for o in outcomes), f"slowest {slowest} s")
    assert_all_ended_well(outcomes, CASES)


def test_a_child_that_dies_or_hangs_is_noticed(whole_clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The net is there: without it, the others could not fail."""
    monkeypatch.setattr("tests.hostile.fuzz.LIMIT_S", 10)
    monkeypatch.setenv("FER_BATCH_FUZZ_TRAP", "1:abort 2:hang")
    outcomes = list(run(whole_clips, 0, 4))
    assert [outcome.status in {"ok", "partial", "failed"} for outcome in outcomes] == [True, False, False, True]
    assert [outcome.status for outcome in outcomes[1:3]] == ["died", "hung"]
