"""One person taken out of a run: tables, ledger, log, pages, exports, what was drawn for validation, and the table that
says who is who.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.commit import Counts
from fer_batch.errors import RefusedError
from fer_batch.mend import DAMAGED
from fer_batch.probe import fingerprint
from fer_batch.purged import FILE, INPUTS_NOT_KEPT, Purged, Withheld, now
from fer_batch.removal import Removal, Removed, prepare, size_of
from fer_batch.rewrite import Rewrite
from fer_batch.store import Run
from reports.validation.key import FOLDER

if TYPE_CHECKING:
    from reports.groups.belongs import Belongings

SHORT: Final = 3
"""A shorter name is looked for as a word of its own only: ``1`` would be found everywhere."""


@dataclass(frozen=True)
class Plan:
    """What is prepared.

    Attributes:
        removed: what goes from the tables.
        files: files and folders that go, or are made anew without the person.
        n_bytes: about how many bytes that frees.
        n_trials: rows of the participants table that go.
    """

    removed: Removed
    files: tuple[Path, ...]
    n_bytes: int
    n_trials: int


def prepare_person(run: Run, participant: str, table: Path, also: list[Path], rewrite: Rewrite) -> Plan:
    """Prepare all changes. The caller holds the run's lease, and decides.

    Args:
        run: mended, with its ledger joined.
        participant: as the table names them.
        table: the participants table.
        also: folders elsewhere that an export wrote, or that coders were given.
        rewrite: of the run.

    Raises:
        RefusedError: the table does not fit, or the privacy level does not tell people apart.
        StoppedError: the disk is full.
    """
    from reports.groups.belongs import belongings

    mine = belongings(run, table, participant)
    named = naming(participant)
    renamed = _renamed(run, mine, named)
    purged = Purged.of(run.path)
    rewrite.staged(run.path / FILE)  # it is the first to change: from then on nobody comes back
    removal = Removal(mine.videos, mine.paths, mine.faces, mine.tracks, renamed)
    removed = prepare(run, removal, rewrite)
    keys = list(_keys(run, mine))
    gone = (
        *(file for key, _ in keys for file in sorted(key.parent.glob(f"{key.stem}*"))),
        *_others(run),
        *(picture for folder in also for picture in _pictures(folder, keys)),
    )
    for file in gone:
        rewrite.remove(file)
    rewrite.bytes(table, _table(table, mine, set(renamed)))
    log = run.path / "run.log"
    if log.is_file():
        rewrite.bytes(log, _log(log.read_bytes(), removed.paths, named))
    rewrite.json(run.run_json, _info(run, rewrite))
    n_bytes = removed.n_bytes + sum(map(size_of, gone))
    record = {"when": now(), "why": "person", "kind": "faces" if run.level == "faces" else run.level,
              "rows": removed.rows, "files": len(gone), "bytes": n_bytes}  # fmt: skip
    withheld = {**purged.withheld, **_withheld(run, mine, removed, purged)}
    rewrite.json(run.path / FILE, replace(purged, withheld=withheld, records=(*purged.records, record)).to_json())
    return Plan(removed, gone, n_bytes, len(mine.rows))


def naming(participant: str, *, as_word: bool = False) -> Callable[[str], bool]:
    """Tells of a text whether it names somebody.

    Args:
        participant: who.
        as_word: only where no letter or digit is beside it: pages hold data in which any few letters occur somewhere.
    """
    text = re.escape(participant.casefold())
    is_word = as_word or len(participant) < SHORT
    pattern = re.compile(rf"(?<![^\W_]){text}(?![^\W_])" if is_word else text)
    return lambda found: pattern.search(found.casefold()) is not None


def still_named(run: Run, participant: str, table: Path) -> list[str]:
    """Where somebody is still named: paths of the ledger, files of text in the run's folder, and the table itself.

    Such are files that people put there themselves, recordings that the table does not know, notes in others' rows.
    """
    if len(participant) < SHORT:
        return []
    named, worded = naming(participant), naming(participant, as_word=True)
    found = [str(table)] if worded(table.read_text("utf-8", "replace")) else []
    found += [f"the ledger: {path}" for path in run.videos()["path"].to_pylist() if named(path)]
    for file in sorted(path for path in run.path.rglob("*") if path.is_file()):
        inside = file.relative_to(run.path)
        is_text = file.suffix in {".json", ".html", ".csv", ".tsv", ".txt", ".md", ".log", ".toml", ".eaf"}
        if named(str(inside)) or (is_text and worded(file.read_text("utf-8", "replace"))):
            found.append(str(inside))
    return found


def _renamed(run: Run, mine: Belongings, named: Callable[[str], bool]) -> dict[str, str]:
    """Paths of shared videos that name the person, and what stands there instead."""
    shared = pa.array(sorted({*mine.faces, *mine.tracks}), pa.string())
    ledger = run.videos()
    found: dict[str, str] = {}
    for row in ledger.filter(pc.is_in(ledger["video_id"], shared)).select(["path", "video_id"]).to_pylist():
        if named(row["path"]):
            *folders, name = row["path"].split("/")
            if named(name):
                name = f"{row['video_id']}-{len(found) + 1}{'' if named(Path(name).suffix) else Path(name).suffix}"
            found[row["path"]] = "/".join([*("removed" if named(folder) else folder for folder in folders), name])
    return found


def _keys(run: Run, mine: Belongings) -> Iterator[tuple[Path, pa.Table]]:
    """Samples drawn for validation that hold faces of the person, each with these faces."""
    faces = {(video_id, *row) for video_id, rows in mine.faces.items() for row in rows.tolist()}
    for key in sorted((run.path / FOLDER).glob("*.parquet")):
        try:
            drawn = pq.read_table(key, columns=["item", "video_id", "frame_index", "face_index"])
        except (OSError, pa.ArrowException):
            yield key, pa.table({"item": pa.array([], pa.string())})  # who can tell whose faces these are?
            continue
        rows = zip(*(drawn[name].to_pylist() for name in ("video_id", "frame_index", "face_index")), strict=True)
        is_theirs = [row[0] in mine.videos or row in faces for row in rows]
        if any(is_theirs):
            yield key, drawn.filter(pa.array(is_theirs))


def _pictures(folder: Path, keys: list[tuple[Path, pa.Table]]) -> Iterator[Path]:
    """Pictures of the person in a coders' folder."""
    for _, drawn in keys:
        for item in drawn["item"].to_pylist():
            yield from sorted((folder / "images").glob(f"{item}*"))


def _others(run: Run) -> Iterator[Path]:
    """What may hold the person and is made anew, or is of no use without the rows that went."""
    for path in (run.report_dir, run.path / DAMAGED, run.units_dir, run.work_dir / "stalled"):
        if path.exists():
            yield path


def _withheld(run: Run, mine: Belongings, removed: Removed, purged: Purged) -> dict[str, Withheld]:
    ids = pa.array(sorted({*mine.videos, *mine.faces, *mine.tracks}), pa.string())
    ledger = run.videos()
    theirs = ledger.filter(pc.is_in(ledger["video_id"], ids))
    sizes = dict(zip(theirs["video_id"].to_pylist(), theirs["size_bytes"].to_pylist(), strict=True))
    found = {video_id: Withheld(sizes[video_id]) for video_id in mine.videos}
    for video_id in {*mine.faces, *mine.tracks}:
        before = purged.withheld.get(video_id, Withheld(None)).tracks
        found[video_id] = Withheld(sizes[video_id], before + removed.tracks.get(video_id, 0))
    for path in mine.paths:  # they were no videos, so nobody has looked at their content
        with suppress(OSError):
            size = os.stat(path).st_size
            if size:
                found[fingerprint(Path(path), size)] = Withheld(size)
    return found


def _table(path: Path, mine: Belongings, renamed: set[str]) -> bytes:
    """The participants table without the person's rows, else as it was saved."""
    from reports.groups.spreadsheet import read_sheet
    from reports.groups.trials import COLUMNS

    sheet = read_sheet(path, COLUMNS)
    text = path.read_bytes().decode(sheet.encoding)
    first, _, rest = text.partition("\n")
    hint = f"{first}\n" if re.fullmatch(r"(?i)sep=.", first.strip()) else ""
    records = list(csv.reader(io.StringIO(rest if hint else text, newline=""), delimiter=sheet.separator, strict=True))
    at = sheet.columns.index("video")
    made = io.StringIO(newline="")
    writer = csv.writer(made, delimiter=sheet.separator, lineterminator="\r\n" if "\r\n" in text else "\n")
    for number, record in enumerate(records, 1):
        if number in mine.rows:
            continue
        path_there, video_id = mine.beside.get(number, ("", ""))
        if path_there in renamed:
            record[at] = video_id
        writer.writerow(record)
    return (hint + made.getvalue()).encode(sheet.encoding)


def _log(data: bytes, paths: frozenset[str], named: Callable[[str], bool]) -> bytes:
    """The log without lines that name the person or their videos."""
    words = {*paths, *(path.rpartition("/")[2] for path in paths)}
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    return "".join(line for line in lines if not named(line) and not any(word in line for word in words)).encode()


def _info(run: Run, rewrite: Rewrite) -> dict[str, Any]:
    """``run.json`` with the new counts, and without the inputs, which may name the person."""
    info = run.info
    counts, seen = Counts(), set[int]()
    with pq.ParquetFile(rewrite.staged(run.ledger)) as file:
        for batch in file.iter_batches():
            counts += Counts.of(pa.Table.from_batches([batch]), seen)
    totals = {name: getattr(counts, name) for name in ("ok", "partial", "failed", "frames", "faces", "tracks")}
    before = info.get("counts", {})
    kept = {name: None if before.get(name, 0) is None else value for name, value in totals.items()}
    return {**info, "inputs": [INPUTS_NOT_KEPT], "mended": [], "counts": {**before, "files": counts.videos, **kept}}


def check_folders(folders: list[Path]) -> None:
    """
    Raises:
        RefusedError: a folder was neither written by an export nor given to coders.
    """
    from reports.export.earlier import LIST

    for folder in folders:
        if not (folder / LIST).is_file() and not (folder / "images").is_dir():
            raise RefusedError(
                f"--also {folder}: is no folder that fer-batch export or fer-batch validate wrote (it has neither "
                f"{LIST} nor images/). Other copies are for you to remove"
            )
