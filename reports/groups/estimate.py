"""Means over people with their intervals and bands, from resampling whole persons.

One set of resamples serves all figures of a study: in each, people are drawn with replacement, and a person drawn
brings all stimuli and sessions. So paired measurements stay paired, and all intervals, ranks and bands speak of the
same imagined repetitions of the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reports.measures.columns import Floats

LEAST_PEOPLE: Final = 12
"""With fewer people there is no interval and no band: a bootstrap of so few says little of other people."""

LEVEL: Final = 0.95
"""Of all intervals and bands."""


@dataclass(frozen=True)
class Estimate:
    """A mean or difference at one or several places (measures, or steps of time).

    Attributes:
        value: float64 (places,); NaN where nobody has a value.
        error: float64 (places,), standard error; NaN below two people.
        low, high: float64 (places,), 95 % interval, or the band that holds all places at once; NaN where fewer than 12
            people have a value or the data are too uneven for one.
        people: int64 (places,), on which it rests: the smaller group's, where there are two.
        p: float64 (places,), of the test that the value is 0, by the same resamples as the interval; NaN without one.
    """

    value: Floats
    error: Floats
    low: Floats
    high: Floats
    people: NDArray[np.int64]
    p: Floats

    def within(self, lowest: float, highest: float) -> Estimate:
        """The same with intervals cut to what is possible."""
        return replace(self, low=np.maximum(self.low, lowest), high=np.minimum(self.high, highest))


def draw(strata: Sequence[object], count: int, seed: int) -> NDArray[np.float32]:
    """How often each person is drawn in each of `count` resamples: float32 (count, people).

    People are drawn within their stratum (the conditions that they were in), so that each group keeps its size.
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros((count, len(strata)), np.float32)
    for stratum in dict.fromkeys(strata):
        members = np.flatnonzero([one == stratum for one in strata])
        drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), count)
    return drawn


@dataclass(frozen=True)
class Moments:
    """The mean over people and its standard error, as observed (places,) and in each resample (count, places)."""

    people: NDArray[np.int64]
    mean: Floats
    error: Floats
    drawn_mean: Floats
    drawn_error: Floats


def moments(values: Floats, drawn: NDArray[np.float32]) -> Moments:
    """Moments over people.

    Args:
        values: float64 (people, places); NaN where a person has none, who then does not count at that place.
        drawn: from :func:`draw`.
    """
    known = np.isfinite(values)
    people = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(axis=0) / people
        # About the mean, so that 32 bits are enough for the squares.
        centred = np.where(known, values - mean, 0).astype(np.float32)
        error = np.sqrt((centred.astype(np.float64) ** 2).sum(axis=0) / (people - 1) / people)
        number = np.float32(len(values)) if known.all() else drawn @ known.astype(np.float32)
        shift = (drawn @ centred) / number
        spread = np.maximum(drawn @ centred**2 - number * shift**2, 0)
        # Rounding leaves crumbs where all that were drawn are alike.
        spread[spread < 1e-6 * (error**2 * people * (people - 1))] = 0
        drawn_error = np.sqrt(spread / (number - 1) / number)
    return Moments(people, mean, error, mean + shift.astype(np.float64), drawn_error.astype(np.float64))


def one_group(values: Floats, drawn: NDArray[np.float32], *, at_once: bool = False) -> Estimate:
    """The mean over people; of the same people's differences, for a paired design.

    Args:
        values: float64 (people, places).
        drawn: from :func:`draw`.
        at_once: whether the interval is to hold at all places together (a band over time).
    """
    found = moments(values, drawn)
    return _estimate(found.mean, found.error, found.drawn_mean, found.drawn_error, found.people, at_once)


def two_groups(first: Floats, second: Floats, drawn: NDArray[np.float32], *, at_once: bool = False) -> Estimate:
    """The difference first - second of the means of different people; each group keeps its own variance (Welch)."""
    a, b = moments(first, drawn), moments(second, drawn)
    return _estimate(
        a.mean - b.mean, np.hypot(a.error, b.error), a.drawn_mean - b.drawn_mean,
        np.hypot(a.drawn_error, b.drawn_error), np.minimum(a.people, b.people), at_once,
    )  # fmt: skip


def _estimate(
    value: Floats, error: Floats, drawn: Floats, drawn_error: Floats, people: NDArray[np.int64], at_once: bool
) -> Estimate:
    """Studentised bootstrap (bootstrap-t): how far a resample's mean is off, in its own standard errors.

    The interval is value +- q error with q the 95 % quantile of |t*| (Efron and Tibshirani 1993; symmetric: Hall
    1988); for a band q is the quantile of the largest |t*| over all places (max-t; for curves: Degras 2011,
    Statistica Sinica 21). This holds its level also where people's values lean to one side, as probabilities near 0
    do; Student's t does not (see the long tests). With 12 people a band is wider than it need be. p is the share of
    resamples whose |t*| reaches the observed |t|, counting the observed one.
    """
    enough = (people >= LEAST_PEOPLE) & (error > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(drawn - value) / drawn_error
        off[np.isnan(off)] = 0  # nobody was drawn, or all alike and right on the mean
        if at_once:
            largest = off[:, enough].max(axis=1, initial=0)
            reach = np.full(len(value), np.quantile(largest, LEVEL, method="higher"))
            beyond = (1 + (largest[:, None] >= np.abs(value / error)).sum(axis=0)) / (1 + len(off))
        else:
            reach = np.quantile(off, LEVEL, axis=0, method="higher")
            beyond = (1 + (off >= np.abs(value / error)).sum(axis=0)) / (1 + len(off))
    # Where one person makes all the difference, resamples without that person have no error: no interval then.
    enough &= np.isfinite(reach)
    half = np.full(len(value), np.nan)
    half[enough] = reach[enough] * error[enough]
    return Estimate(value, error, value - half, value + half, people, np.where(enough, beyond, np.nan))


def holm(p: Floats) -> Floats:
    """The p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6); NaN are not counted.

    The chance of any false difference among the family stays below the level at which these are read.
    """
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def rank_probabilities(values: Floats, drawn: NDArray[np.float32]) -> Floats:
    """How often each of several groups has each rank: float64 (groups, ranks), rows and columns sum to 1.

    Args:
        values: float64 (people, groups); NaN where a person is not in a group.
        drawn: from :func:`draw`. Groups of equal mean in a resample share their ranks evenly.
    """
    means = np.nan_to_num(moments(values, drawn).drawn_mean, nan=-np.inf)
    groups = values.shape[1]
    above = (means[:, None, :] > means[:, :, None] + 1e-9).sum(axis=2)
    tied = (np.abs(means[:, None, :] - means[:, :, None]) <= 1e-9).sum(axis=2)
    tied = np.maximum(tied, 1)
    chance = np.zeros((groups, groups))
    for rank in range(groups):
        inside = (above <= rank) & (rank < above + tied)
        chance[:, rank] = (inside / tied).mean(axis=0)
    return chance
