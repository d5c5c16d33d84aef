"""A run's folder, on disk or on an object store: what is where, and writes of which a reader never sees half.

Readers go through :class:`Run`; writers through :func:`write_table` and :func:`write_json`. The ledger is the truth:
rows of the tables ``faces`` and ``frames`` count only once a ledger row names the part that holds them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.config import PrivacyLevel
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.object_errors import AGAIN, at_once
from fer_batch.object_path import AnyPath, ObjectPath, as_path, each
from fer_batch.schema import BINS, FACES, FRAMES, TABLES, TRACK_BINS, TRACKS, VIDEOS


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` as a whole on success.

    On a disk it lies beside `path`, is flushed and renamed; for an object store it is put at the end, in one request or
    in one upload of several parts.

    Raises:
        StoppedError: the disk is full, or it cannot be written there.
    """
    if isinstance(path, ObjectPath):
        with _put_at_end(path) as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoppedError(
            f"cannot write {path}: {error.strerror or error}. Make room or choose another --out, then run the same "
            "command again: what is committed stays."
        ) from error
    finally:
        with suppress(OSError):  # a read-only disk refuses even to remove what is not there
            temporary.unlink(missing_ok=True)


@contextmanager
def _put_at_end(path: ObjectPath) -> Iterator[IO[bytes]]:
    try:
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            path.write_bytes(file.read())
    except OSError as error:
        raise StoppedError(
            f"cannot write {path}: {error.strerror or error}; mend that or choose another --out, {AGAIN}"
        ) from error


PARQUET: Final[dict[str, Any]] = {"compression": "zstd", "write_page_checksum": True}
"""How tables are written: a bit that flips on the disk is noticed, not read as another number."""

WHOLE_BYTES: Final = 32 << 20
"""Tables on a store up to this size are fetched by one request."""

BLOCK_BYTES: Final = 4 << 20
"""What one request fetches of a larger one."""

FOOTER_BYTES: Final = 64 << 10
"""How much of a table on a store is fetched to learn what it says of itself."""


def write_table(path: AnyPath, table: pa.Table) -> None:
    """Write `table` as Parquet, atomically."""
    with atomic_write(path) as file:
        pq.write_table(table, file, **PARQUET)


def read_table(path: AnyPath, columns: list[str] | None = None) -> pa.Table:
    """Read a table's file, checking its checksums.

    Raises:
        FileNotFoundError: it is not there.
        RefusedError: it is damaged.
    """
    with damage_named(path):
        return parquet_file(path).read(columns)


def parquet_file(path: AnyPath) -> pq.ParquetFile:
    """A table's file, opened with its checksums checked; a context manager."""
    if isinstance(path, ObjectPath):
        return pq.ParquetFile(_content(path), page_checksum_verification=True)
    return pq.ParquetFile(path, page_checksum_verification=True)


def parquet_footer(path: AnyPath) -> pq.FileMetaData:
    """What a table's file says of itself: rows and metadata; its data is not read."""
    if isinstance(path, ObjectPath):
        with path.open(block_bytes=FOOTER_BYTES) as file:
            return pq.read_metadata(file)
    return pq.read_metadata(path)


def _content(path: ObjectPath) -> Any:
    """Tables are small: one request fetches one. A large one is read as it is asked for."""
    is_small = (path.listed or path.stat()).st_size <= WHOLE_BYTES
    return pa.BufferReader(path.read_bytes()) if is_small else path.open(block_bytes=BLOCK_BYTES)


@contextmanager
def damage_named(path: AnyPath) -> Iterator[None]:
    """Inside, an error in reading `path` says what to do about it; that it is not there is no damage."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise RefusedError(f"{path} is damaged or cannot be read ({error}). If it is damaged, {MEND}") from error


def write_json(path: AnyPath, value: dict[str, Any]) -> None:
    """Write `value` as JSON, atomically."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


MEND: Final = "run the same command again that made the run, with --verify: it does again what is damaged"
"""What to do about a folder in which something is torn."""


class Run:
    """A run's folder, for reading; also while the run is going on.

    Example:
        >>> run = fer_batch.Run("out")            # doctest: +SKIP
        >>> run.faces().to_pandas()               # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str] | ObjectPath) -> None:
        """
        Args:
            path: a folder, or the address of one on an object store.

        Raises:
            RefusedError: there is no run in this folder.
        """
        self.path: Any = as_path(path)
        with at_once():
            is_there = self.run_json.is_file()
        if not is_there:
            raise RefusedError(f"{self.path} holds no run (there is no {self.run_json.name}); give the --out of a run")

    run_json = property(lambda self: self.path / "run.json")
    ledger = property(lambda self: self.path / "videos.parquet")
    faces_dir = property(lambda self: self.path / "faces")
    frames_dir = property(lambda self: self.path / "frames")
    report_dir = property(lambda self: self.path / "report")
    work_dir = property(lambda self: self.path / "work")
    ledger_parts = property(lambda self: self.path / "work" / "ledger")
    units_dir = property(lambda self: self.path / "work" / "units")

    @property
    def info(self) -> dict[str, Any]:
        """The content of ``run.json``: state, configuration, model, versions, counts."""
        try:
            info = json.loads(self.run_json.read_bytes())
        except ValueError as error:
            raise RefusedError(f"{self.run_json} is damaged ({error}); {MEND}") from error
        if not isinstance(info, dict):
            raise RefusedError(f"{self.run_json} is damaged (it holds no object); {MEND}")
        return info

    @property
    def level(self) -> PrivacyLevel:
        """How fine the tables are (:class:`fer_batch.config.Privacy`)."""
        level: PrivacyLevel = self.info.get("config", {}).get("privacy", {}).get("level", "faces")
        return level

    @property
    def id(self) -> str:
        """Tells this run from any other, so that a table of its tracks is not taken for another run's.

        It stays while a run is continued, and is another after ``--redo``.
        """
        return run_id(self.info)

    def videos(self) -> pa.Table:
        """The ledger (:data:`fer_batch.schema.VIDEOS`), a row a file, sorted by path; so far, while a run goes on.

        A file that was processed again has its newest row.

        Raises:
            RefusedError: it is damaged.
        """
        # The parts first: a driver that joins them to the ledger removes them only when that is in place.
        tables = [table for table in each(_read_if_there, self.ledger_part_files()) if table is not None]
        joined = _read_if_there(self.ledger)
        tables = tables if joined is None else [joined, *tables]
        if not tables:
            return VIDEOS.empty_table()
        return newest_rows(pa.concat_tables(table.select(VIDEOS.names).cast(VIDEOS) for table in tables))

    def ledger_part_files(self) -> list[Any]:
        """The ledger's parts of a run that is going on or was interrupted, oldest first."""
        return sorted(self.ledger_parts.glob("*.parquet"))

    def faces(self, video_id: str | None = None) -> pa.Table:
        """The table `faces` (:data:`fer_batch.schema.FACES`), or one video's rows of it."""
        return self._rows("faces", FACES, video_id)

    def frames(self, video_id: str | None = None) -> pa.Table:
        """The table `frames` (:data:`fer_batch.schema.FRAMES`), or one video's rows of it."""
        return self._rows("frames", FRAMES, video_id)

    def tracks(self, video_id: str | None = None) -> pa.Table:
        """The table `tracks` (:data:`fer_batch.schema.TRACKS`) of a run at privacy level `tracks`."""
        return self._rows("tracks", TRACKS, video_id)

    def track_bins(self, video_id: str | None = None) -> pa.Table:
        """The table `track_bins` (:data:`fer_batch.schema.TRACK_BINS`) of a run at privacy level `tracks`."""
        return self._rows("track_bins", TRACK_BINS, video_id)

    def bins(self, video_id: str | None = None) -> pa.Table:
        """The table `bins` (:data:`fer_batch.schema.BINS`) of a run at privacy level `aggregate`."""
        return self._rows("bins", BINS, video_id)

    def check_holds(self, table: str) -> None:
        """
        Raises:
            RefusedError: a run at this privacy level does not keep that table.
        """
        kept = TABLES[self.level]
        if table not in kept:
            raise RefusedError(
                f"the run {self.path} keeps no table {table!r}: its privacy.level is {self.level!r}, so it has "
                f"{', '.join(kept)} only"
            )

    def _rows(self, name: str, schema: pa.Schema, video_id: str | None) -> pa.Table:
        self.check_holds(name)
        folder = self.path / name
        ledger = self.videos()
        if video_id is not None:
            ledger = ledger.filter(pc.field("video_id") == video_id)
        parts = sorted(set(ledger["part"].drop_null().to_pylist()))
        if not parts:
            return schema.empty_table()
        import pyarrow.dataset as ds  # imports pandas, for which workers need not wait

        checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        parquet = ds.ParquetFileFormat(default_fragment_scan_options=checked)
        wanted = pc.field("video_id").isin(ledger["video_id"].drop_null().unique())
        try:
            files, system = [folder / part for part in parts], None
            if isinstance(folder, ObjectPath):
                from pyarrow.fs import FSSpecHandler, PyFileSystem

                files, system = [file.key() for file in files], PyFileSystem(FSSpecHandler(folder.system()))
            dataset = ds.dataset([str(file) for file in files], schema=schema, format=parquet, filesystem=system)
            rows = dataset.to_table(filter=wanted)
        except (pa.ArrowException, OSError) as error:
            for part in parts:  # the error does not say which it is
                try:
                    read_table(folder / part)
                except FileNotFoundError:
                    raise RefusedError(f"{folder / part} is missing; {MEND}") from error
            raise RefusedError(f"{folder} cannot be read ({error}); {MEND}") from error
        return rows.sort_by([(name, "ascending") for name in sort_keys(schema)])


def run_id(info: Mapping[str, Any]) -> str:
    """The id of a run, from its ``run.json``."""
    if "id" in info:
        return str(info["id"])
    # Runs of earlier versions have none: their start and configuration never change either.
    start = json.dumps([info.get("created"), info.get("config")], sort_keys=True)
    return "r" + hashlib.sha256(start.encode()).hexdigest()[:11]


def newest_rows(ledger: pa.Table) -> pa.Table:
    """Of each file the last of its rows, sorted by path."""
    numbered = ledger.append_column("_row", pa.array(range(len(ledger))))
    newest = numbered.group_by("path").aggregate([("_row", "max")])["_row_max"]
    return ledger.take(newest).sort_by("path")


def _read_if_there(path: AnyPath) -> pa.Table | None:
    try:
        return read_table(path)
    except FileNotFoundError:
        return None


def sort_keys(schema: pa.Schema) -> list[str]:
    """The columns by which a table's rows are ordered."""
    return [
        name
        for name in ("video_id", "timestamp_ms", "face_index", "track_id", "bin", "start_ms")
        if name in schema.names
    ]
