"""The ledger as a whole: its parts become one sorted file, which is read in pieces, however many videos there are.

While a run goes on each task adds a small file of rows. They are joined when a run starts and when it is complete, by
an external sort: rows are dealt into ranges of paths on the disk, and each range is sorted on its own.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.errors import StoppedError
from fer_batch.object_path import AnyPath, ObjectPath, each
from fer_batch.schema import TABLES, VIDEOS, with_metadata
from fer_batch.store import (
    PARQUET,
    Run,
    atomic_write,
    damage_named,
    newest_rows,
    parquet_file,
    read_table,
    write_json,
    write_table,
)

PIECE_ROWS = 50_000
"""Rows of the ledger in memory at a time: some 20 MB."""

REPLACED = "replaced.json"
"""File under ``work/`` that names the parts in which rows were left behind: the others need not be read for them."""

SAMPLED = 100
"""One path of so many is looked at to find ranges of about :data:`PIECE_ROWS` rows."""


def pieces(run: Run, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of the joined ledger, in its order.

    Raises:
        RefusedError: it is damaged.
    """
    if not run.ledger.is_file():
        return
    with damage_named(run.ledger), parquet_file(run.ledger) as file:
        for batch in file.iter_batches(PIECE_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def join(run: Run, metadata: dict[str, str]) -> None:
    """Make ``videos.parquet`` of itself and the ledger's parts: a row a file, the newest, sorted by path.

    The parts are removed once it is in place; an interruption at any moment loses nothing.

    Raises:
        RefusedError: one of them is damaged.
        StoppedError: the disk is full.
    """
    parts = run.ledger_part_files()
    if not parts:
        return
    files = ([run.ledger] if run.ledger.is_file() else []) + parts
    schema = with_metadata(VIDEOS, metadata)
    with (
        _sorting_folder(run) as sorting,
        atomic_write(run.ledger) as file,
        pq.ParquetWriter(file, schema, **PARQUET) as writer,
    ):
        replaced = set(_replaced_parts(run))
        for table in _by_range(files, sorting):
            newest = newest_rows(table)
            if len(newest) < len(table):
                replaced |= {part for _, part, _ in _rows(table) - _rows(newest) if part is not None}
            writer.write_table(newest.cast(schema))
        if replaced:  # before the ledger is in place, which no longer tells
            write_json(run.work_dir / REPLACED, {"parts": sorted(replaced)})
    for _ in each(lambda part: part.unlink(missing_ok=True), parts):
        pass
    pa.default_memory_pool().release_unused()  # a run goes on for hours without what was sorted here


def _rows(ledger: pa.Table) -> set[tuple[str, str | None, str | None]]:
    """What tells rows apart: path, part and video."""
    return set(zip(*(ledger[name].to_pylist() for name in ("path", "part", "video_id")), strict=True))


def _replaced_parts(run: Run) -> list[str]:
    """Parts that hold rows of which the ledger spoke before.

    Raises:
        StoppedError: the file that says so is damaged.
    """
    file = run.work_dir / REPLACED
    try:
        parts: list[str] = json.loads(file.read_bytes())["parts"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise StoppedError(f"{file} is damaged ({error}); remove it, then run the same command again") from error
    return parts


@contextmanager
def _sorting_folder(run: Run) -> Iterator[Path]:
    """Where rows are sorted: in the run's folder, or on this machine's disk where that lies on an object store."""
    if isinstance(run.path, ObjectPath):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    try:
        yield run.path / "work" / "sorting"
    finally:
        shutil.rmtree(run.path / "work" / "sorting", ignore_errors=True)


def _by_range(files: list[AnyPath], folder: Path) -> Iterator[pa.Table]:
    """All rows of some ledger files, oldest first within each range of paths; the ranges by path."""
    ends = _range_ends(files)
    if not ends:
        yield pa.concat_tables(_gathered(files))
        return
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(_gathered(files)):
        ranges = np.array([bisect_right(ends, path) for path in table["path"].to_pylist()])
        for found in np.unique(ranges):
            write_table(folder / f"{found:06d}-{number:06d}.parquet", table.filter(pa.array(ranges == found)))
    for found in range(len(ends) + 1):
        dealt = sorted(folder.glob(f"{found:06d}-*.parquet"))
        if dealt:
            yield pa.concat_tables(read_table(file) for file in dealt)


def _range_ends(files: list[AnyPath]) -> list[str]:
    """Paths that divide the ledger into ranges of about :data:`PIECE_ROWS` rows; none where it is that small."""
    sample: list[str] = []
    rows = 0
    for table in each(lambda file: read_table(file, ["path"]), files):
        paths = table["path"]
        sample += paths.take(pa.array(range(-rows % SAMPLED, len(paths), SAMPLED), pa.int64())).to_pylist()
        rows += len(paths)
    step = PIECE_ROWS // SAMPLED
    return sorted(sample)[step::step] if rows > PIECE_ROWS else []


def _gathered(files: Sequence[AnyPath]) -> Iterator[pa.Table]:
    """The files' rows in tables of about :data:`PIECE_ROWS` rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for file, parquet in zip(files, each(parquet_file, files), strict=True):
        with damage_named(file), parquet:
            for batch in parquet.iter_batches(PIECE_ROWS):
                waiting.append(pa.Table.from_batches([batch]).select(VIDEOS.names).cast(VIDEOS))
                rows += len(batch)
                if rows >= PIECE_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def drop_orphans(run: Run) -> None:
    """Drop rows of the tables beside the ledger that no row of the joined ledger stands for.

    Such rows are left by a file whose content changed, in a part that other videos share, or by a worker that died
    between two writes, in a part that nothing names.

    Raises:
        RefusedError: a part is damaged.
        StoppedError: the disk is full.
    """
    named = _named(run)
    replaced = set(_replaced_parts(run))
    for folder in (run.path / name for name in TABLES[run.level]):
        for file in sorted(folder.glob("part-*.parquet")):
            if not _holds(named, hash(file.name)):
                file.unlink()
            elif file.name in replaced:
                _keep_rows(file, named)
    (run.work_dir / REPLACED).unlink(missing_ok=True)


def _named(run: Run) -> npt.NDArray[np.int64]:
    """Hashes of each part, and of each part and video in it: a few bytes a video, where names would take hundreds."""
    hashes = [np.empty(0, np.int64)]
    for table in pieces(run, ["part", "video_id"]):
        named = table.filter(pc.is_valid(table["part"]))
        pairs = zip(named["part"].to_pylist(), named["video_id"].to_pylist(), strict=True)
        hashes.append(np.array([hash(key) for pair in pairs for key in (pair[0], pair)], np.int64))
    return np.unique(np.concatenate(hashes))


def _keep_rows(file: AnyPath, named: npt.NDArray[np.int64]) -> None:
    present = pc.unique(read_table(file, ["video_id"])["video_id"]).to_pylist()
    kept = [video_id for video_id in present if _holds(named, hash((file.name, video_id)))]
    if len(kept) < len(present):
        table = read_table(file)
        write_table(file, table.filter(pc.is_in(table["video_id"], pa.array(kept, pa.string()))))


def _holds(sorted_values: npt.NDArray[np.int64], value: int) -> bool:
    position = np.searchsorted(sorted_values, value)
    return bool(position < len(sorted_values) and sorted_values[position] == value)
