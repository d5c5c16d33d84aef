"""A trial: one person watching one stimulus. The participants table has a row for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reports.groups.person import Person

REQUIRED: Final = ("participant", "video", "person", "stimulus", "start_ms", "end_ms")
OPTIONAL: Final = ("session", "condition", "order", "exclude", "exclude_reason", "run")
COLUMNS: Final = ("participant", "session", "video", "person", "stimulus", "start_ms", "end_ms", "condition", "order",
                  "exclude", "exclude_reason", "run")  # fmt: skip
"""All columns, in the order in which they are written. Other columns may stand beside them and are not used."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A row of the participants table: one person watching one stimulus.

    Attributes:
        row: its number as a spreadsheet shows it.
        participant: who; the same code in all rows of the person.
        session: which visit; ``1`` where the table does not say.
        video: path as in the ledger.
        video_id: the content; None where the run could not read the file.
        person: which face is the participant's.
        stimulus: what was watched.
        start_ms, end_ms: when, in the video's time. Time zero of the stimulus is `start_ms`.
        condition: of the participant or of the trial; None where the table has none.
        order: position of the stimulus in the session, from 1; None where the table does not say.
        excluded: why the table leaves the row out; None for a row that counts.
        unread: why the run has nothing of the video; None where it has.
    """

    row: int
    participant: str
    session: str
    video: str
    video_id: str | None
    person: Person
    stimulus: str
    start_ms: int
    end_ms: int
    condition: str | None
    order: int | None
    excluded: str | None
    unread: str | None
