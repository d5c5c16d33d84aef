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
    from fer_batch.rewrite import Rewrite
    from fer_batch.store import Run
    from jobs.retention import Due, Kind


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
    path: Annotated[Path, typer.Argument(metavar="RUN", help="The --out of a run.")],
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

    run = Run(path)
    table = _asked(participant, groups, job, also or [])
    if dry_run and (path / READY).exists():
        raise RefusedError(f"a purge of {path} broke off half-way; without --dry-run it is completed")
    with held(run) as outcome:
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
def held(run: Run) -> Iterator[Outcome]:
    """Inside, nobody else works on the run. It is whole, its ledger is joined, and no purge of it is half done.

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
            _carry_out(run, then, outcome)
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
    from jobs.person import prepare_person, still_named

    pages = _pages(run)
    rewrite = Rewrite(run.path)
    try:
        plan = prepare_person(run, participant.strip(), table, also, rewrite)
        exports = _exports([run.path, *also], rewrite)
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
        _carry_out(run, then, outcome)
        left = still_named(run, participant.strip())
        outcome.notes += [f"still named in {place}" for place in left]
    outcome.notes.append(
        "yours to remove: the recordings themselves, pages and exports that were copied elsewhere, coders' folders, "
        "backups. A recording that is changed counts as a new one"
    )


def _retention(run: Run, dry_run: bool, outcome: Outcome) -> None:
    from fer_batch.rewrite import Rewrite
    from jobs.retention import due, next_date, retention_of

    retention = retention_of(run)
    found = due(run, retention)
    if found.is_empty:
        when = next_date(run, retention)
        outcome.notes.append(f"nothing is due{'' if when is None else f' before {when:%Y-%m-%d %H:%M} UTC'}")
        return
    rewrite = Rewrite(run.path)
    try:
        exports = _prepare_retention(run, found, retention, rewrite, outcome)
        if dry_run:
            rewrite.abandon()
    except BaseException:
        rewrite.abandon()
        raise
    if not dry_run:
        then = {"participant": None, "exports": exports, "table": None, "pages": None, "job": None}
        rewrite.decide(then)
        _carry_out(run, then, outcome)


def _prepare_retention(
    run: Run, found: Due, retention: dict[Kind, int], rewrite: Rewrite, outcome: Outcome
) -> list[dict[str, Any]]:
    """Prepare what is due; returns the exports that are made anew."""
    from dataclasses import replace

    from fer_batch.purged import FILE, Purged, now
    from fer_batch.removal import Removal, prepare, size_of

    purged = Purged.of(run.path)
    rewrite.staged(run.path / FILE)
    at, records = now(), list(purged.records)
    today = at[:10]
    files: dict[Kind, tuple[Path, ...]] = dict(found.files)
    exports: list[dict[str, Any]] = []
    rows: dict[str, int] = {}
    freed: dict[Kind, int] = {}
    if found.closes:
        files["aggregates"] = tuple(_everything(run))
        for folder in _export_folders([run.path]):
            files["aggregates"] += tuple(_exported(folder))
        rewrite.json(run.run_json, {**run.info, "inputs": [], "mended": [], "counts": {}, "state": "removed"})
    elif found.parts:
        why = f"its rows were removed on {today}, as the job's retention asks for"
        removed = prepare(run, Removal(parts=found.parts, why=why), rewrite)
        rows, freed[found.kind] = removed.rows, removed.n_bytes
        exports = _exports([run.path], rewrite)
    for kind, gone in files.items():
        size = freed.get(kind, 0) + sum(map(size_of, gone))
        counted = rows if kind == found.kind else {}
        if gone or any(counted.values()):
            for file in gone:
                rewrite.remove(file)
            outcome.files += [os.path.relpath(file, run.path) for file in gone]
            outcome.n_bytes += size
            records.append({"when": at, "why": "retention", "kind": kind, "days": retention[kind], "rows": counted,
                            "files": len(gone), "bytes": size})  # fmt: skip
    outcome.rows |= rows
    closed = today if found.closes else purged.closed
    rewrite.json(run.path / FILE, replace(purged, records=tuple(records), closed=closed).to_json())
    return exports


def _everything(run: Run) -> Iterator[Path]:
    """All that a run has written but for its pages, ``run.json`` and ``purged.json``."""
    from fer_batch.mend import DAMAGED
    from fer_batch.schema import FOLDERS
    from jobs.retention import VALIDATION

    work = (run.units_dir, run.ledger_parts, run.work_dir / "stalled")
    names = ("videos.parquet", "run.log", DAMAGED, VALIDATION, *FOLDERS)
    for path in (*(run.path / name for name in names), *work):
        if path.exists():
            yield path


def _pages(run: Run) -> dict[str, Any] | None:
    """Which pages a run has, so that they are built again alike; None where it has none."""
    folder = run.report_dir
    if not (folder / "index.html").is_file():
        return None
    full = any((folder / "videos").glob("*.html"))
    return {"pages": "full" if full else "index", "single_file": not (folder / "assets").is_dir()}


def _export_folders(within: list[Path]) -> list[Path]:
    from reports.export.earlier import LIST

    found = {file.parent for folder in within for file in folder.rglob(LIST) if "work" not in file.parts[-3:-1]}
    return sorted(found)


def _exported(folder: Path) -> list[Path]:
    from reports.export.earlier import LIST, listed

    return [folder / LIST, *(folder / name for name in listed(folder))]


def _exports(within: list[Path], rewrite: Rewrite) -> list[dict[str, Any]]:
    """The exports in some folders, whose files go; what has to be known to make them anew."""
    from reports.export.earlier import listed

    found = []
    for folder in _export_folders(within):
        names = listed(folder)
        suffixes = {Path(name).suffix for name in names}
        formats = [kind for kind, suffix in (("csv", ".csv"), ("tsv", ".tsv"), ("sav", ".sav"), ("elan", ".eaf"))
                   if suffix in suffixes]  # fmt: skip
        for file in _exported(folder):
            rewrite.remove(file)
        with_trials = any(name.startswith("trials.") for name in names)
        found.append({"folder": os.path.abspath(folder), "formats": formats, "with_trials": with_trials})
    return found


def _carry_out(run: Run, then: dict[str, Any], outcome: Outcome) -> None:
    """What was decided: changed files, then exports and pages from the tables that are left."""
    from fer_batch.rewrite import apply, complete

    apply(run.path)
    for made in then["exports"]:
        with _tried(outcome, f"the export in {made['folder']} was removed and is not made again"):
            _export_again(run, made, then["table"])
    with _tried(outcome, "the pages were removed and are not all built again"):
        _pages_again(run, then)
    complete(run.path)


@contextmanager
def _tried(outcome: Outcome, what: str) -> Iterator[None]:
    """Inside, files are made in the place of others, which are gone already: that they cannot be stops nothing."""
    try:
        yield
    except FerBatchError as error:
        outcome.notes.append(f"{what}: {error}")


def _export_again(run: Run, made: dict[str, Any], table: str | None) -> None:
    from reports.export import export

    groups = Path(table) if made["with_trials"] and table is not None else None
    export(run, Path(made["folder"]), made["formats"], groups=groups, overwrite=True)


def _pages_again(run: Run, then: dict[str, Any]) -> None:
    if then["job"] is not None:
        from dataclasses import replace

        from jobs.job_file import Job
        from jobs.pages import build_pages

        build_pages(run, replace(Job(Path(then["job"])).settings(), out=run.path))
    elif then["pages"] is not None:
        from reports import build

        build(run, **then["pages"])


def _print(outcome: Outcome, dry_run: bool) -> None:
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    would = "would go" if dry_run else "removed"
    for name, count in outcome.rows.items():
        if count:
            say(f"{would}: {count:,} rows of {name}")
    for name in outcome.files:
        say(f"{would}: {name}")
    if outcome.rows or outcome.files:
        say(f"{outcome.n_bytes / 1e6:.1f} MB")
    for note in outcome.notes:
        say(note)
