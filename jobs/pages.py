"""The pages that settings ask for: those of the videos, and the report of a job's kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_batch.errors import RefusedError, StoppedError

if TYPE_CHECKING:
    from fer_batch.store import Run
    from jobs.job_file import Job
    from jobs.settings import Settings


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        index: the list of videos; None where it was not asked for.
        people: first page of the report of the job's kind; None where there is none.
        note: why there is none though the job has a kind; None else.
    """

    index: Path | None
    people: Path | None = None
    note: str | None = None


def check_participants(job: Job) -> None:
    """Refuse a participants table that can be seen to be wrong before any video was looked at.

    Raises:
        RefusedError: it cannot be read, or columns are missing.
    """
    if job.participants is not None and job.participants.is_file():
        from reports.groups.spreadsheet import read_sheet
        from reports.groups.trials import COLUMNS, REQUIRED

        sheet = read_sheet(job.participants, COLUMNS)
        asked = () if job.tables.participants is None else job.tables.participants.attributes
        missing = [name for name in (*REQUIRED, *asked) if name.strip().lower() not in sheet.columns]
        if missing:
            raise RefusedError(f"{job.participants}: row 1: there is no column {', '.join(missing)} (found: "
                               f"{', '.join(sheet.columns) or 'none'})")  # fmt: skip


def build_pages(run: Run, settings: Settings) -> Built:
    """Build them.

    Raises:
        StoppedError: the report of the job's kind cannot be built; the tables and the other pages are there.
    """
    job = settings.job
    people, note, problem = None, None, None
    # "none" in the job file is about the videos' pages; as a flag it is about all pages.
    nothing = settings.pages == "none" and (job is None or job.tables.report.pages != "none")
    if (
        not nothing
        and job is not None
        and job.kind in {"sessions", "customer_feedback"}
        and job.participants is not None
    ):
        if is_filled_in(job.participants):
            try:
                people = of_kind(run, job)
            except RefusedError as error:
                problem = error
        else:
            note = (
                f"Fill in {job.participants} (fer-batch participants {run.path} --out TABLE starts one with what is "
                f"known), then: fer-batch report {run.path} --job {job.file}"
            )
    index = None
    if settings.pages != "none":
        from reports import build

        report = None if job is None else job.tables.report
        index = build(run, pages=settings.pages, single_file=report is not None and report.single_file,
                      thumbnails=report is not None and report.thumbnails)  # fmt: skip
    if job is not None and problem is not None:
        raise StoppedError(
            f"all videos are done and the tables are complete, but the pages about people are not built: {problem}\n"
            f"Mend that, then: fer-batch report {run.path} --job {job.file}"
        ) from problem
    return Built(index, people, note)


def is_filled_in(table: Path) -> bool:
    """Whether the participants table is there and has rows."""
    from reports.groups.spreadsheet import read_sheet
    from reports.groups.trials import COLUMNS

    return table.is_file() and bool(read_sheet(table, COLUMNS).rows)


def of_kind(run: Run, job: Job) -> Path:
    """Build the report of the job's kind and return its first page.

    Raises:
        RefusedError: the participants table is wrong, or nothing of it can be analysed.
    """
    if job.kind == "sessions":
        from jobs.kinds.sessions import build
    else:
        from jobs.kinds.customer_feedback import build
    return build(run, job)
