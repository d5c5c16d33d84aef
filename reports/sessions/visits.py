"""A participant's session in numbers: means over the time with the face, their intervals, the baseline taken away."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from fer_batch.errors import RefusedError
from fer_batch.schema import PROBABILITIES
from reports.groups.analysed import own_baselines, why_left_out
from reports.groups.cells import positive
from reports.groups.grid import on_grid
from reports.groups.samples import VALUES, Samples
from reports.groups.settings import Settings
from reports.groups.trials import Trial
from reports.measures.columns import Floats

MEASURES: Final = ("valence", "expressiveness", "time_positive", *PROBABILITIES)
"""What is said of a session."""

BLOCKS: Final = 12
"""A session is cut into so many blocks, where they are long enough, to see how much its mean varies."""

BLOCK_MS: Final = 10_000
"""Shortest block. Expressions last seconds: means of shorter blocks would depend on each other."""

LEAST_BLOCKS: Final = 6
"""With fewer blocks with the face there is no interval."""

_ORDER: Final = [(*VALUES, "time_positive").index(name) for name in MEASURES]


@dataclass(frozen=True)
class Mean:
    """A mean over time with its standard error.

    Attributes:
        values: float64 (measures,).
        errors: float64 (measures,); NaN where there are fewer than :data:`LEAST_BLOCKS` blocks.
        blocks: blocks with the face.
    """

    values: Floats
    errors: Floats
    blocks: int


@dataclass(frozen=True)
class Visit:
    """One participant's one session.

    Attributes:
        participant, session: as in the table.
        at: where it stands on the axis: weeks since the participant's first session where sessions are dates, else its
            number.
        trials, samples: how many rows and samples with the face it rests on.
        seen_ms, sampled_ms: time with the face, and time that was looked at.
        mean: over the time with the face, minus the baseline.
        low, high: float64 (measures,), 95 % interval of the mean; NaN without one.
        baseline: the baseline's own mean; None without one.
    """

    participant: str
    session: str
    at: float
    trials: int
    samples: int
    seen_ms: int
    sampled_ms: int
    mean: Mean
    low: Floats
    high: Floats
    baseline: Mean | None


def make_visits(
    trials: Sequence[Trial], samples: Mapping[int, Samples], settings: Settings
) -> tuple[list[Visit], dict[int, str]]:
    """The sessions that can be analysed, by participant and time; and why a row is not, by row.

    Raises:
        RefusedError: none can, or the column session mixes dates and numbers.
    """
    baselines, _ = own_baselines(trials, samples, settings)
    left_out: dict[int, str] = {}
    kept: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.stimulus == settings.baseline:
            continue
        why = why_left_out(trial, samples.get(trial.row), settings, baselines)
        if why is None:
            kept[trial.participant, trial.session].append(trial)
        elif trial.excluded is None:
            left_out[trial.row] = why
    if not kept:
        raise RefusedError("no session of the table can be analysed: "
                           + "; ".join(sorted(set(left_out.values())) or ["all rows are excluded"]))  # fmt: skip
    at = places([*kept])
    neutral: dict[tuple[str, str], list[Samples]] = defaultdict(list)
    for trial in trials:
        if trial.stimulus == settings.baseline and trial.row in samples:
            neutral[trial.participant, trial.session].append(samples[trial.row])
    found = []
    for who, rows in kept.items():
        mine = [samples[trial.row] for trial in rows]
        away = baselines.get(who, np.zeros(len(VALUES)))
        mean = mean_of(mine, away, settings.positive_above)
        calm = mean_of(neutral[who], np.zeros(len(VALUES)), settings.positive_above) if neutral[who] else None
        low, high = _interval(mean, calm, settings)
        found.append(
            Visit(*who, at[who], len(rows), sum(one.n_seen for one in mine), sum(one.seen_ms for one in mine),
                  sum(one.sampled_ms for one in mine), mean, low, high, calm)
        )  # fmt: skip
    return sorted(found, key=lambda one: (one.participant, one.at)), left_out


def places(visits: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Where sessions stand on the axis, from participant and session.

    Sessions named by date (2026-03-01) stand at weeks since the participant's first; by whole number at that number;
    by anything else in the order in which they come.

    Raises:
        RefusedError: some are dates and others not.
    """
    days = {session: _day(session) for _, session in visits}
    dated = [session for session, day in days.items() if day is not None]
    if dated and len(dated) < len(days):
        other = next(session for session, day in days.items() if day is None)
        raise RefusedError(f"column session has dates ({dated[0]}) and others ({other}); write dates such as "
                           "2026-03-01 in all rows, or numbers in all")  # fmt: skip
    if dated:
        first: dict[str, date] = {}
        for who, session in visits:
            day = days[session]
            assert day is not None  # noqa: S101 - all are dates
            first[who] = min(first.get(who, day), day)
        return {(who, s): (d - first[who]).days / 7 for who, s in visits if (d := days[s]) is not None}
    if all(session.isdecimal() for session in days):
        return {(who, session): float(session) for who, session in visits}
    number = itertools.count(1)
    order = {session: float(next(number)) for session in days}
    return {(who, session): order[session] for who, session in visits}


def is_dated(session: str) -> bool:
    """Whether a session is named by its date."""
    return _day(session) is not None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def mean_of(parts: Sequence[Samples], away: Floats, positive_above: float) -> Mean:
    """The mean over the time with the face, and its standard error from the means of blocks of time.

    Samples that follow each other are alike, so their number says little; means of blocks that are long against that
    are nearly independent (batch means). The mean is the ratio A / S of the blocks' sums A_b of value x time with the
    face and S_b of that time; its squared error B / (B - 1) sum((A_b - mean S_b)^2) / S^2 (ratio estimator: Cochran
    1977, chapter 6).

    Args:
        parts: samples of the session's rows, or of its baseline's.
        away: float64 (9,), subtracted from :data:`reports.groups.samples.VALUES`.
        positive_above: valence above which a sample is positive.
    """
    total = sum(one.seen_ms for one in parts)
    block = max(BLOCK_MS, -(-total // BLOCKS))
    if (bin_ms := parts[0].bin_ms) is not None:
        block = -(-block // bin_ms) * bin_ms  # a bin's means cannot be divided among blocks
    areas, seen = [], []
    for one in parts:
        values = one.values - away
        end = int(one.end_ms[-1]) if len(one.end_ms) else 0
        columns = np.column_stack([values, positive(one, values, positive_above)])
        grid = on_grid(one, columns, np.arange(0, end + block, block))
        areas.append(grid.area[:, _ORDER])
        seen.append(grid.seen_ms)
    area, time = np.concatenate(areas), np.concatenate(seen)
    area, time = area[time > 0], time[time > 0]
    count, length = len(time), time.sum()
    mean = area.sum(axis=0) / length
    errors = np.full(len(MEASURES), np.nan)
    if count >= LEAST_BLOCKS:
        apart = area - mean * time[:, None]
        errors = np.sqrt(count / (count - 1) * (apart**2).sum(axis=0)) / length
    return Mean(mean, errors, count)


def _interval(mean: Mean, calm: Mean | None, settings: Settings) -> tuple[Floats, Floats]:
    """Student's t over blocks; with a baseline Welch's sum of both errors (Welch 1947), but for time positive.

    There is none where all blocks are alike: that says more of how few they are than of the mean.
    """
    from scipy import stats

    variance, freedom = mean.errors**2, np.full(len(MEASURES), mean.blocks - 1.0)
    if calm is not None:
        own, away = mean.errors**2, calm.errors**2
        with np.errstate(invalid="ignore", divide="ignore"):
            both = (own + away) ** 2 / (own**2 / (mean.blocks - 1) + away**2 / (calm.blocks - 1))
        both = np.where(own + away > 0, both, freedom)
        is_share = np.array([name == "time_positive" for name in MEASURES])
        variance = np.where(is_share, own, own + away)
        freedom = np.where(is_share, freedom, both)
    reach = np.where(variance > 1e-18, stats.t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(variance), np.nan)
    lowest, highest = np.array([settings.bounds(name) for name in MEASURES]).T
    return np.maximum(mean.values - reach, lowest), np.minimum(mean.values + reach, highest)
