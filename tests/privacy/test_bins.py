"""Where bins begin and end, and what a worker reads to see its own whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_batch.aggregate import summary
from fer_batch.bins import Bins
from fer_batch.config import Privacy, RunConfig, Sampling
from fer_batch.detect import Face
from fer_batch.plan import segments
from fer_batch.probe import Cut, VideoInfo
from fer_batch.process import SampledFrame
from fer_batch.unit_size import even


def video(ticks: int, cut_at: list[int], zero: int) -> VideoInfo:
    """A video of `ticks` hundredths of a second with these cuts."""
    cuts = tuple(Cut(zero + at, at, None if at == 0 else zero + at - 1) for at in sorted({0, *cut_at}))
    return VideoInfo(
        path=Path("v.mp4"), video_id="v", size_bytes=1, mtime_ns=1, container="mp4", codec="h264", stream_index=0,
        width=640, height=360, rotation=0, sample_aspect=Fraction(1), time_base=Fraction(1, 100), start_pts=zero,
        end_pts=zero + ticks, n_frames=ticks, is_vfr=False, timing="packets", broken_at_ms=None, cuts=cuts,
    )  # fmt: skip


@given(
    ticks=st.integers(1, 60_000),
    cut_at=st.lists(st.integers(0, 60_000), max_size=40),
    zero=st.integers(-500, 500),
    start_ms=st.integers(0, 100_000),
    pieces=st.integers(1, 30),
)
def test_each_whole_bin_is_in_one_segment_which_reads_all_of_it(
    ticks: int, cut_at: list[int], zero: int, start_ms: int, pieces: int
) -> None:
    bins = Bins.of(RunConfig(sampling=Sampling(start_ms=start_ms), privacy=Privacy("aggregate", bin_s=30)))
    assert bins is not None
    assert bins.start_ms % 30_000 == 0
    assert start_ms <= bins.start_ms < start_ms + 30_000
    whole = video(ticks, [at for at in cut_at if at < ticks], zero)
    found = [part.bins for part in segments(whole, pieces, even(1.0), bins=bins)]
    numbers = [number for held in found if held is not None for number in range(held.first, held.end)]
    assert numbers == list(range(max(0, 10 * ticks - bins.start_ms) // 30_000))
    places = {cut.pts for cut in whole.cuts} | {whole.end_pts}
    for held in found:
        assert held is not None
        if held.first < held.end:
            assert held.read_from in whole.cuts
            assert held.read_to in places
            assert 10 * (held.read_from.pts - zero) <= bins.border_ms(held.first)
            assert 10 * (held.read_to - zero) >= bins.border_ms(held.end)


def test_other_levels_have_no_bins_to_cut_at() -> None:
    assert Bins.of(RunConfig(privacy=Privacy("tracks"))) is None


def sample(at_ms: int, faces: int, reason: str | None = None) -> SampledFrame:
    face = Face((0.0, 0.0, 1.0, 1.0), np.zeros((5, 2), np.float32), 0.9)
    return SampledFrame(0, at_ms, 1000, reason, (face,) * faces)


def scores(*faces: int) -> np.ndarray:
    """Probabilities by which each face of a frame of so many can be told: happy in every frame but those of a few."""
    rows = [[0, 0, 0, 0.5 if n >= 5 else 0.0, 0.25, 0, 0.25 if n >= 5 else 0.75] for n in faces for _ in range(n)]
    return np.array(rows, np.float32).reshape(-1, 7)


PRIVACY = Privacy("aggregate", bin_s=30, min_people=10, round_to=5)


def test_what_is_told_of_a_bin() -> None:
    counts = (13, 4, 0, 8)
    told = summary([sample(at, n) for at, n in enumerate(counts)], scores(*counts), PRIVACY)
    assert told == {
        "n_sampled": 4, "n_lost": 0, "status": "shown", "people": 15, "presence": 0.5, "p_angry": 0.0, "p_disgust": 0.0,
        "p_fear": 0.0, "p_happy": 0.5, "p_sad": 0.25, "p_surprise": 0.0, "p_neutral": 0.25, "valence": 0.25,
        "expressiveness": 0.75,
    }  # fmt: skip


@pytest.mark.parametrize("counts", [(9, 9, 9), (0,), (1, 2)])
def test_of_a_bin_with_too_few_people_nothing_is_told(counts: tuple[int, ...]) -> None:
    told = summary([sample(at, n) for at, n in enumerate(counts)], scores(*counts), PRIVACY)
    assert told == {"n_sampled": len(counts), "n_lost": 0, "status": "too_few"}


def test_of_a_bin_that_is_hardly_there_nothing_is_told() -> None:
    samples = [sample(0, 12), sample(1, 0, "decode_error")]
    assert summary(samples, scores(12), PRIVACY)["status"] == "damaged"
    assert summary(samples, scores(12), Privacy("aggregate", bin_s=60))["status"] == "shown"
    assert summary([], scores(), PRIVACY)["status"] == "not_sampled"
