"""The rows of exported tables as streams: of faces and frames no more than a batch is in memory at once.

Videos come in the order of the ledger, by path; the rows of a video by time. Nothing depends on how a run was cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.errors import StoppedError
from fer_batch.schema import FACES, FRAMES, PROBABILITIES, TRACK_BINS, TRACKS
from fer_batch.store import MEND, Run
from reports import measures
from reports.export.columns import LEDGER_COLUMNS, LEVELS, VIDEO_COLUMNS, Column
from reports.load import RunTables
from reports.measures.columns import column, weighted

BATCH_ROWS: Final = 16_384
"""Rows that are read, and written, at once."""

Rows = Callable[[], Iterator[pa.Table]]
"""Starts a stream of a table's rows from the beginning."""


@dataclass(frozen=True, slots=True)
class Content:
    """A content with rows in the tables.

    Attributes:
        video_id: its fingerprint.
        path: the first file by name that has it, as the ledger writes it.
        path_bytes: the exact path where it is not UTF-8.
        part: the file under faces/ and frames/ that holds its rows.
        duration_ms, width, height: of the video; None where it does not say.
    """

    video_id: str
    path: str
    path_bytes: bytes | None
    part: str
    duration_ms: int | None
    width: int | None
    height: int | None


class Committed:
    """What a run has committed at one moment, also while it goes on.

    Attributes:
        info: ``run.json``, completed as :class:`reports.load.RunTables` does.
        ledger: the ledger, sorted by path.
        contents: those with rows, in the order of the ledger.
        level: the run's privacy level, `faces` or `tracks`.
    """

    def __init__(self, run: Run) -> None:
        """
        Raises:
            RefusedError: the run's folder is damaged.
        """
        run.check_holds("frames")
        checked = RunTables(run)
        self.path = Path(run.path)
        self.info = checked.info
        self.ledger = checked.ledger
        found: dict[str, Content] = {}
        names = [field.name for field in dataclasses.fields(Content)]
        for row in self.ledger.select(names).to_pylist():
            if row["video_id"] is not None and row["part"] is not None:
                found.setdefault(row["video_id"], Content(**row))
        self.contents = tuple(found.values())
        self.level = run.level
        self._folders = {"faces": (Path(run.faces_dir), FACES), "frames": (Path(run.frames_dir), FRAMES),
                         "tracks": (self.path / "tracks", TRACKS),
                         "track_bins": (self.path / "track_bins", TRACK_BINS)}  # fmt: skip
        self._small: dict[str, tuple[str, pa.Table]] = {}

    def rows_of(self, table: str, content: Content) -> Iterator[pa.Table]:
        """A content's rows of a table in batches, in the table's order.

        Raises:
            StoppedError: the file that holds them is missing or damaged.
        """
        folder, schema = self._folders[table]
        path = folder / content.part
        try:
            for batch in self._batches(table, path):
                mine = batch.filter(pc.equal(batch["video_id"], content.video_id))
                if mine.num_rows:
                    yield mine.select(schema.names).cast(schema)
                elif batch.num_rows and batch["video_id"][0].as_py() > content.video_id:
                    return  # a part is sorted by video
        except (pa.ArrowException, OSError, KeyError) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise StoppedError(f"{path}, which holds the rows of {content.path}, {what}; {MEND}") from error

    def _batches(self, table: str, path: Path) -> Iterator[pa.Table]:
        """A part's rows; one that is a single batch, as where many short videos share it, is kept for the next."""
        if table not in self._small or self._small[table][0] != str(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
            if file.metadata.num_rows > BATCH_ROWS:
                for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
                    yield pa.Table.from_batches([batch])
                return
            self._small[table] = str(path), file.read(use_threads=False)
        yield self._small[table][1]


def rows(run: Committed, table: str, columns: tuple[Column, ...]) -> Iterator[pa.Table]:
    """A table of the run as it is exported.

    Args:
        run: what it has committed.
        table: the name of its folder.
        columns: those that are exported (:mod:`reports.export.columns`).
    """
    for content in run.contents:
        for batch in run.rows_of(table, content):
            path = pa.array([content.path] * batch.num_rows, pa.string())
            yield shaped(batch.append_column("path", path), columns)


def videos(run: Committed) -> Iterator[pa.Table]:
    """The table of files (:data:`reports.export.columns.VIDEO_COLUMNS`, at privacy level `tracks` LEDGER_COLUMNS): one
    video's rows are in memory at once.
    """
    with_rows = {content.video_id: content for content in run.contents}
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for batch in run.ledger.to_batches(max_chunksize=1024):
        rows = []
        for row in batch.to_pylist():
            video_id, copy_of, found = row["video_id"], None, dict[str, Any]()
            if video_id in first:
                copy_of, found = first[video_id]
            elif video_id in with_rows:
                found = _measures_of(run, with_rows[video_id])
                first[video_id] = row["path"], found
            elif video_id is not None:
                first[video_id] = row["path"], found
            coverage = row["with_face_ms"] / row["sampled_ms"] if row["sampled_ms"] else None
            rows.append({**row, "coverage": coverage, **found, "copy_of": copy_of})
        yield pa.Table.from_pylist(rows, schema=_schema(VIDEO_COLUMNS if run.level == "faces" else LEDGER_COLUMNS))


def _measures_of(run: Committed, content: Content) -> dict[str, Any]:
    """Times without a face, and the means, of one video."""
    sampled = _together(run.rows_of("frames", content), FRAMES)
    length = column(sampled, "duration_ms")
    reasons = np.array(["" if reason is None else reason for reason in sampled["reason"].to_pylist()], dtype=object)
    found: dict[str, Any] = {f"{name}_ms": int(length[reasons == name].sum()) for name, _ in LEVELS["reason"]}
    if run.level != "faces":
        return found
    means = measures.expressions(sampled)
    if means["mean"].null_count:
        return found
    values = np.asarray(means["mean"].to_numpy())
    found |= dict(zip(PROBABILITIES, values.tolist(), strict=True))
    found["emotion"] = means["emotion"][int(values.argmax())].as_py()
    found["expressiveness"] = 1 - found["p_neutral"]
    needed = ["timestamp_ms", "duration_ms", "valence"]
    seen = _together((batch.select(needed) for batch in run.rows_of("faces", content)), FACES, needed)
    # Each frame counts by its time, whatever the number of its faces.
    _, frame, count = np.unique(column(seen, "timestamp_ms"), return_inverse=True, return_counts=True)
    weights = column(seen, "duration_ms") / count[frame]
    found["valence"] = float(weighted(column(seen, "valence"), weights)) if seen.num_rows else None
    return found


def _together(batches: Iterator[pa.Table], schema: pa.Schema, names: list[str] | None = None) -> pa.Table:
    empty = pa.schema([schema.field(name) for name in names or schema.names]).empty_table()
    return pa.concat_tables([empty, *batches]).combine_chunks()


def shaped(table: pa.Table, columns: tuple[Column, ...]) -> pa.Table:
    """The table with exactly these columns, in their order and types."""
    return table.select([c.name for c in columns]).cast(_schema(columns))


def from_rows(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> Iterator[pa.Table]:
    """Rows that are few enough to be in memory, as a stream; what a row does not name is missing."""
    yield pa.Table.from_pylist(rows, schema=_schema(columns))


def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([(c.name, c.kind) for c in columns])


def regrouped(stream: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows`, the last one shorter."""
    waiting: list[pa.Table] = []
    count = 0
    for table in stream:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            waiting, count = [joined.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting)
