"""A run's tables without some of their rows: a person's, or those whose time is up.

What is left is as if the rows had never been there: frames' means are made of the faces that remain, faces are numbered
anew within their frame, and a frame that showed nobody else goes, as nothing true could be said of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_batch.ledger import pieces
from fer_batch.purged import PURGED
from fer_batch.rewrite import Rewrite
from fer_batch.schema import PROBABILITIES, TABLES, VIDEOS
from fer_batch.store import PARQUET, Run, atomic_write, read_table, sort_keys


@dataclass(frozen=True)
class Removal:
    """What goes.

    Attributes:
        videos: contents of which nothing stays, their rows of the ledger neither.
        paths: rows of the ledger that go though they have no content.
        faces: of other contents, at privacy level ``faces``: int64 (n, 2), `frame_index` and `face_index`.
        tracks: of other contents, at privacy level ``tracks``: track numbers.
        renamed: paths that the ledger must not name, and what stands there instead.
        parts: part files that go with all their rows, while the ledger's rows stay.
        why: for the ledger's rows of `parts`.
    """

    videos: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    faces: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    tracks: Mapping[str, frozenset[int]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    parts: frozenset[str] = frozenset()
    why: str = ""

    @property
    def in_part(self) -> frozenset[str]:
        """Contents of which some rows stay."""
        return frozenset(self.faces) | frozenset(self.tracks)


@dataclass(frozen=True)
class Removed:
    """What went.

    Attributes:
        rows: rows removed, by table; ``videos`` is the ledger.
        n_bytes: size of the files that are replaced or go, less that of those that replace them.
        tracks: of each content of which some rows stay, how many tracks went.
        paths: paths that the ledger no longer names.
    """

    rows: dict[str, int]
    n_bytes: int
    tracks: dict[str, int]
    paths: frozenset[str]


def prepare(run: Run, removal: Removal, rewrite: Rewrite) -> Removed:
    """Write all tables that change, where `rewrite` keeps them until it is decided.

    Args:
        run: with its ledger joined and mended.
        removal: what goes.
        rewrite: of the same run.

    Raises:
        RefusedError: a table is damaged.
        StoppedError: the disk is full.
    """
    touched = _parts(run, removal)
    rows = dict.fromkeys((*TABLES[run.level], "videos"), 0)
    n_bytes = 0
    updates: dict[str, dict[str, Any]] = {}
    tracks: dict[str, int] = {}
    for part in sorted({*touched, *removal.parts}):
        files = {folder: run.path / folder / part for folder in TABLES[run.level]}
        before = {folder: read_table(file) for folder, file in files.items() if file.exists()}
        kept = {folder: table.slice(0, 0) for folder, table in before.items()}
        if part not in removal.parts:
            kept = {folder: _without_videos(table, removal.videos) for folder, table in before.items()}
            for video_id in sorted(removal.in_part & touched[part]):
                mine = {name: table.filter(pc.equal(table["video_id"], video_id)) for name, table in kept.items()}
                left = _without_person(mine, removal, video_id)
                updates[video_id] = _numbers(left)
                tracks[video_id] = _n_tracks(mine) - _n_tracks(left)
                kept = {name: _with(table, video_id, left[name]) for name, table in kept.items()}
        for folder, table in before.items():
            rows[folder] += len(table) - len(kept[folder])
            n_bytes += files[folder].stat().st_size
            if any(len(table) for table in kept.values()):
                rewrite.table(files[folder], kept[folder])
                n_bytes -= rewrite.staged(files[folder]).stat().st_size
            else:
                rewrite.remove(files[folder])
    rows["videos"], paths = _ledger(run, removal, updates, rewrite)
    return Removed(rows, n_bytes, tracks, paths)


def _parts(run: Run, removal: Removal) -> dict[str, set[str]]:
    """Parts that hold rows of what goes, with those of these contents that each holds."""
    wanted = removal.videos | removal.in_part
    touched: dict[str, set[str]] = {}
    for table in pieces(run, ["video_id", "part"]):
        for row in table.filter(_is_in(table["video_id"], wanted)).to_pylist():
            if row["part"] is not None:
                touched.setdefault(row["part"], set()).add(row["video_id"])
    return touched


def _without_videos(table: pa.Table, videos: frozenset[str]) -> pa.Table:
    return table.filter(pc.invert(_is_in(table["video_id"], videos)))


def _with(table: pa.Table, video_id: str, rows: pa.Table) -> pa.Table:
    """The table with these rows in the place of a content's."""
    joined = pa.concat_tables([table.filter(pc.not_equal(table["video_id"], video_id)), rows.cast(table.schema)])
    return joined.sort_by([(key, "ascending") for key in sort_keys(table.schema)])


def _without_person(tables: dict[str, pa.Table], removal: Removal, video_id: str) -> dict[str, pa.Table]:
    if video_id in removal.faces:
        return without_faces(tables["faces"], tables["frames"], removal.faces[video_id])
    return without_tracks(tables, removal.tracks[video_id])


def without_faces(faces: pa.Table, frames: pa.Table, gone: NDArray[np.int64]) -> dict[str, pa.Table]:
    """One video's tables without some faces.

    Args:
        faces, frames: its rows, in order.
        gone: int64 (n, 2), `frame_index` and `face_index` of faces.
    """
    frame_of, index = faces["frame_index"].to_numpy(), faces["face_index"].to_numpy().astype(np.int64)
    is_gone = np.isin(_key(frame_of, index), _key(gone[:, 0], gone[:, 1]))
    affected = np.unique(frame_of[is_gone])
    kept = faces.filter(pa.array(~is_gone))
    frame_of = kept["frame_index"].to_numpy()
    _, first, of = np.unique(frame_of, return_index=True, return_inverse=True)
    numbers = np.arange(len(frame_of)) - first[of] if len(frame_of) else np.empty(0, np.int64)
    kept = _set(kept, "face_index", pa.array(numbers, pa.int16()))
    all_frames = frames["frame_index"].to_numpy()
    seen = np.isin(all_frames, affected)
    stays = ~seen | np.isin(all_frames, frame_of)
    frames, seen = frames.filter(pa.array(stays)), seen[stays]
    probabilities = np.column_stack([kept[name].to_numpy() for name in PROBABILITIES])
    counts = frames["n_faces"].to_numpy().copy()
    means = [frames[name].to_pylist() for name in PROBABILITIES]
    for row in np.flatnonzero(seen):
        mine = probabilities[frame_of == frames["frame_index"][row].as_py()]
        counts[row] = len(mine)
        for column, value in zip(means, mine.mean(axis=0), strict=True):
            column[row] = value
    frames = _set(frames, "n_faces", pa.array(counts, pa.int16()))
    for name, column in zip(PROBABILITIES, means, strict=True):
        frames = _set(frames, name, pa.array(column, pa.float32()))
    return {"faces": kept, "frames": frames}


def without_tracks(tables: Mapping[str, pa.Table], gone: frozenset[int]) -> dict[str, pa.Table]:
    """One video's tables of privacy level `tracks` without some tracks.

    Nobody knows in which frames these were seen, so the frames from a track's first to its last face go with it.
    """
    numbers = pa.array(sorted(gone), pa.int32())
    away = tables["tracks"].filter(pc.is_in(tables["tracks"]["track_id"], numbers))
    frames = tables["frames"]
    times = frames["timestamp_ms"].to_numpy()
    inside = np.zeros(len(times), bool)
    for start, end in zip(away["start_ms"].to_pylist(), away["end_ms"].to_pylist(), strict=True):
        inside |= (times >= start) & (times < max(end, start + 1))
    left = {name: tables[name].filter(pc.invert(pc.is_in(tables[name]["track_id"], numbers)))
            for name in ("tracks", "track_bins")}  # fmt: skip
    return {**left, "frames": frames.filter(pa.array(~inside))}


def _key(frame_index: NDArray[np.int64], face_index: NDArray[np.int64]) -> NDArray[np.int64]:
    return frame_index * (1 << 16) + face_index


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(position), values)


def _n_tracks(tables: Mapping[str, pa.Table]) -> int:
    table = tables["tracks"] if "tracks" in tables else tables["faces"]
    return len(pc.unique(table["track_id"]))


def _numbers(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    """What the ledger says of a video's rows."""
    frames = tables["frames"]
    with_face = frames.filter(pc.greater(frames["n_faces"], 0))
    return {
        "n_sampled": len(frames),
        "n_with_face": len(with_face),
        "n_faces": len(tables["faces"]) if "faces" in tables else pc.sum(frames["n_faces"]).as_py() or 0,
        "n_tracks": _n_tracks(tables),
        "sampled_ms": pc.sum(frames["duration_ms"]).as_py() or 0,
        "with_face_ms": pc.sum(with_face["duration_ms"]).as_py() or 0,
    }


def _ledger(
    run: Run, removal: Removal, updates: dict[str, dict[str, Any]], rewrite: Rewrite
) -> tuple[int, frozenset[str]]:
    """Prepare the ledger; tells how many rows go, and which paths it no longer names."""
    if not run.ledger.is_file():
        return 0, frozenset()
    schema = pq.read_schema(run.ledger)
    gone: set[str] = set()
    n_gone = 0
    with atomic_write(rewrite.staged(run.ledger)) as file, pq.ParquetWriter(file, schema, **PARQUET) as writer:
        for table in pieces(run, VIDEOS.names):
            goes = pc.or_(_is_in(table["video_id"], removal.videos), _is_in(table["path"], removal.paths))
            gone.update(table.filter(goes)["path"].to_pylist())
            stays = table.filter(pc.invert(goes))
            n_gone += len(table) - len(stays)
            gone.update(set(stays["path"].to_pylist()) & set(removal.renamed))
            writer.write_table(_changed(stays, removal, updates).cast(schema))
    return n_gone, frozenset(gone)


def _changed(table: pa.Table, removal: Removal, updates: dict[str, dict[str, Any]]) -> pa.Table:
    """Rows of the ledger with the new numbers and names."""
    touched = pc.or_(
        pc.or_(_is_in(table["video_id"], updates), _is_in(table["path"], removal.renamed)),
        _is_in(table["part"], removal.parts),
    )
    rows = []
    for found in table.filter(touched).to_pylist():
        row = found | updates.get(found["video_id"], {})
        if row["part"] in removal.parts:
            row |= {"part": None, "error_code": PURGED, "error": removal.why}
        if (new := removal.renamed.get(row["path"])) is not None:
            error = row["error"] and row["error"].replace(row["path"], new)
            row |= {"path": new, "path_bytes": None, "error": error}
        rows.append(row)
    if not rows:
        return table
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    return pa.concat_tables([table.filter(pc.invert(touched)), changed]).sort_by("path")


def _is_in(column: pa.ChunkedArray, values: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(sorted(values), pa.string()))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    if path.is_dir():
        return sum(os.lstat(file).st_size for file in path.rglob("*") if not file.is_dir())
    return os.lstat(path).st_size if path.exists() else 0
