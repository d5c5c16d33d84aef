from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_batch.config import Sampling
from fer_batch.errors import RefusedError
from fer_batch.sampling import UNTIL_NEXT, Clock, choice, fill_durations

MILLISECONDS = Clock(Fraction(1, 1000), 0)


def chosen(times: list[int], sampling: Sampling, clock: Clock = MILLISECONDS) -> list[tuple[int, int]]:
    """PTS and duration of the frames that the sampling picks."""
    choose = choice(sampling, clock)
    found = []
    previous = None
    for index, pts in enumerate(times):
        duration = choose(index, pts, previous, index % 10 == 0)
        if duration is not None:
            found.append((pts, duration))
        previous = pts
    return found


def test_takes_the_first_frame_at_or_after_each_instant() -> None:
    times = [0, 400, 499, 501, 900, 1000, 1400, 1700]
    assert chosen(times, Sampling()) == [(0, 500), (501, 500), (1000, 500), (1700, 500)]


def test_a_gap_gives_one_row_that_carries_the_weight_of_all_instants_in_it() -> None:
    assert chosen([0, 100, 2600, 2700, 3100], Sampling()) == [(0, 500), (2600, 2500), (3100, 500)]


def test_rate_above_the_frame_rate_takes_every_frame_once() -> None:
    found = chosen([0, 40, 80, 120], Sampling(fps=Fraction(100)))
    assert [pts for pts, _ in found] == [0, 40, 80, 120]
    assert sum(duration for _, duration in found) == 130


def test_ntsc_rate_does_not_drift_over_three_hours() -> None:
    clock = Clock(Fraction(1001, 30000), 0)
    found = chosen(list(range(323_677)), Sampling(fps=Fraction(30000, 1001 * 15)), clock)
    assert [pts for pts, _ in found] == list(range(0, 323_677, 15))


def test_start_and_end_keep_to_the_grid_of_the_whole_video() -> None:
    times = list(range(0, 4000, 40))
    sampling = Sampling(start_ms=700, end_ms=2100)
    assert chosen(times, sampling) == [(1000, 500), (1520, 500), (2000, 500)]
    # the same frames as without --start
    assert set(chosen(times, sampling)) <= set(chosen(times, Sampling()))


def test_every_and_keyframes_last_until_the_next_sample() -> None:
    times = list(range(0, 1000, 40))
    assert [pts for pts, _ in chosen(times, Sampling(mode="every", every=10))] == [0, 400, 800]
    found = chosen(times, Sampling(mode="keyframes"))
    assert found == [(0, UNTIL_NEXT), (400, UNTIL_NEXT), (800, UNTIL_NEXT)]
    assert fill_durations(Sampling(mode="keyframes"), [0, 400, 800], [UNTIL_NEXT] * 3, 1000) == [400, 400, 200]


def test_no_samples_have_no_durations() -> None:
    assert fill_durations(Sampling(), [], [], 1000) == []
    assert fill_durations(Sampling(mode="every"), [], [], 1000) == []


@pytest.mark.parametrize(("end_ms", "last"), [(700, 200), (501, 1), (500, 0), (1000, 500), (1200, 500)])
def test_the_last_sample_at_a_rate_ends_with_the_video(end_ms: int, last: int) -> None:
    assert fill_durations(Sampling(), [0, 500], [500, 500], end_ms) == [500, last]


def test_the_last_sample_may_stand_for_the_gap_before_it_and_ends_with_the_video() -> None:
    times = [0, 100, 2600]
    found = chosen(times, Sampling())
    assert found == [(0, 500), (2600, 2500)]
    assert fill_durations(Sampling(), [0, 2600], [500, 2500], 2640) == [500, 2140]


def test_a_range_that_begins_off_the_grid_counts_from_its_first_instant() -> None:
    sampling = Sampling(start_ms=700, end_ms=2100)
    assert fill_durations(sampling, [1000, 1520, 2000], [500, 500, 500], 2100) == [500, 500, 100]


@given(
    steps=st.lists(st.integers(1, 3000), max_size=60),
    rate=st.fractions(Fraction(1, 20), 60).filter(lambda f: f > 0),
    zero=st.integers(-(10**9), 10**9),
    base=st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 15360)]),
)
def test_durations_sum_to_the_grid_and_rows_do_not_repeat(
    steps: list[int], rate: Fraction, zero: int, base: Fraction
) -> None:
    times = [zero]
    for step in steps:
        times.append(times[-1] + step)
    clock = Clock(base, zero)
    found = chosen(times, Sampling(fps=rate), clock)
    assert found[0][0] == zero
    assert len({pts for pts, _ in found}) == len(found)
    instants = int(clock.seconds(times[-1]) * rate) + 1
    assert sum(duration for _, duration in found) == int(Fraction(instants) * 1000 / rate)
    for pts, duration in found:
        assert duration >= 0
        assert clock.milliseconds(pts) >= 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"fps": Fraction(0)}, "--fps"),
        ({"fps": Fraction(5000)}, "--fps"),
        ({"mode": "every", "every": 0}, "--every"),
        ({"start_ms": -1}, "--start"),
        ({"start_ms": 1000, "end_ms": 1000}, "--end"),
        ({"mode": "sometimes"}, "sampling mode"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        Sampling(**wrong)  # type: ignore[arg-type]


@given(
    steps=st.lists(st.integers(1, 3000), min_size=1, max_size=60),
    last=st.integers(0, 3000),
    sampling=st.one_of(
        st.builds(
            Sampling, fps=st.fractions(Fraction(1, 20), 60).filter(lambda f: f > 0), start_ms=st.integers(0, 9000)
        ),
        st.builds(Sampling, mode=st.just("every"), every=st.integers(1, 9), start_ms=st.integers(0, 9000)),
        st.builds(Sampling, mode=st.just("keyframes")),
    ),
    base=st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 15360)]),
)
def test_samples_never_last_longer_than_the_video(
    steps: list[int], last: int, sampling: Sampling, base: Fraction
) -> None:
    times = list(accumulate(steps, initial=0))
    clock = Clock(base, 0)
    end_ms = clock.milliseconds(times[-1] + last)
    found = chosen(times, sampling, clock)
    timestamps = [clock.milliseconds(pts) for pts, _ in found]
    durations = fill_durations(sampling, timestamps, [duration for _, duration in found], end_ms)
    assert all(duration >= 0 for duration in durations)
    assert sum(durations) <= max(0, end_ms - sampling.start_ms)
    if found and sampling.start_ms == 0 and sampling.mode == "fps":  # nothing lacks but what no instant falls into
        assert sum(durations) >= clock.milliseconds(times[-1])
