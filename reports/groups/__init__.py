"""People, conditions and stimuli: a participants table says who is who, and what they show is compared."""

from __future__ import annotations

from reports.groups.person import Person
from reports.groups.prefill import prefilled, write_contact_sheet, write_prefilled
from reports.groups.trials import Participants, Trial, read_participants

__all__ = [
    "Participants",
    "Person",
    "Trial",
    "prefilled",
    "read_participants",
    "write_contact_sheet",
    "write_prefilled",
]
