"""Reads a run for its pages: the ledger once, then one video's rows at a time, in one pass over the part files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_batch.bundle import DEFAULT_BUNDLE
from fer_batch.bundle_folder import DESCRIPTION
from fer_batch.errors import RefusedError
from fer_batch.lease import Lease
from fer_batch.schema import FACES, FRAMES, PROBABILITIES, TRACK_BINS, TRACKS
from fer_batch.store import MEND, Run, read_table

FRAME_COLUMNS: Final = ("timestamp_ms", "duration_ms", "n_faces", *PROBABILITIES, "reason")
"""The columns of the table `frames` that pages use."""

FACE_COLUMNS: Final = (
    "frame_index",
    "timestamp_ms",
    "duration_ms",
    "track_id",
    "x",
    "y",
    "w",
    "h",
    "det_score",
    "face_size",
    "sharpness",
    *PROBABILITIES,
    "valence",
    "expressiveness",
)
"""The columns of the table `faces` that pages use."""

BATCH_ROWS: Final = 16_384
"""Rows of a part that are decoded at once; a video that has more is put together from several batches."""

_TOP: Final = ("state", "created", "updated", "inputs", "fer_batch_version", "purpose")
_INNER: Final = {
    "config": ("model_sha256", "backend", "precision"),
    "model": ("name", "sha256", "input_size", "figures", "provenance"),
    "counts": ("files", "passed_over"),
    "versions": (),
}

_SAFE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class VideoTables:
    """One video's rows.

    Attributes:
        video_id: the content's fingerprint; a plain file name.
        frames: its sampled frames in order of time (:data:`FRAME_COLUMNS`); None where they cannot be read.
        faces: its faces in order of time (:data:`FACE_COLUMNS`); likewise.
        problem: why they cannot be read, for the reader of the page.
    """

    video_id: str
    frames: pa.Table | None
    faces: pa.Table | None
    problem: str | None = None


@dataclass(frozen=True)
class TrackTables:
    """One video's rows at privacy level `tracks`.

    Attributes:
        video_id: the content's fingerprint; a plain file name.
        frames: its sampled frames in order of time (:data:`FRAME_COLUMNS`, without probabilities).
        tracks: its tracks (:data:`fer_batch.schema.TRACKS` but for the id).
        bins: their bins of time (:data:`fer_batch.schema.TRACK_BINS` but for the id).
    """

    video_id: str
    frames: pa.Table
    tracks: pa.Table
    bins: pa.Table


class RunTables:
    """One consistent view of a run's tables, also while the run goes on.

    :class:`fer_batch.store.Run` reads the ledger at each call, which is right for a caller with one question and slow
    for one with a question a video. Here the ledger is read once, and :meth:`videos` reads each part file that it names
    once, so that no more than one video's rows and a batch of its neighbours' are in memory.

    Attributes:
        info: the content of ``run.json``; what pages use and the file does not say is None. A run that says that it
            runs and that nobody works on is ``broken off``.
        ledger: the ledger (:data:`fer_batch.schema.VIDEOS`), sorted by path.
    """

    def __init__(self, run: Run) -> None:
        """
        Raises:
            RefusedError: the ledger holds an id or a part that is no plain file name. Both become paths here.
        """
        self.path = run.path
        self.info = _complete(run.info)
        if self.info["state"] == "running" and Lease(run.work_dir / "lease.json").holder() is None:
            self.info["state"] = "broken off"  # killed: it had no time to say so
        self.ledger = run.videos()
        self._folders = {"faces": Path(run.faces_dir), "frames": Path(run.frames_dir),
                         "tracks": self.path / "tracks", "track_bins": self.path / "track_bins"}  # fmt: skip
        self._parts: dict[str, set[str]] = {}
        ids, parts = self.ledger["video_id"].to_pylist(), self.ledger["part"].to_pylist()
        part_of = {}
        for video_id, part in zip(ids, parts, strict=True):
            if video_id is None or part is None:
                continue
            if not _SAFE_ID.fullmatch(video_id) or Path(part).name != part:
                raise RefusedError(f"the ledger of {run.path} is damaged: video_id {video_id!r} in part {part!r}")
            # The same content found twice has two ledger rows and one set of rows in the tables.
            part_of[video_id] = part
        for video_id, part in part_of.items():
            self._parts.setdefault(part, set()).add(video_id)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The ledger's rows, one at a time."""
        for batch in self.ledger.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def videos(self) -> Iterator[VideoTables]:
        """Each video that has rows, part by part; the ledger's order plays no role.

        Raises:
            RefusedError: a part is not sorted by video.
        """
        for part in sorted(self._parts):
            yield from self._part(part, sorted(self._parts[part]))

    def tracks(self) -> Iterator[TrackTables]:
        """As :meth:`videos`, of a run at privacy level `tracks`.

        Raises:
            RefusedError: a part is missing, damaged or not sorted by video.
        """
        wanted = (("frames", FRAMES, FRAME_COLUMNS), ("tracks", TRACKS, tuple(TRACKS.names[1:])),
                  ("track_bins", TRACK_BINS, tuple(TRACK_BINS.names[1:])))  # fmt: skip
        for part in sorted(self._parts):
            try:
                files = [_Videos(self._folders[name] / part, schema, columns) for name, schema, columns in wanted]
                for video_id in sorted(self._parts[part]):
                    yield TrackTables(video_id, *(file.rows_of(video_id) for file in files))
            except (pa.ArrowInvalid, OSError) as error:
                what = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
                raise RefusedError(f"{self.path}: a file that holds rows ({part}) {what}; {MEND}") from error

    def _part(self, part: str, ids: list[str]) -> Iterator[VideoTables]:
        try:
            frames = _Videos(self._folders["frames"] / part, FRAMES, FRAME_COLUMNS)
            faces = _Videos(self._folders["faces"] / part, FACES, FACE_COLUMNS)
            for video_id in ids:
                yield VideoTables(video_id, frames.rows_of(video_id), faces.rows_of(video_id))
                ids = ids[1:]
        except (pa.ArrowException, OSError):
            problem = self._problem(part)
            for video_id in ids:
                yield VideoTables(video_id, None, None, problem)

    def _problem(self, part: str) -> str:
        """Which of a part's files cannot be read, and what to do."""
        which, what = part, "cannot be read"
        for name in ("frames", "faces"):
            try:
                read_table(self._folders[name] / part)
            except FileNotFoundError:
                which, what = f"{name}/{part}", "is missing"
            except RefusedError:
                which, what = f"{name}/{part}", "is damaged"
        return f"The file that holds its rows ({which}) {what}: {MEND}."


class _Videos:
    """The videos of a part file one after the other: it is sorted by video and time."""

    def __init__(self, path: Path, schema: pa.Schema, columns: tuple[str, ...]) -> None:
        self._path = path
        self._columns = list(columns)
        self._schema = pa.schema([schema.field(name) for name in columns])
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        self._runs = self._read()
        self._next = next(self._runs, None)

    def rows_of(self, video_id: str) -> pa.Table:
        """A video's rows, none where it is not in the file. Videos must be asked for in order."""
        found = []
        while self._next is not None and self._next[0] <= video_id:
            if self._next[0] == video_id:
                found.append(self._next[1])
            self._next = next(self._runs, None)
        return pa.concat_tables(found).combine_chunks() if found else self._schema.empty_table()

    def _read(self) -> Iterator[tuple[str, pa.Table]]:
        """Stretches of rows of one video each; a video may have several."""
        latest = ""
        for batch in self._file.iter_batches(BATCH_ROWS, columns=["video_id", *self._columns], use_threads=False):
            table = pa.Table.from_batches([batch])
            ids = table["video_id"].combine_chunks()
            runs = pc.run_end_encode(ids)
            start = 0
            for video_id, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                if video_id < latest:
                    raise RefusedError(f"{self._path} is not sorted by video_id; restore it or run again with --redo")
                latest = video_id
                yield video_id, table.slice(start, end - start).select(self._columns).cast(self._schema)
                start = end


def _complete(info: dict[str, Any]) -> dict[str, Any]:
    """All keys that pages use, so that a template's misspelt key is an error and an absent one is not."""
    inner = {name: {**dict.fromkeys(keys), **(info.get(name) or {})} for name, keys in _INNER.items()}
    if inner["model"]["provenance"] is None:
        inner["model"]["provenance"] = _shipped_provenance(inner["model"]["sha256"])
    return {**dict.fromkeys(_TOP), **info, **inner}


def _shipped_provenance(sha256: str | None) -> dict[str, Any] | None:
    """What the model that ships says of its limits, if it is the run's: runs did not always write it down."""
    data = (DEFAULT_BUNDLE / DESCRIPTION).read_bytes() if (DEFAULT_BUNDLE / DESCRIPTION).is_file() else b""
    if not sha256 or hashlib.sha256(data).hexdigest() != sha256:
        return None
    found = json.loads(data).get("provenance")
    return found if isinstance(found, dict) else None
