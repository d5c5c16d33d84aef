"""Groups against each other: differences of people's means, their families, effect sizes and ranks."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.schema import PROBABILITIES
from reports.groups.cells import AFFECT, MEASURES
from reports.groups.estimate import LEAST_PEOPLE, LEVEL, Estimate, holm, one_group, rank_probabilities, two_groups
from reports.groups.settings import Settings
from reports.groups.small import shown_groups
from reports.measures.columns import Floats

MOST_PAIRED_OFF: Final = 5
"""Up to so many groups are compared pair by pair; more of them each with the mean of the others."""

OTHERS: Final = "mean of the others"

FAMILIES: Final = {"affect": AFFECT, "expressions": PROBABILITIES}
"""Measures that are corrected for their number together, with all pairs of groups of one factor."""

EFFECT_RESAMPLES: Final = 1_999


@dataclass(frozen=True)
class Factor:
    """What people are compared by.

    Attributes:
        name: ``condition`` or ``stimulus``.
        levels: its groups.
        values: float64 (people, levels, measures), each person's mean; NaN where a person was not in a group.
        coverage: float64 (people, levels).
        shown: bool (levels,), whether a group has enough people to be shown.
        within: whether at least half of the people were in several groups.
    """

    name: str
    levels: tuple[str, ...]
    values: Floats
    coverage: Floats
    shown: NDArray[np.bool_]
    within: bool


def make_factor(name: str, levels: tuple[str, ...], values: Floats, coverage: Floats, min_group: int) -> Factor:
    """See :class:`Factor`.

    A measure that too few people of a group have is left out of it, as a small group is (see
    :func:`reports.groups.small.shown_groups`).
    """
    present = np.isfinite(values[:, :, 0])
    known = np.isfinite(values)
    kept = np.stack([shown_groups(known[:, :, k], min_group) for k in range(values.shape[2])], axis=1)
    several = (present.sum(axis=1) > 1).sum()
    return Factor(name, levels, np.where(kept, values, np.nan), coverage, present.sum(axis=0) >= min_group,
                  bool(2 * several >= present.any(axis=1).sum()))  # fmt: skip


def means(factor: Factor, drawn: NDArray[np.float32], asked: Settings) -> list[dict[str, Any]]:
    """Rows of the table of means: a row a group that is shown and a measure."""
    rows = []
    for level in np.flatnonzero(factor.shown):
        found = one_group(factor.values[:, level], drawn)
        for k, measure in enumerate(MEASURES):
            rows.append(
                {"factor": factor.name, "level": factor.levels[level], "measure": measure,
                 **_numbers(found.within(*asked.bounds(measure)), k, "mean"),
                 "coverage": _mean(factor.coverage[:, level])}
            )  # fmt: skip
    return rows


def differences(factor: Factor, drawn: NDArray[np.float32], asked: Settings) -> list[dict[str, Any]]:
    """Rows of the table of differences: a row a pair of groups and a measure, corrected within its family."""
    rows: list[dict[str, Any]] = []
    for a, b in _pairs(factor):
        first, second, paired, left_out = _paired_off(factor, a, b)
        people_a, people_b = (int(np.isfinite(one[:, 0]).sum()) for one in (first, second))
        if min(people_a, people_b) < asked.min_group:
            continue
        found = one_group(first - second, drawn) if paired else two_groups(first, second, drawn)
        label = OTHERS if b is None else factor.levels[b]
        coverage = [_mean(_cover(factor, one)[np.isfinite(mine[:, 0])]) for one, mine in
                    ((a, first), (b, second))]  # fmt: skip
        for k, measure in enumerate(MEASURES):
            x, y = first[:, k], second[:, k]
            if paired:
                both = np.isfinite(x - y)
                x, y = np.where(both, x, np.nan), np.where(both, y, np.nan)
            if min(np.isfinite(x).sum(), np.isfinite(y).sum()) < asked.min_group:
                continue
            effect, low, high = effect_size(x, y, paired=paired, seed=asked.seed)
            rows.append(
                {"factor": factor.name, "a": factor.levels[a], "b": label, "measure": measure,
                 "design": "paired" if paired else "independent",
                 "people_a": int(np.isfinite(x).sum()), "people_b": int(np.isfinite(y).sum()), "left_out": left_out,
                 "mean_a": _mean(x), "mean_b": _mean(y), **_numbers(found, k, "difference"),
                 "effect": effect, "effect_low": low, "effect_high": high,
                 "coverage_a": coverage[0], "coverage_b": coverage[1]}
            )  # fmt: skip
    for name, measures in FAMILIES.items():
        mine = [row for row in rows if row["measure"] in measures]
        corrected = holm(np.array([np.nan if row["p"] is None else row["p"] for row in mine], np.float64))
        for row, p in zip(mine, corrected, strict=True):
            row |= {"family": f"{factor.name}: {name}", "comparisons": int(np.isfinite(corrected).sum()),
                    "p_holm": None if np.isnan(p) else float(p)}  # fmt: skip
    return rows


def ranking(factor: Factor, drawn: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Rows of the ranking: a row a group, measure and rank, with the group's place by its mean, the rank's chance."""
    levels = np.flatnonzero(factor.shown)
    rows: list[dict[str, Any]] = []
    if len(levels) < 2:
        return rows
    for k, measure in enumerate(MEASURES):
        values = factor.values[:, levels, k]
        people = np.isfinite(values).sum(axis=0)
        if people.min() == 0:
            continue
        average = np.nanmean(values, axis=0)
        chance = rank_probabilities(values, drawn) if people.min() >= LEAST_PEOPLE else None
        for place, i in enumerate(np.argsort(-average, kind="stable"), 1):
            rows.extend(
                {"factor": factor.name, "measure": measure, "place": place, "level": factor.levels[levels[i]],
                 "people": int(people[i]), "mean": float(average[i]), "rank": rank + 1,
                 "probability": None if chance is None else float(chance[i, rank])}
                for rank in range(len(levels))
            )  # fmt: skip
    return rows


def _pairs(factor: Factor) -> list[tuple[int, int | None]]:
    levels = [int(level) for level in np.flatnonzero(factor.shown)]
    if len(levels) > MOST_PAIRED_OFF and factor.within:
        return [(level, None) for level in levels]
    return list(itertools.combinations(levels, 2))


def _paired_off(factor: Factor, a: int, b: int | None) -> tuple[Floats, Floats, bool, int]:
    """Two groups' values with NaN for people who do not count; whether they are pairs; how many people do not count.

    Where at least half of the two groups' people are in both, those are compared with themselves and the others do not
    count. Else the groups are taken for different people, and those in both do not count.
    """
    first, second = factor.values[:, a], _values(factor, a, b)
    in_a, in_b = np.isfinite(first[:, 0]), np.isfinite(second[:, 0])
    both, either = in_a & in_b, in_a | in_b
    paired = bool(2 * both.sum() >= either.sum())
    kept_a, kept_b = (both, both) if paired else (in_a & ~both, in_b & ~both)
    left_out = int(either.sum() - (kept_a | kept_b).sum())
    return np.where(kept_a[:, None], first, np.nan), np.where(kept_b[:, None], second, np.nan), paired, left_out


def _others(factor: Factor, a: int | None) -> NDArray[np.bool_]:
    mine = factor.shown.copy()
    if a is not None:
        mine[a] = False
    return mine


def _values(factor: Factor, a: int, b: int | None) -> Floats:
    return factor.values[:, b] if b is not None else nanmean(factor.values[:, _others(factor, a)], axis=1)


def _cover(factor: Factor, level: int | None) -> Floats:
    return factor.coverage[:, level] if level is not None else nanmean(factor.coverage[:, factor.shown], axis=1)


def effect_size(
    first: Floats, second: Floats, *, paired: bool, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """Hedges' g with its 95 % interval, from persons resampled (BCa, :func:`scipy.stats.bootstrap`).

    Paired: g_av = J (mean a - mean b) / sqrt((s_a^2 + s_b^2) / 2), J = 1 - 3 / (4 (n - 1) - 1). Independent:
    g_s = J (mean a - mean b) / s_pooled, J = 1 - 3 / (4 (n_a + n_b - 2) - 1). (Lakens 2013, Frontiers in Psychology 4,
    863; J: Hedges 1981.)

    Args:
        first, second: float64 (people,); NaN where a person does not count. Of equal length and order if `paired`.
        paired: which formula.
        seed: of the resamples.

    Returns:
        g, low, high; None where it cannot be said, low and high also where a group has fewer than 12 people.
    """
    x, y = first[np.isfinite(first)], second[np.isfinite(second)]
    least = min(len(x), len(y))
    if least < 2:
        return None, None, None
    freedom = least - 1 if paired else len(x) + len(y) - 2
    correction = 1 - 3 / (4 * freedom - 1)

    def g(a: Floats, b: Floats, axis: int = -1) -> Any:
        variances = np.var(a, axis=axis, ddof=1), np.var(b, axis=axis, ddof=1)
        weights = (1, 1) if paired else (a.shape[axis] - 1, b.shape[axis] - 1)
        pooled = (weights[0] * variances[0] + weights[1] * variances[1]) / sum(weights)
        return correction * (np.mean(a, axis=axis) - np.mean(b, axis=axis)) / np.sqrt(pooled)

    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # groups that do not vary: what comes out is not finite
        value = float(g(x, y))
        if not np.isfinite(value):
            return None, None, None
        if least < LEAST_PEOPLE:
            return value, None, None
        from scipy import stats

        found = stats.bootstrap(
            (x, y), g, paired=paired, vectorized=True, n_resamples=EFFECT_RESAMPLES, confidence_level=LEVEL,
            method="BCa", rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
    if not (np.isfinite(found.low) and np.isfinite(found.high)):
        return value, None, None
    return value, float(found.low), float(found.high)


def nanmean(values: Floats, axis: int) -> Floats:
    """The mean of what is known, NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=axis) / known.sum(axis=axis))


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _numbers(found: Estimate, place: int, name: str) -> dict[str, Any]:
    """An estimate's numbers as a row has them; what is not known is None."""
    numbers = {name: found.value, "low": found.low, "high": found.high, "p": found.p}
    row: dict[str, Any] = {
        key: float(value[place]) if np.isfinite(value[place]) else None for key, value in numbers.items()
    }
    if name == "mean":
        del row["p"]
    return {**row, "people": int(found.people[place])}
