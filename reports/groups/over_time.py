"""Curves: the course of people's means over a stimulus, and where two courses differ, with bands."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.groups.cells import CURVES, EVERYBODY, Cells, curves
from reports.groups.compare import MOST_PAIRED_OFF, nanmean
from reports.groups.estimate import LEAST_PEOPLE, Estimate, one_group, two_groups
from reports.groups.settings import Settings
from reports.groups.small import shown_groups
from reports.measures.columns import Floats


@dataclass(frozen=True)
class Curve:
    """One group's course of one measure, or the difference of two groups'.

    Attributes:
        measure: of :data:`reports.groups.cells.CURVES`.
        a: the group.
        b: the group that is subtracted; None for a course.
        design: ``paired`` or ``independent``; None for a course.
        at_ms: int64 (steps,), start of each step from the stimulus' start.
        estimate: the mean over people in each step with its band; NaN where fewer people than the smallest group.
        coverage: float64 (steps,), mean over people; of group `a` for a difference.
        people: how many have a value in any step; for a difference the pairs, or the smaller group.
        points: float64 (people, steps), each person's own course, where they are fewer than 12; NaN in steps for which
            fewer have a value than the smallest group. None where they are 12 or more.
    """

    measure: str
    a: str
    b: str | None
    design: str | None
    at_ms: NDArray[np.int64]
    estimate: Estimate
    coverage: Floats
    people: int
    points: Floats | None = None


def of_stimulus(cells: Cells, stimulus: int, drawn: NDArray[np.float32], asked: Settings) -> list[Curve]:
    """The courses of a stimulus: one a condition with enough people, and their differences."""
    made: list[Curve] = []
    for measure in CURVES:
        values, coverage = curves(cells, stimulus, measure)
        groups = {name: (values[:, c], coverage[:, c]) for c, name in enumerate(cells.conditions)}
        made += _courses(measure, groups, cells.step_ms, drawn, asked)
    return made


def of_conditions(cells: Cells, drawn: NDArray[np.float32], asked: Settings) -> list[Curve]:
    """The courses of the conditions, each person's mean over the stimuli, as long as the shortest stimulus."""
    made: list[Curve] = []
    for measure in CURVES:
        each = [curves(cells, s, measure) for s in range(len(cells.stimuli))]
        steps = min(values.shape[2] for values, _ in each)
        values, coverage = (nanmean(np.stack([one[i][:, :, :steps] for one in each]), axis=0) for i in (0, 1))
        groups = {name: (values[:, c], coverage[:, c]) for c, name in enumerate(cells.conditions)}
        made += _courses(measure, groups, cells.step_ms, drawn, asked)
    return made


def of_stimuli(cells: Cells, drawn: NDArray[np.float32], asked: Settings) -> list[Curve]:
    """The courses of the stimuli, each person's mean over the conditions, as long as the shortest stimulus."""
    made: list[Curve] = []
    for measure in CURVES:
        groups = {}
        for s, name in enumerate(cells.stimuli):
            values, coverage = curves(cells, s, measure)
            groups[name] = (nanmean(values, axis=1), nanmean(coverage, axis=1))
        steps = min(values.shape[1] for values, _ in groups.values())
        cut = {name: (values[:, :steps], coverage[:, :steps]) for name, (values, coverage) in groups.items()}
        made += _courses(measure, cut, cells.step_ms, drawn, asked)
    return made


def _courses(
    measure: str, groups: Mapping[str, tuple[Floats, Floats]], step_ms: int, drawn: NDArray[np.float32], asked: Settings
) -> list[Curve]:
    enough = shown_groups(np.stack([_people(values) for values, _ in groups.values()], axis=1), asked.min_group)
    shown = {name: pair for (name, pair), ok in zip(groups.items(), enough, strict=True) if ok}
    made = []
    for name, (values, coverage) in shown.items():
        at = np.arange(values.shape[1], dtype=np.int64) * step_ms
        found = _enough(one_group(values, drawn, at_once=True), asked.min_group).within(*asked.bounds(measure))
        few, count = None, int(_people(values).sum())
        if count < LEAST_PEOPLE:
            few = np.where(found.people >= asked.min_group, values, np.nan)[_people(values)]
        made.append(Curve(measure, name, None, None, at, found, nanmean(coverage, axis=0), count, few))
    if len(shown) > MOST_PAIRED_OFF:
        return made
    for a, b in itertools.combinations(shown, 2):
        (first, coverage), (second, _) = shown[a], shown[b]
        in_a, in_b = _people(first), _people(second)
        both = in_a & in_b
        paired = bool(2 * both.sum() >= (in_a | in_b).sum())
        if paired:
            found, count = one_group(first - second, drawn, at_once=True), int(both.sum())
        else:
            first, second = (np.where(both[:, None], np.nan, one) for one in (first, second))
            found = two_groups(first, second, drawn, at_once=True)
            count = int(min(_people(first).sum(), _people(second).sum()))
        at = np.arange(first.shape[1], dtype=np.int64) * step_ms
        design = "paired" if paired else "independent"
        made.append(Curve(measure, a, b, design, at, _enough(found, asked.min_group),
                          nanmean(coverage, axis=0), count))  # fmt: skip
    return made


def _people(values: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).any(axis=1))


def _enough(found: Estimate, min_group: int) -> Estimate:
    """Without the steps for which fewer people than the smallest group have a value."""
    hidden = found.people < min_group
    value, error, low, high, p = (
        np.where(hidden, np.nan, one) for one in (found.value, found.error, found.low, found.high, found.p)
    )
    return Estimate(value, error, low, high, found.people, p)


def rows(stimulus: str | None, found: list[Curve]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables of curves and of their differences; `stimulus` is None for means over several."""
    courses: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for one in found:
        numbers = (one.estimate.value, one.estimate.low, one.estimate.high)
        for step, at in enumerate(one.at_ms.tolist()):
            value, low, high = (None if np.isnan(x[step]) else float(x[step]) for x in numbers)
            same = {"stimulus": stimulus, "measure": one.measure, "at_ms": at, "people": int(one.estimate.people[step])}
            if one.b is None:
                courses.append({**same, "group": one.a if one.a != EVERYBODY else None, "mean": value, "low": low,
                                "high": high, "coverage": None if value is None else float(one.coverage[step]),
                                })  # fmt: skip
            else:
                p = one.estimate.p[step]
                differences.append({**same, "a": one.a, "b": one.b, "design": one.design, "difference": value,
                                    "low": low, "high": high, "p": None if np.isnan(p) else float(p)})  # fmt: skip
    return courses, differences
