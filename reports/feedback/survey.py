"""A survey as a whole: from a run and its participants table to what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_batch.errors import RefusedError
from fer_batch.store import Run
from reports.feedback.attributes import Breakdown, breakdown, read_attributes
from reports.feedback.shares import Shares, shares
from reports.groups.cells import make_cells
from reports.groups.participants import read_participants
from reports.groups.samples import VALUES, read_samples
from reports.groups.settings import Settings
from reports.groups.study import SCHEMAS as STUDY_SCHEMAS
from reports.groups.study import Study, compare_trials

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

SCHEMAS: Final = {
    "shares": pa.schema({"stimulus": _TEXT, "at_ms": _INT, "people": _INT, "share": _FLOAT, "low": _FLOAT,
                         "high": _FLOAT}),
    "means_by_attribute": STUDY_SCHEMAS["means"],
    "differences_by_attribute": STUDY_SCHEMAS["differences"],
}  # fmt: skip
"""The tables of :class:`Feedback`; in the last two `factor` is the attribute and `level` its value."""


@dataclass(frozen=True)
class Feedback:
    """What was found.

    Attributes:
        study: the comparison of stimuli and conditions.
        measure, above: what is counted in `shares`.
        shares: of each stimulus that enough people saw; none at privacy level `tracks`.
        breakdowns: by attribute.
        positions: mean position of each stimulus in the sessions, where the table says it.
        tables: a table for each of :data:`SCHEMAS`.
    """

    study: Study
    measure: str
    above: float
    shares: tuple[Shares, ...]
    breakdowns: tuple[Breakdown, ...]
    positions: dict[str, float]
    tables: dict[str, pa.Table]


def survey(
    run: Run,
    table: Path,
    settings: Settings | None = None,
    *,
    attributes: Sequence[str] = (),
    measure: str = "p_happy",
    above: float = 0.5,
) -> Feedback:
    """Compare stimuli, follow the share of respondents over a threshold, and break answers down.

    Args:
        run: the run.
        table: its participants table.
        settings: what is asked of the comparison.
        attributes: columns of the table that say something of each person.
        measure: one of p_angry ... p_neutral, valence, expressiveness; without a baseline, whatever the settings say.
        above: threshold; p_happy above 0.5 is an apparent smile that the model takes for likelier than all else.

    Raises:
        RefusedError: the table is wrong or nothing of it can be analysed.
    """
    if measure not in VALUES:
        raise RefusedError(f"the share's measure is {measure!r}; allowed is one of {', '.join(VALUES)}")
    asked = settings or Settings()
    participants = read_participants(table, run)
    samples = read_samples(run, participants.trials, table)
    cells = make_cells(participants.trials, samples, asked)
    study = compare_trials(participants, cells, asked)
    plain = (
        cells
        if asked.baseline is None
        else make_cells(
            [one for one in participants.trials if one.stimulus != asked.baseline],
            samples,
            replace(asked, baseline=None),
        )
    )
    stimuli = range(len(plain.stimuli)) if plain.bin_ms is None else ()  # means of bins have no course
    found = [shares(plain, s, measure, above, asked.min_group) for s in stimuli]
    shown = tuple(one for one in found if one is not None)
    said = read_attributes(table, participants.trials, attributes)
    downs = tuple(breakdown(name, said[name], cells.people, participants.trials, samples, asked) for name in attributes)
    rows: dict[str, list[dict[str, Any]]] = {
        "shares": [row for one in shown for row in _rows(one)],
        "means_by_attribute": [row for one in downs for row in one.means],
        "differences_by_attribute": [row for one in downs for row in one.differences],
    }
    tables = {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in SCHEMAS.items()}
    return Feedback(study, measure, above, shown, downs, _positions(study), tables)


def _rows(one: Shares) -> list[dict[str, Any]]:
    return [
        {"stimulus": one.stimulus, "at_ms": int(at), "people": int(one.people[i]), "share": float(one.share[i]),
         "low": float(one.low[i]), "high": float(one.high[i])}
        for i, at in enumerate(one.at_ms) if np.isfinite(one.share[i])
    ]  # fmt: skip


def _positions(study: Study) -> dict[str, float]:
    orders: dict[str, list[int]] = {}
    for trial in study.participants.trials:
        if trial.excluded is None and trial.row not in study.cells.left_out and trial.order is not None:
            orders.setdefault(trial.stimulus, []).append(trial.order)
    return {name: float(np.mean(found)) for name, found in orders.items()}
