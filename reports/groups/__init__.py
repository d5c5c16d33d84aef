"""People, conditions and stimuli: a participants table says who is who, and what they show is compared."""

from __future__ import annotations

from reports.groups.pages import build_groups
from reports.groups.participants import Participants, read_participants
from reports.groups.person import Person
from reports.groups.prefill import prefilled, write_contact_sheet, write_prefilled
from reports.groups.settings import Settings
from reports.groups.study import SCHEMAS, Study, compare
from reports.groups.trials import Trial

__all__ = [
    "SCHEMAS",
    "Participants",
    "Person",
    "Settings",
    "Study",
    "Trial",
    "build_groups",
    "compare",
    "prefilled",
    "read_participants",
    "write_contact_sheet",
    "write_prefilled",
]
