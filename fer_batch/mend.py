"""Mend a run's folder before it goes on: what was torn or deleted since is found, set aside and done again.

Nothing is thrown away. A damaged file is moved to ``damaged/``; the videos whose rows it held are entered in the ledger
as ``failed: lost``, so that readers do not look for them, and are done anew when the run meets their files.

The ledger and unfinished segments are read through at every start, and so are the tables' parts where that takes no
more than a second or two. Of more parts only the ends are looked at, which tells those that were torn: a bit that
flipped is found by whoever reads them, as pages carry checksums, and by a start that is asked to read all of them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.commit import LAST, SEGMENT_COUNTS, beside, commit_rows
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.ledger import PIECE_ROWS, join, pieces
from fer_batch.object_path import AnyPath, ObjectPath
from fer_batch.schema import FOLDERS, TABLES, VIDEOS
from fer_batch.store import Run, parquet_file, parquet_footer

log = logging.getLogger("fer_batch")

LOST: Final = "lost"
"""Error code of a video whose rows are gone: it is always done again."""

DAMAGED: Final = "damaged"
"""Folder for what is set aside."""

READ_FILES: Final = 500
READ_BYTES: Final = 100_000_000
"""Parts of tables that are read through at every start: no more files and no more bytes than these, in a second or
two. All parts of 100,000 recordings would take ten minutes, a look at their ends takes three seconds (measured)."""

_LAST_BYTES: Final = b"PAR1"
"""How every Parquet file ends."""

_ROWS: Final = {"faces": "n_faces", "frames": "n_sampled", "tracks": "n_tracks"}
"""The ledger's column that says how many rows a video has in a table, where one does."""


def known(path: AnyPath) -> dict[str, Any]:
    """What is known of the run in a folder: its ``run.json`` or, where that is torn or gone, what its tables say.

    Empty if there is no run. `completed` is not None if its ledger was joined before, as far as is known.

    Raises:
        RefusedError: there are tables, and nothing says what they were made with.
    """
    try:
        info = json.loads((path / "run.json").read_bytes())
        if isinstance(info, dict) and "config" in info:
            return info
    except (FileNotFoundError, ValueError):
        pass
    except OSError as error:
        raise StoppedError(f"cannot read {path / 'run.json'}: {error.strerror}") from error
    tables = [
        path / "videos.parquet",
        *path.glob("work/ledger/*.parquet"),
        *(file for folder in FOLDERS for file in path.glob(f"{folder}/part-*.parquet")),
    ]
    for file in tables:
        try:
            said = parquet_footer(file).metadata or {}
        except (OSError, pa.ArrowException):
            continue
        if b"run" in said:
            return {**json.loads(said[b"run"]), "completed": "unknown"}
    if any(file.exists() for file in tables):
        raise RefusedError(
            f"{path / 'run.json'} is damaged or missing, and no table tells the settings of this run; restore it from "
            "a backup or choose another --out"
        )
    return {}


def mend(run: Run, metadata: dict[str, str], was_joined: bool, read_all: bool = False) -> list[str]:
    """Set aside what is damaged, join the ledger, and enter videos whose rows are gone as lost.

    To be called by whoever holds the folder's lease, before anything is done.

    Args:
        run: the run.
        metadata: for the ledger.
        was_joined: ``videos.parquet`` must be there, as the run was complete before.
        read_all: read all parts through, however many there are.

    Returns:
        What was found, a sentence each; it is in the log too.

    Raises:
        StoppedError: a file cannot be read or moved for another reason than its content.
    """
    found: list[str] = []

    def tell(what: str) -> None:
        log.warning("%s", what)
        found.append(what)

    is_lost = was_joined and not run.ledger.is_file()
    if is_lost:
        tell(f"{run.ledger.name} is gone")
    if not isinstance(run.path, ObjectPath):
        _remove_drafts(run.path)
    if read_all or not isinstance(run.path, ObjectPath):  # a store shows no half-written object
        is_lost |= _set_ledgers_aside(run, tell)
        _check_segments(run, tell)
    join(run, metadata)
    lost = _lost_parts(run, read_all, tell)
    if lost:
        for table in pieces(run, VIDEOS.names):
            rows = table.filter(pc.is_in(table["part"], pa.array(sorted(lost)))).to_pylist()
            if rows:
                commit_rows(run.path, "lost", [_lost_row(row) for row in rows], metadata)
        join(run, metadata)
        _set_parts_aside(run, lambda name: name in lost)
    if is_lost:  # their videos may be out of reach: nothing is dropped that may not come again
        named = {part for table in pieces(run, ["part"]) for part in table["part"].drop_null().to_pylist()}
        _set_parts_aside(run, lambda name: name not in named)
    return found


def _remove_drafts(path: Path) -> None:
    """Remove what processes left behind that were killed while they wrote."""
    for folder in ("", *(f"{name}/" for name in FOLDERS), "work/**/"):
        for draft in path.glob(f"{folder}.*.tmp"):
            draft.unlink(missing_ok=True)


def _set_ledgers_aside(run: Run, tell: Callable[[str], None]) -> bool:
    """Set the ledger and its parts aside where they are damaged; whether any was."""
    damaged = [file for file in (run.ledger, *run.ledger_part_files()) if file.exists() and _rows_in(file) is None]
    for file in damaged:
        tell(f"{file.relative_to(run.path)} is damaged: the videos in it are done again")
        _set_aside(run, file)
    return bool(damaged)


def _rows_in(file: AnyPath) -> int | None:
    """Rows of a Parquet file, read through with its checksums; None if it is damaged or not there.

    Raises:
        StoppedError: it cannot be read for another reason: a disk that does not answer is no damage.
    """
    try:
        with parquet_file(file) as parquet:
            return sum(len(batch) for batch in parquet.iter_batches(PIECE_ROWS, use_threads=False))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        if getattr(error, "errno", None) is not None:
            raise StoppedError(f"cannot read {file}: {error}") from error
        return None


def _is_ended(file: AnyPath) -> bool:
    """Whether a file ends as every Parquet file does: one that was torn does not. A store holds no torn objects."""
    if isinstance(file, ObjectPath):
        return True
    with open(file, "rb", buffering=0) as content:
        content.seek(max(0, os.fstat(content.fileno()).st_size - len(_LAST_BYTES)))
        return content.read() == _LAST_BYTES


def _check_segments(run: Run, tell: Callable[[str], None]) -> None:
    """Segments of unfinished videos that are not whole are forgotten: they are done again."""
    for last in [file for name in LAST for file in run.units_dir.glob(f"*/*.{name}.parquet")]:
        files = [beside(last, name) for name in TABLES[run.level]]
        is_whole = all(_rows_in(file) is not None for file in files)
        if not is_whole or SEGMENT_COUNTS not in (parquet_footer(last).metadata or {}):
            tell(f"{last.relative_to(run.path)} is damaged, or its faces are: that segment is done again")
            for file in files:
                file.unlink(missing_ok=True)


def _lost_parts(run: Run, read_all: bool, tell: Callable[[str], None]) -> set[str]:
    """Names of parts of which a table's file is gone or damaged, or has fewer rows than the ledger says."""
    named = {part for table in pieces(run, ["part"]) for part in table["part"].drop_null().to_pylist()}
    sizes = {
        f"{folder}/{file.name}": 0 if isinstance(file, ObjectPath) else file.stat().st_size
        for folder in TABLES[run.level]
        for file in (run.path / folder).iterdir()
        if file.name in named
    }
    if not isinstance(run.path, ObjectPath):
        read_all |= len(sizes) <= READ_FILES and sum(sizes.values()) <= READ_BYTES
    expected = _rows_by_part(run) if read_all else {}
    lost = set()
    for folder in TABLES[run.level]:
        for part in sorted(named):
            name = f"{folder}/{part}"
            try:
                if name not in sizes:
                    what = "is gone"
                elif _has_rows(run.path / name, expected.get(name, 0)) if read_all else _is_ended(run.path / name):
                    continue
                else:
                    what = "is damaged"
            except OSError as error:
                raise StoppedError(f"cannot read {run.path / name}: {error.strerror or error}") from error
            tell(f"{name} {what}: the videos in it are done again")
            lost.add(part)
    return lost


def _has_rows(file: AnyPath, expected: int) -> bool:
    found = _rows_in(file)
    return found is not None and found >= expected


def _rows_by_part(run: Run) -> dict[str, int]:
    """How many rows a part has by the ledger, by ``folder/part``; only of tables whose rows the ledger counts."""
    names: dict[str, int] = {}
    columns = {folder: _ROWS[folder] for folder in TABLES[run.level] if folder in _ROWS}
    seen = [np.empty((0, 2 + len(columns)), np.int64)]
    for table in pieces(run, ["part", "video_id", *columns.values()]):
        rows = table.filter(pc.is_valid(table["part"]))
        parts = [names.setdefault(part, len(names)) for part in rows["part"].to_pylist()]
        ids = [hash(video_id) for video_id in rows["video_id"].to_pylist()]
        counts = [rows[column].fill_null(0).to_numpy() for column in columns.values()]
        seen.append(np.column_stack([np.array(parts, np.int64), np.array(ids, np.int64), *counts]))
    rows_of = np.unique(np.concatenate(seen), axis=0)  # copies of a video share its rows
    found: dict[str, int] = {}
    for position, folder in enumerate(columns, start=2):
        sums = np.zeros(len(names), np.int64)
        np.add.at(sums, rows_of[:, 0], rows_of[:, position])
        found |= {f"{folder}/{name}": int(sums[number]) for name, number in names.items()}
    return found


def _lost_row(row: dict[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(("part", "n_sampled", "n_with_face", "n_faces", "n_tracks", "sampled_ms", "with_face_ms"))
    why = (
        f"the tables' part that held its rows, {row['part']}, was lost; run the same command again with this file there"
    )
    return {**row, **gone, "status": "failed", "error_code": LOST, "error": why}


def _set_parts_aside(run: Run, is_chosen: Callable[[str], bool]) -> None:
    for folder in TABLES[run.level]:
        for file in sorted((run.path / folder).glob("part-*.parquet")):
            if is_chosen(file.name):
                _set_aside(run, file)


def _set_aside(run: Run, file: AnyPath) -> None:
    target = run.path / DAMAGED / file.relative_to(run.path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    except OSError as error:
        raise StoppedError(f"cannot move {file} to {target}: {error.strerror}") from error
