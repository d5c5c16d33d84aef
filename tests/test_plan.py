from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_batch.bundle import ModelBundle
from fer_batch.config import Resources, RunConfig, Sampling
from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from fer_batch.plan import Segment, Unit, cost_s, disjoint, segments, tiling, units, whole
from fer_batch.precision import sized
from fer_batch.probe import Cut, VideoInfo
from fer_batch.resources import INT8_ACTOR_BYTES, place
from fer_batch.schedule import MAX_ATTEMPTS, Schedule
from fer_batch.unit_size import (
    FIRST_UNIT_S,
    MIN_UNIT_COST_S,
    SMALLEST_SHARE,
    UNIT_COST_S,
    even,
    growing,
    shrinking,
)


def video(seconds: int = 60, name: str = "v0", gop_s: int = 2) -> VideoInfo:
    """A made-up video of 25 frames a second."""
    cuts = tuple(Cut(i * 1000, i * 25, None if i == 0 else i * 1000 - 40) for i in range(0, seconds, gop_s))
    return VideoInfo(
        Path(f"/{name}.mp4"), name, 1, 1, "mov", "h264", 0, 1280, 720, 0, Fraction(1), Fraction(1, 1000),
        0, seconds * 1000, seconds * 25, False, "packets", None, cuts,
    )  # fmt: skip


def ranges(parts: list[Segment]) -> list[tuple[int, int]]:
    return [(part.start.pts, part.end_pts) for part in parts]


@given(
    seconds=st.integers(1, 400),
    target=st.floats(0.01, 50),
    done=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=4),
)
def test_segments_cover_what_is_not_done_exactly_once(seconds: int, target: float, done: list[tuple[int, int]]) -> None:
    clip = video(seconds)
    borders = [cut.pts for cut in clip.cuts] + [clip.end_pts]
    committed: list[tuple[int, int]] = []
    for first, count in sorted(done):
        start = borders[min(first, len(borders) - 2)]
        end = borders[min(first + count, len(borders) - 1)]
        if not committed or start >= committed[-1][1]:
            committed.append((start, end))
    parts = segments(clip, 10, even(target), committed)
    covered = sorted(committed + ranges(parts))
    assert covered[0][0] == 0
    assert covered[-1][1] == clip.end_pts
    assert all(a[1] == b[0] for a, b in pairwise(covered))


spans = st.tuples(st.integers(0, 12), st.integers(1, 5)).map(lambda span: (span[0], span[0] + span[1]))


@given(st.lists(spans, max_size=12))
def test_of_ranges_that_overlap_those_that_do_not_are_kept(ranges: list[tuple[int, int]]) -> None:
    kept = disjoint(ranges)
    assert set(kept) <= set(ranges)
    assert all(a[1] <= b[0] for a, b in pairwise(kept))
    for start, end in ranges:  # nothing more would fit
        assert any(start < other_end and other_start < end for other_start, other_end in kept)


@given(st.lists(spans, max_size=12), st.lists(st.integers(1, 11), unique=True, max_size=5))
def test_ranges_that_cover_a_video_are_found_among_others(ranges: list[tuple[int, int]], cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), 12]
    hidden = list(pairwise(borders))
    found = tiling([*ranges, *hidden], 0, 12)
    assert found is not None
    assert set(found) <= {*ranges, *hidden}
    assert (found[0][0], found[-1][1]) == (0, 12)
    assert all(a[1] == b[0] for a, b in pairwise(found))


def test_ranges_with_a_gap_cover_nothing() -> None:
    assert tiling([(0, 4), (5, 12), (0, 5)], 0, 12) == [(0, 5), (5, 12)]
    assert tiling([(0, 4), (5, 12), (3, 6)], 0, 12) is None
    assert tiling([], 0, 12) is None


def test_a_short_video_is_not_cut() -> None:
    (only,) = segments(video(10), 1.0, even(60))
    assert only.is_whole
    assert only.video.cuts == ()


def test_short_videos_share_a_unit_and_parts_of_long_ones_do_not() -> None:
    short = [whole(video(5, f"s{i}")) for i in range(7)]
    long = segments(video(100, "long"), 30, even(10))
    found = units([*short, *long], [1.0] * 7 + [10.0] * len(long), even(3.5))
    sizes = [len(unit.segments) for unit in found]
    assert sizes.count(3) == 2
    assert len([unit for unit in found if not unit.segments[0].is_whole]) == len(long)
    assert sum(sizes) == 7 + len(long)


def test_unit_ids_depend_on_the_content_alone() -> None:
    one, other = Unit((whole(video(5, "a")),)), Unit((whole(video(5, "b")),))
    assert one.unit_id == replace(one, attempt=2).unit_id != other.unit_id


def test_cost_follows_length_samples_and_range() -> None:
    config = RunConfig()
    assert cost_s(video(120), config) == pytest.approx(2 * cost_s(video(60), config), rel=0.05)
    dense = replace(config, sampling=Sampling(fps=Fraction(10)))
    assert cost_s(video(60), dense) > 2 * cost_s(video(60), config)
    part = replace(config, sampling=Sampling(start_ms=0, end_ms=6000))
    assert cost_s(video(60), part) < 0.2 * cost_s(video(60), config)


def schedule(workers: int = 2) -> Schedule:
    return Schedule(RunConfig(), workers, lambda _id: [])


def drain(plan: Schedule) -> list[Unit]:
    found = []
    while (unit := plan.next_unit(all_found=True)) is not None:
        found.append(unit)
    return found


def test_one_clip_is_cut_so_that_each_worker_has_units_enough() -> None:
    plan = schedule(workers=2)
    plan.add(video(60))
    found = drain(plan)
    assert 4 <= len(found) <= 8
    sizes = [unit.media_ms for unit in found]
    assert max(sizes[-2:]) < sizes[0]


@given(st.integers(1, 64), st.floats(1, 100_000), st.lists(st.floats(0, 5), max_size=64))
def test_workers_that_begin_late_end_with_the_others(workers: int, total: float, delays: list[float]) -> None:
    """Each takes the next unit when it is free; nobody waits for another longer than the last units take."""
    size, left, sizes = shrinking(total, workers), total, []
    while left > 1e-9:
        sizes.append(min(left, size(left)))
        left -= sizes[-1]
    assert sizes[0] <= UNIT_COST_S
    assert all(a >= b - 1e-9 for a, b in pairwise(sizes))
    ends = [*(delays + workers * [0.0])[:workers]]
    for unit in sizes:
        ends[ends.index(min(ends))] += unit
    smallest = max(MIN_UNIT_COST_S, sizes[0] * SMALLEST_SHARE)
    if total > 2 * workers * 5 + 2 * workers * smallest:  # else one who begins late may find nothing left
        assert max(ends) - min(ends) <= smallest + 1e-6


@pytest.mark.parametrize(("videos", "seconds", "workers"), [(100, 600, 16), (20, 600, 4), (40, 60, 16), (5, 120, 2)])
def test_workers_end_together_whatever_the_videos(videos: int, seconds: int, workers: int) -> None:
    """A whole video is not kept back behind the parts of later ones."""
    plan = schedule(workers)
    for number in range(videos):
        plan.add(video(seconds, f"v{number}"))
    made = drain(plan)
    costs = [sum(cost_s(video(seconds), RunConfig()) * s.duration_ms / (1000 * seconds) for s in unit.segments)
             for unit in made]  # fmt: skip
    ends = workers * [0.0]
    for cost in costs:
        ends[ends.index(min(ends))] += cost
    assert max(ends) <= 1.06 * sum(costs) / workers
    assert len(made) <= 12 * workers


def test_of_an_object_no_more_is_cut_than_keeps_all_workers_busy() -> None:
    """Each worker that gets a part of it fetches all of it."""

    def parts(number: int, root: str) -> list[bool]:
        plan = schedule(workers=8)
        for index in range(number):
            plan.add(replace(video(600, f"v{index}"), path=as_path(f"{root}/v{index}.mp4")))
        return [segment.is_whole for unit in drain(plan) for segment in unit.segments]

    assert all(parts(100, "memory://bucket"))
    assert not all(parts(100, "/folder"))
    assert len(parts(1, "memory://bucket")) == 16


def test_small_units_ask_for_no_more_workers_than_large_ones() -> None:
    plan = schedule(workers=16)
    plan.add(video(3 * 3600))
    assert plan.next_unit(all_found=True) is not None
    assert plan.backlog() <= math.ceil(cost_s(video(3 * 3600), RunConfig()) / UNIT_COST_S)
    assert len(drain(plan)) > 3 * 16


def test_the_last_units_are_not_many() -> None:
    size, left, count = shrinking(60_000, 100), 60_000.0, 0
    while left > 0:
        left -= size(left)
        count += 1
    assert count < 1_800  # 1,000, were all as large as the first


def test_the_first_units_are_small_and_grow_to_full_size_soon() -> None:
    workers, total = 4, 10_000.0
    size, left, sizes = growing(even(UNIT_COST_S), 0, total, workers), total, []
    while left > 0:
        sizes.append(size(left))
        left -= sizes[-1]
    assert sizes[0] == FIRST_UNIT_S
    assert all(a <= b for a, b in pairwise(sizes))
    assert sizes[5 * workers] == UNIT_COST_S
    assert growing(even(UNIT_COST_S), 10_000, total, workers)(total) == UNIT_COST_S  # later on


def test_while_more_may_come_about_half_is_kept_back() -> None:
    """So that units can still become small at the end."""
    plan = schedule(workers=2)
    for number in range(300):
        plan.add(video(60, f"v{number}"))
    begun = set()
    while (unit := plan.next_unit(all_found=False)) is not None:
        begun |= {segment.video.video_id for segment in unit.segments}
    assert 150 <= len(begun) < 300
    rest = drain(plan)
    assert len(begun | {segment.video.video_id for unit in rest for segment in unit.segments}) == 300
    assert rest[-1].media_ms <= rest[0].media_ms / 3


def test_what_is_done_already_counts_neither_as_begun_nor_as_left() -> None:
    whole_video = video(1200)
    half = (whole_video.start_pts, whole_video.cuts[len(whole_video.cuts) // 2].pts)
    resumed, fresh = Schedule(RunConfig(), 2, lambda _id: [half]), schedule(workers=2)
    resumed.add(whole_video)
    fresh.add(video(600))
    (one, *_), (other, *_) = drain(resumed), drain(fresh)
    assert one.media_ms == pytest.approx(other.media_ms, abs=4000)


def test_waits_for_more_before_cutting_unless_all_is_found() -> None:
    plan = schedule()
    plan.add(video(60))
    assert plan.next_unit(all_found=False) is None
    assert plan.next_unit(all_found=True) is not None


def test_a_long_video_is_complete_when_its_last_segment_is() -> None:
    plan = schedule()
    plan.add(video(60))
    found = drain(plan)
    for unit in found[:-1]:
        plan.done(unit)
        assert plan.next_complete() is None
    plan.done(found[-1])
    complete = plan.next_complete()
    assert complete is not None
    assert complete.video_id == "v0"
    assert plan.next_complete() is None


def test_a_video_whose_segments_were_all_committed_only_waits_to_be_joined() -> None:
    plan = Schedule(RunConfig(), 2, lambda _id: [(0, 30_000), (30_000, 60_000)])
    plan.add(video(60))
    assert plan.next_unit(all_found=True) is None
    assert plan.next_complete() is not None
    assert plan.kept_ms == 60_000


def test_the_same_content_twice_is_one_video() -> None:
    plan = schedule()
    plan.add(video(5, "a"))
    plan.add(video(5, "a"))
    assert sum(len(unit.segments) for unit in drain(plan)) == 1
    assert len(plan.duplicates) == 1


def test_of_a_unit_that_kills_its_worker_only_the_guilty_video_fails() -> None:
    plan = schedule()
    for name in "abc":
        plan.add(video(1, name))
    (unit,) = drain(plan)
    assert plan.lost(unit) == []
    alone = drain(plan)
    assert [len(u.segments) for u in alone] == [1, 1, 1]
    plan.done(alone[0])
    plan.done(alone[2])
    guilty = alone[1]
    given_up: list[VideoInfo] = []
    attempts = 2
    while not given_up:
        given_up = plan.lost(guilty)
        if not given_up:
            (guilty,) = drain(plan)
            attempts += 1
    assert given_up[0].video_id == "b"
    assert attempts == MAX_ATTEMPTS


def test_a_long_video_that_is_given_up_takes_its_other_segments_along() -> None:
    plan = schedule()
    plan.add(video(60))
    first = plan.next_unit(all_found=True)
    assert first is not None
    plan.drop(first.segments[0])
    assert drain(plan) == []
    plan.done(first)
    assert plan.next_complete() is None


@given(
    cpus=st.integers(1, 256),
    workers=st.none() | st.integers(1, 64),
    actors=st.none() | st.integers(1, 16),
    gpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]),
)
def test_logical_cpus_always_suffice_for_actors_and_workers(
    cpus: int, workers: int | None, actors: int | None, gpus: float
) -> None:
    placed = place(Resources(workers=workers, actors=actors), cpus, gpus)
    held = placed.actors * placed.actor_cpus
    assert held < cpus
    assert held + placed.worker_cpus <= cpus  # at least one worker fits beside the actors
    assert placed.workers >= 1
    assert placed.actor_threads >= 1
    assert placed.actors * placed.actor_gpus <= gpus + 1e-6


def test_two_cores_are_both_kept_busy() -> None:
    placed = place(Resources(), 2, 0)
    assert (placed.workers, placed.actors, placed.actor_threads) == (2, 1, 2)


def test_a_fraction_of_a_gpu() -> None:
    assert place(Resources(gpus=0.5), 4, 1).actor_gpus == 0.5
    assert place(Resources(actors=4), 4, 2).actor_gpus == 0.5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Resources(cpus=8), "there are 4"),
        (Resources(gpus=1), "there are 0"),
        (Resources(memory=10**9), "too little: Ray .* GB = "),
        (Resources(workers=8, memory=3 * 10**9), "8 workers"),
    ],
)
def test_what_can_never_fit_is_refused_with_the_sums(asked: Resources, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        place(asked, 4, 0)


def test_too_little_shared_memory_is_refused_rather_than_a_disk_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_batch.resources.shared_memory_bytes", lambda: 150 * 10**6)
    assert place(Resources(), 4, 0).store_bytes == 135 * 10**6
    monkeypatch.setattr("fer_batch.resources.shared_memory_bytes", lambda: 64 * 10**6)
    with pytest.raises(RefusedError, match=r"64 MB free.*--shm-size"):
        place(Resources(), 4, 0)
    assert place(Resources(address="cluster:6379"), 4, 0).store_bytes > 0  # a cluster's is not ours


def test_a_small_model_leaves_more_memory_to_workers() -> None:
    asked = Resources(memory=2 * 10**9)
    with pytest.raises(RefusedError, match=r"1 model x 0\.90 GB"):
        place(asked, 4, 0)
    assert place(replace(asked, actor_bytes=INT8_ACTOR_BYTES), 4, 0).workers == 2


@pytest.mark.parametrize(
    ("asked", "gpus", "precision", "is_small"),
    [
        (Resources(), 0, "auto", True),
        (Resources(), 0, "float32", False),
        (Resources(), 1, "auto", False),
        (Resources(gpus=0), 1, "auto", True),
        (Resources(), 1, "int8", True),  # which is for CPUs, so no GPU is asked for
        (Resources(address="auto"), 0, "auto", False),  # its nodes may have GPUs
        (Resources(address="auto", gpus=0), 0, "auto", True),
    ],
)
def test_a_model_is_small_where_only_int8_can_run_it(
    asked: Resources, gpus: int, precision: Any, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_batch.precision.local_gpus", lambda: gpus)
    found = sized(asked, precision, ModelBundle.load())
    assert found.actor_bytes == (INT8_ACTOR_BYTES if is_small else None)
    assert found.gpus == (0 if precision == "int8" else asked.gpus)


def test_memory_limits_the_number_of_workers() -> None:
    assert place(Resources(memory=3 * 10**9), 16, 0).workers < 16
