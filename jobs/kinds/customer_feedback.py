"""Kind ``customer_feedback``: stimuli ranked, shares through time, breakdowns, and all comparisons beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.kinds import asked
from reports.feedback import build_feedback, survey
from reports.groups import build_groups

if TYPE_CHECKING:
    from fer_batch.store import Run
    from jobs.job_file import Job


def build(run: Run, job: Job) -> Path:
    """Build its pages; returns the first."""
    people, report = job.tables.participants, job.tables.report
    found = survey(
        run,
        asked.table(job),
        asked.settings(job),
        attributes=[] if people is None else people.attributes,
        measure=report.share_measure,
        above=report.share_above,
    )
    build_groups(run, found.study, stimuli=job.stimuli, single_file=report.single_file, has_index=True)
    return build_feedback(run, found, stimuli=job.stimuli, single_file=report.single_file)
