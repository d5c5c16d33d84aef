"""``fer-batch purge``: remove from a run what its retention no longer allows, or one person."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fer_batch.errors import FerBatchError, RefusedError

if TYPE_CHECKING:
    from fer_batch.store import Run


@dataclass
class Outcome:
    """What was removed, or would be.

    Attributes:
        rows: rows by table.
        files: what else goes, as text.
        n_bytes: about how many bytes that frees.
        notes: what the user should know or do.
        completed: who was removed by an earlier purge that had broken off; None if nobody.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    n_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    completed: str | None = None


def purge(
    place: Annotated[str, typer.Argument(metavar="RUN", help="The --out of a run.")],
    participant: Annotated[
        str | None, typer.Option(metavar="ID", help="Remove this person, as the participants table names them.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="With --participant: the participants table; their rows go from it too."),
    ] = None,
    job: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead of --groups: the job file, whose pages are built again after."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="With --participant: a folder elsewhere that export or validate wrote."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Remove what has been in RUN for longer than the job's retention allows, or one person with all that is theirs.

    All of it goes or nothing: after an interruption the same command goes on. The same run's command does not bring
    back what was removed. Recordings are yours to delete.
    """
    from fer_batch.purged import READY
    from fer_batch.store import Run

    if "://" in place:
        raise RefusedError(f"{place}: purge works on folders of this machine; copy the run here, purge it, and put it "
                           "in the place of the one there, with nothing of that left")  # fmt: skip
    path = Path(place)
    run = Run(path)
    table = _asked(participant, groups, job, also or [])
    if dry_run and (path / READY).exists():
        raise RefusedError(f"a purge of {path} broke off half-way; without --dry-run it is completed")
    named = [*(also or []), *([] if table is None else [table])]
    with held(run, named) as outcome:
        if participant is not None and outcome.completed == participant.strip():
            pass  # it is this very purge that had broken off
        elif participant is not None and table is not None:
            _person(run, participant, table, job, also or [], dry_run, outcome)
        else:
            _retention(run, dry_run, outcome)
    if as_json:
        told = {"rows": outcome.rows, "files": outcome.files, "bytes": outcome.n_bytes, "notes": outcome.notes}
        print(json.dumps({"dry_run": dry_run, **told}))
    else:
        _print(outcome, dry_run)


@contextmanager
def held(run: Run, named: list[Path]) -> Iterator[Outcome]:
    """Inside, nobody else works on the run. It is whole, its ledger is joined, and no purge of it is half done.

    Args:
        run: the run.
        named: files and folders elsewhere that may be changed.

    Raises:
        RefusedError: a run, or another purge, is going on in it.
    """
    import pyarrow.parquet as pq

    from fer_batch.lease import Lease
    from fer_batch.mend import mend
    from fer_batch.rewrite import decided

    outcome = Outcome()
    with Lease(run.work_dir / "lease.json"):
        if (then := decided(run.path)) is not None:
            _carry_out(run, then, named, outcome)
            outcome.completed = then["participant"]
            outcome.notes.append("a purge that had broken off was completed first")
        files = [*([run.ledger] if run.ledger.is_file() else []), *run.ledger_part_files()]
        said = (pq.read_schema(files[0]).metadata or {}) if files else {}
        metadata = {key.decode(): value.decode() for key, value in said.items() if not key.startswith(b"ARROW")}
        outcome.notes += mend(run, metadata, was_joined=run.info.get("completed") is not None and bool(files))
        yield outcome


def _asked(participant: str | None, groups: Path | None, job: Path | None, also: list[Path]) -> Path | None:
    """The participants table, where a person is to go."""
    if participant is None:
        if groups or job or also:
            raise RefusedError("--groups, --job and --also go with --participant ID; retention stands in run.json")
        return None
    from jobs.person import check_folders

    check_folders(also)
    if (groups is None) == (job is None):
        raise RefusedError(
            "--participant needs to know who is who: give the participants table with --groups TABLE, or the job file "
            "that names it with --job FILE"
        )
    table = groups
    if job is not None:
        from jobs.job_file import Job

        table = Job(job).participants
        if table is None:
            raise RefusedError(f"{job} names no participants table; give one with --groups TABLE")
    if not participant.strip():
        raise RefusedError("--participant is empty; write the ID as in the table")
    return table


def _person(
    run: Run, participant: str, table: Path, job: Path | None, also: list[Path], dry_run: bool, outcome: Outcome
) -> None:
    from fer_batch.rewrite import Rewrite
    from jobs.anew import pages_of, removed_exports
    from jobs.person import prepare_person, still_named

    pages = pages_of(run)
    rewrite = Rewrite(run.path)
    try:
        plan = prepare_person(run, participant.strip(), table, also, rewrite)
        exports = removed_exports([run.path, *also], rewrite)
        if dry_run:
            rewrite.abandon()
    except BaseException:
        rewrite.abandon()
        raise
    outcome.rows |= {**plan.removed.rows, "participants table": plan.n_trials}
    outcome.files += [os.path.relpath(file, run.path) for file in plan.files]
    outcome.n_bytes = plan.n_bytes
    if not dry_run:
        then = {"participant": participant.strip(), "exports": exports, "table": os.path.abspath(table),
                "pages": pages, "job": None if job is None else os.path.abspath(job)}  # fmt: skip
        rewrite.decide(then)
        _carry_out(run, then, [*also, table], outcome)
        left = still_named(run, participant.strip(), table)
        outcome.notes += [f"still named in {place}" for place in left]
    if run.info.get("state") != "complete":
        outcome.notes.append("the run is not complete: purge again when it is, if it is to bring more of them")
    outcome.notes.append(
        "yours to remove: the recordings themselves, pages and exports that were copied elsewhere, coders' folders, "
        "backups. A recording that is changed counts as a new one"
    )


def _retention(run: Run, dry_run: bool, outcome: Outcome) -> None:
    from fer_batch.rewrite import Rewrite
    from jobs.retention import due, next_date, prepare_due, retention_of

    retention = retention_of(run)
    found = due(run, retention)
    if found.is_empty:
        when = next_date(run, retention)
        outcome.notes.append(f"nothing is due{'' if when is None else f' before {when:%Y-%m-%d %H:%M} UTC'}")
        return
    rewrite = Rewrite(run.path)
    try:
        made = prepare_due(run, found, retention, rewrite)
        if dry_run:
            rewrite.abandon()
    except BaseException:
        rewrite.abandon()
        raise
    outcome.rows |= made.rows
    outcome.files += [os.path.relpath(file, run.path) for file in made.files] + made.also
    outcome.n_bytes = made.n_bytes
    if not dry_run:
        then = {"participant": None, "exports": made.exports, "table": None, "pages": made.pages, "job": None}
        rewrite.decide(then)
        _carry_out(run, then, [], outcome)


def _carry_out(run: Run, then: dict[str, Any], named: list[Path], outcome: Outcome) -> None:
    """What was decided: changed files, then exports and pages from the tables that are left."""
    from fer_batch.rewrite import apply, check_named, complete
    from jobs.anew import export_again, pages_again

    check_named(run.path, [made["folder"] for made in then["exports"]], named)
    apply(run.path, named)
    for made in then["exports"]:
        with _tried(outcome, f"the export in {made['folder']} was removed and is not made again"):
            export_again(run, made, then["table"])
    with _tried(outcome, "the pages were removed and are not all built again"):
        pages_again(run, then)
    complete(run.path)


@contextmanager
def _tried(outcome: Outcome, what: str) -> Iterator[None]:
    """Inside, files are made in the place of others, which are gone already: that they cannot be stops nothing."""
    try:
        yield
    except FerBatchError as error:
        outcome.notes.append(f"{what}: {error}")


def _print(outcome: Outcome, dry_run: bool) -> None:
    from fer_batch.page import counted

    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    would = "would go" if dry_run else "removed"
    for name, count in outcome.rows.items():
        if count:
            say(f"{would}: {counted(count, 'row')} of {name}")
    for name in outcome.files:
        say(f"{would}: {name}")
    if outcome.rows or outcome.files:
        say(f"{outcome.n_bytes / 1e6:.1f} MB")
    for note in outcome.notes:
        say(note)
