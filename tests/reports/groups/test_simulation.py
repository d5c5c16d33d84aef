"""Simulated studies: intervals and bands hold as often as they say, and what is alike seldom differs.

Values are as probabilities of faces are: between 0 and 1, most near 0, neighbouring samples alike, people at different
levels. Each simulated study passes through the same functions as a real one, from each person's samples on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.groups.cells import make_cells
from reports.groups.estimate import draw, one_group, two_groups
from reports.groups.participants import Participants
from reports.groups.person import Person
from reports.groups.samples import VALUES, Samples
from reports.groups.settings import Settings
from reports.groups.study import Study, compare_trials
from reports.groups.trials import Trial
from tests.reports.groups.people import wandering


def simulated(course: NDArray[np.float64], resamples: int, seed: int) -> Study:
    """A study of people, stimuli and samples half a second apart: p_happy given, the rest neutral."""
    count, stimuli, samples = course.shape
    start = np.arange(samples) * 500
    trials, found = [], {}
    for person in range(count):
        for stimulus in range(stimuli):
            row = 2 + person * stimuli + stimulus
            p = course[person, stimulus]
            values = np.zeros((samples, len(VALUES)))
            for name in ("p_happy", "valence", "expressiveness"):
                values[:, VALUES.index(name)] = p
            values[:, VALUES.index("p_neutral")] = 1 - p
            found[row] = Samples(start, start + 500, np.ones(samples, bool), values)
            trials.append(
                Trial(row, f"P{person}", "1", "v", "v", Person("largest"), f"S{stimulus}", 0, 500 * samples, None, None,
                      None, None)
            )  # fmt: skip
    asked = Settings(resamples=resamples, seed=seed)
    participants = Participants(Path("simulated"), tuple(trials), ())
    return compare_trials(participants, make_cells(trials, found, asked), asked)


def false_differences(studies: int, people: int, samples: int, resamples: int, seed: int) -> tuple[float, float, float]:
    """Share of studies of two identical stimuli in which a curve's band, an interval, and any test of a family of four
    after Holm's correction says that they differ."""
    random = np.random.default_rng(seed)
    band = interval = family = 0
    for number in range(studies):
        made = simulated(wandering(random, people, samples), resamples, number)
        (gap,) = [one for one in made.curves["stimulus",] if one.b is not None and one.measure == "valence"]
        band += bool(((gap.estimate.low > 0) | (gap.estimate.high < 0)).any())
        rows = [row for row in made.tables["differences"].to_pylist() if row["family"] == "stimulus: affect"]
        (valence,) = [row for row in rows if row["measure"] == "valence"]
        interval += bool(valence["low"] > 0 or valence["high"] < 0)
        family += any(row["p_holm"] is not None and row["p_holm"] <= 0.05 for row in rows)
    return band / studies, interval / studies, family / studies


def coverage(
    studies: int, people: int, samples: int, resamples: int, seed: int, *, groups: int = 1
) -> tuple[float, float]:
    """Share of studies whose band holds the true course, and whose interval holds the true mean, of a group or of the
    difference of two independent ones."""
    random = np.random.default_rng(seed)
    truth = float(wandering(np.random.default_rng(0), 400_000, 1, 1).mean()) if groups == 1 else 0.0
    drawn = draw([i // people for i in range(groups * people)], resamples, seed)
    band = interval = 0
    for _ in range(studies):
        course = wandering(random, groups * people, samples, 1)[:, 0]
        mean = course.mean(axis=1, keepdims=True)
        if groups == 1:
            over_time, number = one_group(course, drawn, at_once=True), one_group(mean, drawn)
        else:
            mine = np.arange(2 * people)[:, None] < people
            pair = [(np.where(mine, x, np.nan), np.where(mine, np.nan, x)) for x in (course, mean)]
            over_time, number = two_groups(*pair[0], drawn, at_once=True), two_groups(*pair[1], drawn)
        band += bool(((over_time.low <= truth) & (truth <= over_time.high)).all())
        interval += bool(number.low[0] <= truth <= number.high[0])
    return band / studies, interval / studies


def test_identical_stimuli_seldom_differ_and_intervals_mostly_hold() -> None:
    """A small version of the long tests: far from 5 % it would fail."""
    band, interval, family = false_differences(20, 30, 20, 999, 1)
    assert max(band, interval, family) <= 0.2
    found = coverage(60, 30, 20, 999, 2)
    assert min(found) >= 0.85


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_identical_stimuli_differ_falsely_in_about_five_percent_of_studies() -> None:
    studies = 1000
    band, interval, family = false_differences(studies, 30, 60, 1999, 3)
    print(f"identical stimuli, 30 people, 60 samples, {studies} studies: band {band:.3f}, interval {interval:.3f}, "
          f"family after Holm {family:.3f}")  # fmt: skip
    # Five percent, give or take three standard errors of so many studies.
    assert 0.02 <= band <= 0.071
    assert 0.029 <= interval <= 0.071
    assert family <= 0.071


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("people", "groups"), [(12, 1), (20, 1), (30, 1), (60, 1), (12, 2), (30, 2)])
def test_bands_and_intervals_hold_as_often_as_they_say(people: int, groups: int) -> None:
    studies = 1000
    band, interval = coverage(studies, people, 60, 1999, 4, groups=groups)
    print(f"{groups} x {people} people, 60 samples, {studies} studies: band {band:.3f}, interval {interval:.3f}")
    assert interval >= 0.929
    assert band >= 0.929
    # With few people bands are wider than need be, never narrower.
    assert band <= (0.985 if people >= 30 else 1)
