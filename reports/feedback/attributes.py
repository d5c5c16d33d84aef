"""Answers broken down by what the participants table says of people: age group, customer since, and the like."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_batch.errors import RefusedError
from reports.groups.cells import cube, make_cells
from reports.groups.compare import differences, make_factor, means, nanmean
from reports.groups.estimate import draw
from reports.groups.samples import Samples
from reports.groups.settings import Settings
from reports.groups.small import shown_groups
from reports.groups.spreadsheet import read_sheet
from reports.groups.trials import COLUMNS, Trial


@dataclass(frozen=True)
class Breakdown:
    """Answers by one attribute.

    Attributes:
        attribute: the table's column.
        without: people of whom it is not stated.
        small: groups that are not shown, because they, or what a total would give away with them, are too small.
        means, differences: rows as in :data:`reports.groups.SCHEMAS`.
    """

    attribute: str
    without: int
    small: tuple[str, ...]
    means: list[dict[str, Any]]
    differences: list[dict[str, Any]]


def read_attributes(table: Path, trials: Sequence[Trial], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the table says of each participant, by attribute; who has an empty cell is missing.

    Raises:
        RefusedError: there is no such column, or two rows of a participant differ.
    """
    sheet = read_sheet(table, COLUMNS)
    cells = dict(sheet.rows)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        column = name.strip().lower()
        if column not in sheet.columns:
            near = difflib.get_close_matches(column, sheet.columns, 1)
            hint = f"; is it {near[0]!r}?" if near else f" (found: {', '.join(sheet.columns)})"
            raise RefusedError(f"{table}: row 1: there is no column {name!r} to break answers down by{hint}")
        of_person: dict[str, tuple[str, int]] = {}
        for trial in trials:
            value = cells[trial.row].get(column, "")
            before = of_person.setdefault(trial.participant, (value, trial.row)) if value else None
            if before is not None and before[0] != value:
                raise RefusedError(f"{table}: row {trial.row}, column {name}: {trial.participant} has {value!r} here "
                                   f"and {before[0]!r} in row {before[1]}; correct one of them")  # fmt: skip
        found[name] = {who: value for who, (value, _) in of_person.items()}
    return found


def breakdown(
    name: str,
    values: Mapping[str, str],
    people: Sequence[str],
    trials: Sequence[Trial],
    samples: Mapping[int, Samples],
    settings: Settings,
) -> Breakdown:
    """Compare people by an attribute, each person's mean over the stimuli.

    The page beside it has means over all `people`: a group that could be worked out from those and from the other
    groups is not shown either (:func:`reports.groups.small.shown_groups`), who states nothing being one.

    Args:
        name: the attribute.
        values: each participant's, from :func:`read_attributes`.
        people: participants of the study who are analysed.
        trials, samples, settings: of the study.
    """
    levels = tuple(dict.fromkeys(values[one.participant] for one in trials if one.participant in values))
    groups = (*levels, None)
    present = np.array([[values.get(who) == group for group in groups] for who in people])
    shown = shown_groups(present, settings.min_group)[: len(levels)]
    kept = {level for level, is_shown in zip(levels, shown, strict=True) if is_shown}
    small = tuple(level for level, count in zip(levels, present.sum(axis=0), strict=False) if count and level not in
                  kept)  # fmt: skip
    without = int(present[:, -1].sum())
    if not kept:
        return Breakdown(name, without, small, [], [])
    mine = [
        replace(one, condition=values[one.participant])
        for one in trials
        if one.participant in people and values.get(one.participant) in kept
    ]
    cells = make_cells(mine, samples, settings)
    of_person, coverage = cube(cells)
    factor = make_factor(name, cells.conditions, nanmean(of_person, 1), nanmean(coverage, 1), settings.min_group)
    strata = np.isfinite(of_person[..., 0]).any(axis=1).argmax(axis=1)
    drawn = draw(list(strata), settings.resamples, settings.seed)
    of_groups = [row for row in means(factor, drawn, settings) if row["measure"] in cells.measures]
    return Breakdown(name, without, small, of_groups, differences(factor, drawn, settings))
