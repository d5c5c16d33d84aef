"""The flow of people and trials: recorded, excluded and why, analysed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.groups.trials import Trial


def flow(trials: Sequence[Trial], left_out: Mapping[int, str], baseline: str | None) -> list[dict[str, Any]]:
    """Rows of the flow table, over all trials (`condition` is None) and a condition each.

    A row a step: ``recorded``, then ``excluded`` by reason, most trials first (those of the table, then those that
    could not be analysed), then ``analysed``. `trials` counts rows of the participants table and adds up; `people` are
    those who have such a trial, so a person with some trials excluded stands in several rows. Rows of a baseline are
    not trials.

    Args:
        trials: rows of the participants table.
        left_out: see :class:`reports.groups.cells.Cells`.
        baseline: stimulus of the baseline's rows.
    """
    watched = [trial for trial in trials if trial.stimulus != baseline]
    names = [None, *dict.fromkeys(trial.condition for trial in watched if trial.condition is not None)]
    rows = []
    for name in names:
        mine = [trial for trial in watched if name is None or trial.condition == name]
        by_reason: dict[tuple[int, str], list[Trial]] = {}
        analysed = []
        for trial in mine:
            if trial.excluded is not None:
                by_reason.setdefault((0, trial.excluded), []).append(trial)
            elif trial.row in left_out:
                by_reason.setdefault((1, left_out[trial.row]), []).append(trial)
            else:
                analysed.append(trial)
        reasons = sorted(by_reason.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
        steps: list[tuple[str, str | None, str | None, list[Trial]]] = [("recorded", None, None, mine)]
        steps += [("excluded", reason, ("table", "run")[kind], found) for (kind, reason), found in reasons]
        steps.append(("analysed", None, None, analysed))
        rows += [
            {"condition": name, "step": step, "reason": reason, "by": by, "trials": len(found),
             "people": len({trial.participant for trial in found})}
            for step, reason, by, found in steps
        ]  # fmt: skip
    return rows
