"""Kind ``sessions``: participants who come again, a page each, and how they change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.kinds import asked
from reports.sessions import build_sessions, follow

if TYPE_CHECKING:
    from fer_batch.store import Run
    from jobs.job_file import Job


def build(run: Run, job: Job) -> Path:
    """Build its pages; returns the first."""
    found = follow(run, asked.table(job), asked.settings(job))
    return build_sessions(run, found, single_file=job.tables.report.single_file)
