"""A run's folder on disk: what is where, and writes of which a reader never sees half.

Readers go through :class:`Run`; writers through :func:`write_table` and :func:`write_json`. The ledger is the truth:
rows of the tables ``faces`` and ``frames`` count only once a ledger row names the part that holds them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fer_batch.errors import RefusedError, StoppedError
from fer_batch.schema import FACES, FRAMES, VIDEOS


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success flush it to the disk and rename it over `path`.

    Raises:
        StoppedError: the disk is full or the folder cannot be written.
    """
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
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` as Parquet (zstd), atomically."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as JSON, atomically."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


class Run:
    """A run's folder, for reading; also while the run is going on.

    Example:
        >>> run = fer_batch.Run("out")            # doctest: +SKIP
        >>> run.faces().to_pandas()               # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Raises:
            RefusedError: there is no run in this folder.
        """
        self.path = Path(path)
        if not self.run_json.is_file():
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
            return json.loads(self.run_json.read_bytes())  # type: ignore[no-any-return]
        except ValueError as error:
            raise RefusedError(f"{self.run_json} is damaged ({error}); restore it or start with a new --out") from error

    @property
    def id(self) -> str:
        """Tells this run from any other, so that a table of its tracks is not taken for another run's.

        It stays while a run is continued, and is another after ``--redo``.
        """
        info = self.info
        if "id" in info:
            return str(info["id"])
        # Runs of earlier versions have none: their start and configuration never change either.
        start = json.dumps([info.get("created"), info.get("config")], sort_keys=True)
        return "r" + hashlib.sha256(start.encode()).hexdigest()[:11]

    def videos(self) -> pa.Table:
        """The ledger (:data:`fer_batch.schema.VIDEOS`), a row a file, sorted by path; so far, while a run goes on.

        A file that was processed again has its newest row.
        """
        tables = [pq.read_table(self.ledger)] if self.ledger.is_file() else []
        tables += [pq.read_table(part) for part in self.ledger_part_files()]
        if not tables:
            return VIDEOS.empty_table()
        table = pa.concat_tables(t.select(VIDEOS.names).cast(VIDEOS) for t in tables)
        table = table.append_column("_row", pa.array(range(len(table))))
        newest = table.group_by("path").aggregate([("_row", "max")])["_row_max"]
        return table.take(newest).drop_columns("_row").sort_by("path")

    def ledger_part_files(self) -> list[Path]:
        """The ledger's parts of a run that is going on or was interrupted, oldest first."""
        return sorted(self.ledger_parts.glob("*.parquet")) if self.ledger_parts.is_dir() else []

    def faces(self, video_id: str | None = None) -> pa.Table:
        """The table `faces` (:data:`fer_batch.schema.FACES`), or one video's rows of it."""
        return self._rows(self.faces_dir, FACES, video_id)

    def frames(self, video_id: str | None = None) -> pa.Table:
        """The table `frames` (:data:`fer_batch.schema.FRAMES`), or one video's rows of it."""
        return self._rows(self.frames_dir, FRAMES, video_id)

    def _rows(self, folder: Path, schema: pa.Schema, video_id: str | None) -> pa.Table:
        ledger = self.videos()
        if video_id is not None:
            ledger = ledger.filter(pc.field("video_id") == video_id)
        parts = sorted(set(ledger["part"].drop_null().to_pylist()))
        if not parts:
            return schema.empty_table()
        dataset = ds.dataset([str(folder / part) for part in parts], schema=schema)
        wanted = pc.field("video_id").isin(ledger["video_id"].drop_null().unique())
        return dataset.to_table(filter=wanted).sort_by([(name, "ascending") for name in sort_keys(schema)])


def sort_keys(schema: pa.Schema) -> list[str]:
    """The columns by which a table's rows are ordered."""
    return [name for name in ("video_id", "timestamp_ms", "face_index") if name in schema.names]
