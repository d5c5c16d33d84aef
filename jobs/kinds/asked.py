"""What a job file asks of its comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reports.groups import Settings
from reports.groups.estimate import LEAST_PEOPLE

if TYPE_CHECKING:
    from jobs.job_file import Job


def settings(job: Job) -> Settings:
    """The job's settings; about people at work or in education no group is so small that single people show."""
    tables = job.tables
    people, report = tables.participants, tables.report
    assert people is not None  # noqa: S101 - kinds that compare people have the table, see Job
    least = LEAST_PEOPLE if tables.purpose is not None and tables.purpose.is_groups_only else 0
    return Settings(
        baseline=people.baseline,
        positive_above=report.positive_above,
        min_coverage=people.min_coverage,
        min_group=max(people.min_group, least),
        resamples=report.resamples,
        seed=report.seed,
    )


def table(job: Job) -> Path:
    """The job's participants table."""
    path = job.participants
    assert path is not None  # noqa: S101 - as above
    return path
