"""What each participant showed during each stimulus: a row a trial, and the wide table with a row a participant.

Who, what and when comes from the participants table, and what belongs to a trial from
:func:`reports.groups.samples.read_samples`, so that exports and pages of comparisons rest on the same samples.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fer_batch.config import PrivacyLevel
from fer_batch.page import counted
from fer_batch.schema import PROBABILITIES
from fer_batch.store import Run
from reports.export.columns import MEAN_COLUMNS, Column, share_column
from reports.groups import Participants
from reports.groups.analysed import why_left_out
from reports.groups.samples import VALUES, Samples, read_samples
from reports.measures.columns import weighted

_MEANS: Final = tuple(
    share_column(
        c.name,
        f"Mean of {what} over the time in which the participant's face is seen, weighted by time",
        low=-1 if c.name == "valence" else 0,
        label=c.label,
    )
    for c, what in zip(
        MEAN_COLUMNS,
        [
            *(f"the calibrated probability of the apparent expression '{p.removeprefix('p_')}'" for p in PROBABILITIES),
            "p_happy - max(p_angry, p_disgust, p_fear, p_sad)",
            "1 - p_neutral",
        ],
        strict=True,
    )
)

_SEEN: Final = (
    Column(
        "n_samples", pa.int64(), "Sampled frames in which the participant's face is seen", label="number of samples"
    ),
    Column("sampled_ms", pa.int64(), "Time that was sampled", "ms"),
    Column("seen_ms", pa.int64(), "Sampled time in which the participant's face is seen", "ms", label="time seen"),
    share_column(
        "coverage",
        "seen_ms / sampled_ms: the part of the sampled time in which the face is seen, 0 where it never is",
    ),
)

TRIAL_COLUMNS: Final = (
    Column("participant_id", pa.string(), "Who, as in the participants table", label="participant"),
    Column("session", pa.string(), "Which visit"),
    Column("stimulus", pa.string(), "What was watched"),
    Column("condition", pa.string(), "Condition of the participant or of the trial"),
    Column("order", pa.int64(), "Position of the stimulus in the session, from 1", label="order in the session"),
    Column("path", pa.string(), r"The video; bytes that are not UTF-8 are written as \xNN", label="video file"),
    Column("video_id", pa.string(), "Fingerprint of the video's content", label="video identifier"),
    Column("person", pa.string(), "Which of the video's faces is the participant's"),
    Column("start_ms", pa.int64(), "Start of the trial in the video", "ms"),
    Column("end_ms", pa.int64(), "End of the trial in the video", "ms"),
    Column(
        "excluded",
        pa.string(),
        "Why the trial is left out: the table's reason, or what the run found, such as that the face is never seen; "
        "missing for a trial that is analysed",
    ),
    *_SEEN,
    *_MEANS,
)
"""A row a trial: a row of the participants table, in its order."""


def trials(run: Run, participants: Participants) -> list[dict[str, Any]]:
    """The rows of :data:`TRIAL_COLUMNS`; one video's faces are in memory at once.

    Raises:
        RefusedError: a row's person does not fit the video, two participants have the same face, or a file of the run
            is damaged.
    """
    samples = read_samples(run, participants.trials, participants.path)
    rows = []
    for trial in participants.trials:
        mine = samples.get(trial.row)
        rows.append(
            {
                "participant_id": trial.participant, "session": trial.session, "stimulus": trial.stimulus,
                "condition": trial.condition, "order": trial.order, "path": trial.video, "video_id": trial.video_id,
                "person": str(trial.person), "start_ms": trial.start_ms, "end_ms": trial.end_ms,
                "excluded": why_left_out(trial, mine), **({} if mine is None else _measures(mine)),
            }
        )  # fmt: skip
    return rows


def _measures(samples: Samples) -> dict[str, Any]:
    seen, sampled = samples.seen_ms, samples.sampled_ms
    found = {"n_samples": samples.n_seen, "sampled_ms": sampled, "seen_ms": seen,
             "coverage": seen / sampled if sampled else None}  # fmt: skip
    if not samples.seen.any():
        return found
    weights = (samples.end_ms - samples.start_ms)[samples.seen].astype(np.float64)
    return found | dict(zip(VALUES, weighted(samples.values[samples.seen], weights).tolist(), strict=True))


@dataclass(frozen=True)
class Cell:
    """A group of columns in the wide table.

    Attributes:
        stimulus: what was watched.
        condition: where conditions differ within participants, else None.
        session: where there are several sessions, else None.
    """

    stimulus: str
    condition: str | None
    session: str | None

    def __str__(self) -> str:
        parts = (self.stimulus, self.condition, None if self.session is None else f"session {self.session}")
        return ", ".join(part for part in parts if part is not None)


def wide(rows: Sequence[dict[str, Any]]) -> tuple[tuple[Column, ...], list[dict[str, Any]]]:
    """A row a participant, and a group of columns a stimulus, condition and session, where these vary within people.

    Trials of one participant in one such group, repeats, are taken together, weighted by time. A participant all of
    whose trials are excluded keeps a row. Coverage is over all trials that the table does not exclude.

    Args:
        rows: of :func:`trials`.

    Returns:
        The columns, and the rows in order of participants.
    """
    people: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        people[row["participant_id"]].append(row)
    within = any(len({row["condition"] for row in mine}) > 1 for mine in people.values())
    visits = len({row["session"] for row in rows}) > 1

    def cell_of(row: dict[str, Any]) -> Cell:
        return Cell(row["stimulus"], row["condition"] if within else None, row["session"] if visits else None)

    cells = sorted({cell_of(row) for row in rows}, key=lambda c: (c.stimulus, c.condition or "", c.session or ""))
    names = _slugs(cells)
    columns = [TRIAL_COLUMNS[0]]
    if not within and any(row["condition"] is not None for row in rows):
        columns.append(Column("condition", pa.string(), "The participant's condition"))
    columns += [
        Column("n_trials", pa.int64(), "Trials of the participant that are analysed", label="number of trials"),
        Column("n_excluded", pa.int64(), "Trials of the participant that are left out", label="excluded trials"),
    ]
    for cell in cells:
        columns += _columns_of(cell, names[cell])
    made = []
    for participant in sorted(people):
        mine = people[participant]
        analysed = [row for row in mine if row["excluded"] is None]
        row = {"participant_id": participant, "condition": mine[0]["condition"], "n_trials": len(analysed),
               "n_excluded": len(mine) - len(analysed)}  # fmt: skip
        for cell in cells:
            pooled = _pooled([one for one in mine if cell_of(one) == cell and "n_samples" in one])
            row |= {f"{measure}_{names[cell]}": value for measure, value in pooled.items()}
        made.append(row)
    return tuple(columns), made


def _columns_of(cell: Cell, name: str) -> Iterator[Column]:
    for c in (*_MEANS, _SEEN[3], _SEEN[0]):
        text = f"{c.description}. Of: {cell}"
        yield Column(f"{c.name}_{name}", c.kind, text, c.unit, c.decimals, label=f"{c.long_name}: {cell}")


def _pooled(trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The measures of several trials as if they were one; a trial without the face counts in the coverage."""
    if not trials:
        return {}
    sampled, seen = (sum(row[name] for row in trials) for name in ("sampled_ms", "seen_ms"))
    with_face = [row for row in trials if row["n_samples"]]
    found: dict[str, Any] = {
        "coverage": seen / sampled if sampled else None,
        "n_samples": sum(row["n_samples"] for row in trials),
    }
    if with_face:
        weights = np.array([row["seen_ms"] for row in with_face], dtype=np.float64)
        for name in VALUES:
            found[name] = float(weighted(np.array([row[name] for row in with_face]), weights))
    return found


def _slugs(cells: Sequence[Cell]) -> dict[Cell, str]:
    """For each group a short name of letters, digits and underscores, unique whatever the case."""
    taken: set[str] = set()
    found = {}
    for cell in cells:
        parts = (cell.stimulus, cell.condition, cell.session)
        plain = "_".join(re.sub(r"\W+", "_", part).strip("_") or "x" for part in parts if part is not None)
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        found[cell] = name
    return found


def in_words(rows: Sequence[dict[str, Any]], level: PrivacyLevel) -> str:
    """What the participants table held and what of it is analysed, for the methods paragraph of a run at that level."""
    people = {row["participant_id"] for row in rows}
    kept = [row for row in rows if row["excluded"] is None]
    reasons = Counter(" ".join(row["excluded"].split()) for row in rows if row["excluded"] is not None)
    text = f"The participants table names {counted(len(people), 'participant')} in {counted(len(rows), 'trial')}"
    if reasons:
        listed = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
        text += f", of which {len(rows) - len(kept)} {'is' if len(rows) - len(kept) == 1 else 'are'} left out: {listed}"
    left = {row["participant_id"] for row in kept}
    text += f". Analysed are {counted(len(left), 'participant')} in {counted(len(kept), 'trial')}"
    if level == "faces":
        text += ". A trial's samples are those timed from its start to before its end"
    return (
        f"{text}. In the wide table repeats of a "
        "stimulus are taken together, weighted by time; coverage is the part of the sampled time in which the "
        "participant's face is seen, trials in which it never is included."
    )
