"""What of a run has stayed for as long as its job's ``[retention]`` allows, by the dates that the run itself keeps.

Rows count from the start of the run that wrote them, which every table's metadata tell; so of a run that goes on for
months, as ``fer-batch watch`` does, each recording's rows go in their turn. What bears no date counts from the run's
creation: rather too early than too late.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.commit import Counts
from fer_batch.errors import RefusedError
from fer_batch.ledger import pieces
from fer_batch.mend import DAMAGED
from fer_batch.page import counted
from fer_batch.purged import FILE, PURGED, STARTED, Purged, now
from fer_batch.removal import Removal, prepare, size_of
from fer_batch.rewrite import Rewrite
from fer_batch.schema import FOLDERS, TABLES, VIDEOS
from fer_batch.store import Run
from jobs.anew import export_folders, exported, pages_of, pages_with_samples, removed_exports
from reports.validation.key import FOLDER

Kind = Literal["faces", "aggregates", "pages"]


@dataclass(frozen=True)
class Due:
    """What has to go.

    Attributes:
        parts: part files of the run's tables.
        kind: what `parts` are: ``faces``, or ``aggregates`` at privacy level ``aggregate``.
        files: other files and folders, by kind.
        closes: the whole run goes, its ledger too, but for pages that may stay.
    """

    parts: frozenset[str]
    kind: Kind
    files: dict[Kind, tuple[Path, ...]]
    closes: bool

    @property
    def is_empty(self) -> bool:
        """Nothing has to go."""
        return not self.parts and not any(self.files.values()) and not self.closes


def retention_of(run: Run) -> dict[Kind, int]:
    """How many days each kind may stay.

    Raises:
        RefusedError: nothing is declared.
    """
    declared = (run.info.get("job") or {}).get("retention") or {}
    if not declared:
        raise RefusedError(
            f"{run.run_json} says nothing of retention: declare it in the table [retention] of a job file, such as "
            'faces = "90 days", and run that job once more; or remove one person with --participant'
        )
    return dict(declared)


@dataclass(frozen=True)
class Gone:
    """Of which videos rows went as their time was up; the ledger still counts them.

    Attributes:
        videos: how many files.
        faces: how many there were in them.
        everything: no rows of any video are left.
    """

    videos: int
    faces: int
    everything: bool


def rows_removed(run: Run) -> Gone | None:
    """What went by earlier purges; None where nothing did."""
    if not any(record["why"] == "retention" for record in Purged.of(run.path).records):
        return None
    counts, seen, has_rows = Counts(), set[int](), False
    for table in pieces(run, VIDEOS.names):
        is_removed = pc.fill_null(pc.equal(table["error_code"], PURGED), False)
        counts += Counts.of(table.filter(is_removed), seen)
        has_rows = has_rows or table["part"].null_count < len(table)
    return Gone(counts.videos, counts.faces, not has_rows) if counts.videos else None


def due(run: Run, retention: dict[Kind, int], at: datetime | None = None) -> Due:
    """What has to go by now. The ledger is joined.

    Args:
        run: the run.
        retention: from :func:`retention_of`.
        at: the time; None for this moment.
    """
    at = at or datetime.now(UTC)
    created = _time(run.info.get("created")) or datetime.min.replace(tzinfo=UTC)

    def over(kind: Kind, since: datetime) -> bool:
        return kind in retention and since + timedelta(days=retention[kind]) <= at

    kind: Kind = "aggregates" if run.level == "aggregate" else "faces"
    dates = {part: since or created for part, since in _dates(run)}
    parts = frozenset(part for part, since in dates.items() if over(kind, since))
    closes = over("aggregates", _time(run.info.get("completed")) or created)
    files: dict[Kind, tuple[Path, ...]] = {"faces": (), "aggregates": (), "pages": ()}
    files[kind] = (*_work(run, kind, retention, at), *_set_aside(run, lambda since: over(kind, since), created))
    if kind == "faces" and parts:
        files["faces"] += tuple(_keys(run, parts))
    earlier = any(record["kind"] == "pages" for record in Purged.of(run.path).records)
    shown_since = min(dates.values(), default=created) if earlier else created
    if over("pages", shown_since) and _has_files(run.report_dir):
        files["pages"] = (run.report_dir,)
    return Due(parts, kind, files, closes and run.ledger.is_file())


@dataclass(frozen=True)
class Prepared:
    """What is prepared.

    Attributes:
        rows: rows that go, by table.
        files: other files and folders that go.
        also: what else goes as it shows rows that go, in words.
        n_bytes: about how many bytes that frees.
        exports: exports that are made anew.
        pages: pages that are built anew, as :func:`jobs.anew.pages_of` has them; None where none are.
    """

    rows: dict[str, int]
    files: tuple[Path, ...]
    also: list[str]
    n_bytes: int
    exports: list[dict[str, Any]]
    pages: dict[str, Any] | None


def prepare_due(run: Run, found: Due, retention: dict[Kind, int], rewrite: Rewrite) -> Prepared:
    """Prepare the removal of what is due. The caller holds the run's lease, and decides.

    Raises:
        RefusedError: a table is damaged.
        StoppedError: the disk is full.
    """
    purged = Purged.of(run.path)
    rewrite.staged(run.path / FILE)
    at, records = now(), list(purged.records)
    today = at[:10]
    files: dict[Kind, tuple[Path, ...]] = dict(found.files)
    exports: list[dict[str, Any]] = []
    listed: list[Path] = []
    n_bytes = 0
    rows: dict[str, int] = {}
    freed: dict[Kind, int] = {}
    shown, made = _showing(run, found), list[tuple[Path, list[Path]]]()
    pages = pages_of(run) if shown and not found.closes else None
    for file in shown:
        rewrite.remove(file)
    if found.closes:
        files["aggregates"] = tuple(_everything(run))
        for folder in export_folders([run.path]):
            files["aggregates"] += tuple(exported(folder))
        rewrite.json(run.run_json, {**run.info, "inputs": [], "mended": [], "counts": {}, "state": "removed"})
    elif found.parts:
        why = f"its rows were removed on {today}, as the job's retention asks for"
        removed = prepare(run, Removal(parts=found.parts, why=why), rewrite)
        rows, freed[found.kind] = removed.rows, removed.n_bytes
        made = [(folder, exported(folder)) for folder in export_folders([run.path])]
        exports = removed_exports([run.path], rewrite)
    with_rows: Kind = "aggregates" if found.closes else found.kind
    of_exports = [file for _, there in made for file in there if file.exists()]
    for kind, gone in files.items():
        taken_back = [*shown, *of_exports] if kind == with_rows else []
        size = freed.get(kind, 0) + sum(map(size_of, (*gone, *taken_back)))
        of_rows = rows if kind == found.kind else {}
        if gone or taken_back or any(of_rows.values()):
            for file in gone:
                rewrite.remove(file)
            listed += gone
            n_bytes += size
            about = {"when": at, "why": "retention", "kind": kind, "days": retention[kind], "rows": of_rows}
            told = {"pages": len(shown), "exports": len(of_exports)} if taken_back else {}
            records.append({**about, "files": len(gone) + len(taken_back), **told, "bytes": size})
    closed = today if found.closes else purged.closed
    rewrite.json(run.path / FILE, replace(purged, records=tuple(records), closed=closed).to_json())
    also = []
    if shown:
        fate = "" if pages is None else ", built again from what is left"
        also.append(f"{counted(len(shown), 'page')} of such rows in {run.report_dir.name}/{fate}")
    for folder, there in made:
        name = os.path.relpath(folder, run.path)
        also.append(f"{counted(len(there), 'file')} of the export in {name}/, made again from what is left")
    return Prepared(rows, tuple(listed), also, n_bytes, exports, pages)


def _showing(run: Run, found: Due) -> list[Path]:
    """Pages that show rows which go: they must not outlive them. Those of rows that stay are built anew."""
    if found.files["pages"]:
        return []  # all pages go
    has_rows = bool(found.parts) or (found.closes and any(True for _ in _dates(run)))
    return pages_with_samples(run) if has_rows else []


def _everything(run: Run) -> Iterator[Path]:
    """All that a run has written but for its pages, ``run.json`` and ``purged.json``."""
    work = (run.units_dir, run.ledger_parts, run.work_dir / "stalled")
    names = ("videos.parquet", "run.log", DAMAGED, FOLDER, *FOLDERS)
    for path in (*(run.path / name for name in names), *work):
        if path.exists():
            yield path


def next_date(run: Run, retention: dict[Kind, int]) -> datetime | None:
    """When something will have to go."""
    created = _time(run.info.get("created"))
    dates = [since or created for _, since in _dates(run)]
    kind: Kind = "aggregates" if run.level == "aggregate" else "faces"
    times = [since + timedelta(days=retention[kind]) for since in dates if since is not None and kind in retention]
    completed = _time(run.info.get("completed")) or created
    if "aggregates" in retention and completed is not None and run.ledger.is_file():
        times.append(completed + timedelta(days=retention["aggregates"]))
    if "pages" in retention and created is not None and _has_files(run.report_dir):
        times.append(created + timedelta(days=retention["pages"]))
    return min(times, default=None)


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _dates(run: Run) -> Iterator[tuple[str, datetime | None]]:
    """Each part with the time that its tables tell, the earliest; None where they tell none."""
    found: dict[str, datetime | None] = {}
    for folder in TABLES[run.level]:
        for file in sorted((run.path / folder).glob("part-*.parquet")):
            since = _written(file)
            before = found.get(file.name, since)
            found[file.name] = None if since is None or before is None else min(since, before)
    yield from found.items()


def _written(file: Path) -> datetime | None:
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return _time(metadata.get(STARTED.encode(), b"").decode())


def _work(run: Run, kind: Kind, retention: dict[Kind, int], at: datetime) -> Iterator[Path]:
    """Segments of videos that an interrupted run has not completed: their files are where they were written."""
    if kind not in retention or not run.units_dir.is_dir():
        return
    for folder in sorted(run.units_dir.iterdir()):
        oldest = min((file.stat().st_mtime for file in folder.iterdir()), default=None) if folder.is_dir() else None
        if oldest is not None and datetime.fromtimestamp(oldest, UTC) + timedelta(days=retention[kind]) <= at:
            yield folder


def _set_aside(run: Run, over: Callable[[datetime], bool], created: datetime) -> Iterator[Path]:
    """Damaged parts: what is in them may still be read."""
    for folder in TABLES[run.level]:
        for file in sorted((run.path / DAMAGED / folder).glob("*")):
            if over(_written(file) or created):
                yield file


def _keys(run: Run, parts: frozenset[str]) -> Iterator[Path]:
    """Samples drawn for validation that hold faces of these parts, with what was made of them."""
    ids: set[str] = set()
    for table in pieces(run, ["video_id", "part"]):
        ids.update(table.filter(pc.is_in(table["part"], pa.array(sorted(parts))))["video_id"].to_pylist())
    for key in sorted((run.path / FOLDER).glob("*.parquet")):
        try:
            videos = set(pq.read_table(key, columns=["video_id"])["video_id"].to_pylist())
        except (OSError, pa.ArrowException):
            videos = ids
        if videos & ids:
            yield from sorted(key.parent.glob(f"{key.stem}*"))


def _has_files(folder: Path) -> bool:
    return any(not path.is_dir() for path in folder.rglob("*"))
