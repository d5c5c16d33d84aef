"""Reads a run for its pages: the ledger once, then one video's rows at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fer_batch.errors import RefusedError
from fer_batch.schema import FACES, FRAMES, PROBABILITIES
from fer_batch.store import Run

FRAME_COLUMNS: Final = ("timestamp_ms", "duration_ms", "n_faces", *PROBABILITIES, "reason")
"""The columns of the table `frames` that pages use."""

FACE_COLUMNS: Final = (
    "timestamp_ms",
    "duration_ms",
    "track_id",
    "face_size",
    *PROBABILITIES,
    "valence",
    "expressiveness",
)
"""The columns of the table `faces` that pages use."""

_TOP: Final = ("state", "created", "updated", "inputs", "fer_batch_version", "purpose")
_INNER: Final = {
    "config": ("model_sha256", "backend", "precision"),
    "model": ("name", "sha256", "input_size", "figures", "card"),
    "counts": ("files", "passed_over"),
    "versions": (),
}

_SAFE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")


class RunTables:
    """One consistent view of a run's tables, also while the run goes on.

    :class:`fer_batch.store.Run` reads the ledger at each call, which is right for a caller with one question and slow
    for one with a question a video. Here the ledger is read once; each video's rows then come from the one part that
    the ledger names, so that no more than one video's rows are in memory.

    Attributes:
        info: the content of ``run.json``; what pages use and the file does not say is None.
        ledger: the ledger (:data:`fer_batch.schema.VIDEOS`), sorted by path.
    """

    def __init__(self, run: Run) -> None:
        """
        Raises:
            RefusedError: the ledger holds an id or a part that is no plain file name. Both become paths here.
        """
        self.path = run.path
        self.info = _complete(run.info)
        self.ledger = run.videos()
        self._folders = {"faces": Path(run.faces_dir), "frames": Path(run.frames_dir)}
        self._parts: dict[str, str] = {}
        ids, parts = self.ledger["video_id"].to_pylist(), self.ledger["part"].to_pylist()
        for video_id, part in zip(ids, parts, strict=True):
            if video_id is None or part is None:
                continue
            if not _SAFE_ID.fullmatch(video_id) or Path(part).name != part:
                raise RefusedError(f"the ledger of {run.path} is damaged: video_id {video_id!r} in part {part!r}")
            # The same content found twice has two ledger rows and one set of rows in the tables.
            self._parts[video_id] = part

    def rows(self) -> Iterator[dict[str, Any]]:
        """The ledger's rows, one at a time."""
        for batch in self.ledger.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def has_rows(self, video_id: str | None) -> bool:
        """Whether the ledger names a part that holds this video's rows."""
        return video_id in self._parts

    def frames(self, video_id: str) -> pa.Table | None:
        """One video's sampled frames in order of time (:data:`FRAME_COLUMNS`); None where the part is gone."""
        return self._read("frames", FRAMES, FRAME_COLUMNS, video_id)

    def faces(self, video_id: str) -> pa.Table | None:
        """One video's faces in order of time (:data:`FACE_COLUMNS`); None where the part is gone."""
        return self._read("faces", FACES, FACE_COLUMNS, video_id)

    def _read(self, kind: str, schema: pa.Schema, columns: tuple[str, ...], video_id: str) -> pa.Table | None:
        part = self._folders[kind] / self._parts[video_id]
        if not part.is_file():
            return None
        dataset = ds.dataset(str(part), schema=schema, format="parquet")
        table = dataset.to_table(columns=list(columns), filter=pc.field("video_id") == video_id)
        return table.sort_by("timestamp_ms")


def _complete(info: dict[str, Any]) -> dict[str, Any]:
    """All keys that pages use, so that a template's misspelt key is an error and an absent one is not."""
    inner = {name: {**dict.fromkeys(keys), **(info.get(name) or {})} for name, keys in _INNER.items()}
    return {**dict.fromkeys(_TOP), **info, **inner}
