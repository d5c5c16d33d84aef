"""A comparison as a whole: from a run and its participants table to the tables that pages and programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.store import Run
from reports.groups import over_time
from reports.groups.cells import EVERYBODY, MEASURES, Cells, cube, make_cells
from reports.groups.compare import MOST_PAIRED_OFF, Factor, differences, make_factor, means, nanmean, ranking
from reports.groups.estimate import draw
from reports.groups.flow import flow
from reports.groups.participants import Participants, read_participants
from reports.groups.samples import read_samples
from reports.groups.settings import Settings
from reports.groups.trials import Trial

BAND_RESAMPLES: Final = 2_000
"""Resamples for bands over time: each costs thousands of places."""

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

SCHEMAS: Final = {
    "flow": pa.schema({"condition": _TEXT, "step": _TEXT, "reason": _TEXT, "by": _TEXT, "trials": _INT,
                       "people": _INT}),
    "people": pa.schema({"participant": _TEXT, "stimulus": _TEXT, "condition": _TEXT, "trials": _INT, "samples": _INT,
                         "seen_ms": _INT, "sampled_ms": _INT, "coverage": _FLOAT, **dict.fromkeys(MEASURES, _FLOAT)}),
    "means": pa.schema({"factor": _TEXT, "level": _TEXT, "measure": _TEXT, "people": _INT, "mean": _FLOAT,
                        "low": _FLOAT, "high": _FLOAT, "coverage": _FLOAT}),
    "differences": pa.schema(
        {"factor": _TEXT, "family": _TEXT, "comparisons": _INT, "a": _TEXT, "b": _TEXT, "measure": _TEXT,
         "design": _TEXT, "people_a": _INT, "people_b": _INT, "left_out": _INT, "mean_a": _FLOAT, "mean_b": _FLOAT,
         "difference": _FLOAT, "low": _FLOAT, "high": _FLOAT, "p": _FLOAT, "p_holm": _FLOAT, "effect": _FLOAT,
         "effect_low": _FLOAT, "effect_high": _FLOAT, "coverage_a": _FLOAT, "coverage_b": _FLOAT}),
    "ranking": pa.schema({"factor": _TEXT, "measure": _TEXT, "place": _INT, "level": _TEXT, "people": _INT,
                          "mean": _FLOAT, "rank": _INT, "probability": _FLOAT}),
    "curves": pa.schema({"stimulus": _TEXT, "group": _TEXT, "measure": _TEXT, "at_ms": _INT, "people": _INT,
                         "mean": _FLOAT, "low": _FLOAT, "high": _FLOAT, "coverage": _FLOAT}),
    "curve_differences": pa.schema({"stimulus": _TEXT, "a": _TEXT, "b": _TEXT, "design": _TEXT, "measure": _TEXT,
                                    "at_ms": _INT, "people": _INT, "difference": _FLOAT, "low": _FLOAT, "high": _FLOAT,
                                    "p": _FLOAT}),
}  # fmt: skip
"""The tables of a :class:`Study`. Times are milliseconds, shares and probabilities from 0 to 1, intervals 95 %."""


@dataclass(frozen=True)
class Study:
    """What a comparison found.

    Attributes:
        participants, settings, cells: what it was made from.
        factors: ``condition``, if the table has at least two, then ``stimulus``. Groups that are too small are in
            none, see :mod:`reports.groups.small`.
        curves: of each stimulus by condition, by the stimulus' name; under ``("condition",)`` and ``("stimulus",)`` the
            courses of conditions over all stimuli and of stimuli over all conditions. Empty at privacy level `tracks`.
        tables: a table for each of :data:`SCHEMAS`.
    """

    participants: Participants
    settings: Settings
    cells: Cells
    factors: tuple[Factor, ...]
    curves: dict[str | tuple[str], list[over_time.Curve]]
    tables: dict[str, pa.Table]


def compare(run: Run, table: Path, settings: Settings | None = None) -> Study:
    """Compare people, conditions and stimuli.

    Args:
        run: the run.
        table: its participants table.
        settings: what is asked.

    Raises:
        RefusedError: the table is wrong or nothing of it can be analysed.
    """
    asked = settings or Settings()
    participants = read_participants(table, run)
    return compare_trials(participants, make_cells(
        participants.trials, read_samples(run, participants.trials, table), asked), asked)  # fmt: skip


def compare_trials(participants: Participants, cells: Cells, settings: Settings) -> Study:
    """As :func:`compare`, from each person's cells."""
    from threadpoolctl import threadpool_limits

    # These products are small: threads that wait for each other would cost more than they bring.
    with threadpool_limits(1, "blas"):
        return _compare(participants, cells, settings)


def _compare(participants: Participants, cells: Cells, settings: Settings) -> Study:
    values, coverage = cube(cells)
    factors = []
    if len(cells.conditions) > 1 or cells.small_conditions:
        factors.append(make_factor("condition", cells.conditions, nanmean(values, 1), nanmean(coverage, 1),
                                   settings.min_group))  # fmt: skip
    by_stimulus = make_factor("stimulus", cells.stimuli, nanmean(values, 2), nanmean(coverage, 2), settings.min_group)
    drawn = draw(_strata(values), settings.resamples, settings.seed)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    found["flow"] = flow([one for one in participants.trials if cells.counts(one)], cells.left_out, settings.baseline)
    found["people"] = _people(cells)
    for factor in (*factors, by_stimulus):
        found["means"] += [row for row in means(factor, drawn, settings) if row["measure"] in cells.measures]
        found["differences"] += differences(factor, drawn, settings)
        found["ranking"] += ranking(factor, drawn)
    curves = _curves(cells, tuple(factors), by_stimulus, drawn[:BAND_RESAMPLES], settings)
    for key, course in curves.items():
        rows, gaps = over_time.rows(key if isinstance(key, str) else None, course)
        found["curves"] += rows
        found["curve_differences"] += gaps
    tables = {name: pa.Table.from_pylist(found[name], schema=schema) for name, schema in SCHEMAS.items()}
    return Study(participants, settings, cells, (*factors, by_stimulus), curves, tables)


def _strata(values: NDArray[np.float64]) -> list[object]:
    """Who is drawn from among whom: each condition's people where they are different people, else all together."""
    present = np.asarray(np.isfinite(values[..., 0]).any(axis=1))
    if 2 * (present.sum(axis=1) > 1).sum() >= len(present):
        return [0] * len(present)
    return list(present.argmax(axis=1))


def _curves(
    cells: Cells, factors: tuple[Factor, ...], by_stimulus: Factor, drawn: NDArray[np.float32], settings: Settings
) -> dict[str | tuple[str], list[over_time.Curve]]:
    made: dict[str | tuple[str], list[over_time.Curve]] = {}
    if cells.bin_ms is not None:
        return made
    if factors and len(cells.stimuli) > 1:
        made["condition",] = over_time.of_conditions(cells, drawn, settings)
    if 1 < by_stimulus.shown.sum() <= MOST_PAIRED_OFF + 1:
        made["stimulus",] = over_time.of_stimuli(cells, drawn, settings)
    for s in np.flatnonzero(by_stimulus.shown):
        made[cells.stimuli[s]] = over_time.of_stimulus(cells, int(s), drawn, settings)
    return made


def _people(cells: Cells) -> list[dict[str, Any]]:
    values, _ = cube(cells)
    rows = []
    for s, one in enumerate(cells.cells):
        for i, (person, condition) in enumerate(zip(one.people.tolist(), one.conditions.tolist(), strict=True)):
            seen, sampled = one.seen_ms[i].sum(), one.sampled_ms[i].sum()
            measures = zip(MEASURES, values[person, s, condition].tolist(), strict=True)
            rows.append(
                {"participant": cells.people[person], "stimulus": cells.stimuli[s],
                 "condition": cells.conditions[condition] if cells.conditions != (EVERYBODY,) else None,
                 "trials": int(one.n_trials[i]), "samples": int(one.n_samples[i]), "seen_ms": round(seen),
                 "sampled_ms": round(sampled), "coverage": seen / sampled,
                 **{name: None if np.isnan(value) else value for name, value in measures}}
            )  # fmt: skip
    return rows


def mean_order(trials: Sequence[Trial], left_out: Mapping[int, str]) -> dict[str, float]:
    """Mean position in the session of each condition's analysed trials, where the table says it."""
    orders: dict[str, list[int]] = {}
    for trial in trials:
        if trial.excluded is None and trial.row not in left_out and trial.order is not None and trial.condition:
            orders.setdefault(trial.condition, []).append(trial.order)
    return {name: float(np.mean(found)) for name, found in orders.items()}
