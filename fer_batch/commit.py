"""Commits: what a worker writes so that it is never done again, and how that is found after an interruption.

Whole videos of a unit share one part file a table. A part counts once a ledger file names it, and that file is
written last. A segment of a longer video is kept under ``work/units`` until its video is complete; the last of its
files carries the counts, so it alone says that the segment is done.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.config import PrivacyLevel
from fer_batch.errors import StoppedError, VideoError
from fer_batch.object_path import AnyPath, remove_all
from fer_batch.plan import Segment, disjoint, tiling
from fer_batch.probe import VideoInfo
from fer_batch.process import RunContext
from fer_batch.schema import TABLES, VIDEOS, with_metadata
from fer_batch.store import parquet_footer, read_table, sort_keys, write_table
from fer_batch.tables import FinalVideo, SegmentTables, ledger_table

SEGMENT_COUNTS: Final = b"fer_batch_segment"
"""Metadata of a segment's last table: its counts, as JSON."""

LAST: Final = ("frames", "bins")
"""The table of a segment that is written last, at privacy levels `faces` and `aggregate`; `tracks` has no segments."""


@dataclass(frozen=True)
class Counts:
    """What some ledger rows add up to."""

    ok: int = 0
    partial: int = 0
    failed: int = 0
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    media_ms: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def videos(self) -> int:
        """Videos that are done, well or not."""
        return self.ok + self.partial + self.failed

    @classmethod
    def of(cls, ledger: pa.Table, seen: set[int] | None = None) -> Counts:
        """Counts of a ledger table: files by status, and the rows of their distinct videos.

        Args:
            ledger: the table, or a piece of it.
            seen: hashes of the videos in the pieces before, whose copies are not counted again; grows.
        """
        statuses = dict(zip(*np_counts(ledger["status"]), strict=True))
        seen = set() if seen is None else seen  # copies of a video share its rows
        ids = [hash(video_id) for video_id in ledger["video_id"].to_pylist()]
        once = [not (row in seen or seen.add(row)) for row in ids]  # type: ignore[func-returns-value]
        ledger = ledger.filter(pa.array(once, pa.bool_()))
        sums = [pc.sum(ledger[name]).as_py() or 0 for name in ("n_sampled", "n_faces", "n_tracks", "duration_ms")]
        return cls(statuses.get("ok", 0), statuses.get("partial", 0), statuses.get("failed", 0), *sums)


def np_counts(column: pa.ChunkedArray) -> tuple[list[str], list[int]]:
    """Distinct values of a column and how often each occurs."""
    counted = pc.value_counts(column)
    return counted.field("values").to_pylist(), counted.field("counts").to_pylist()


def create_folders(path: AnyPath, level: PrivacyLevel = "faces") -> None:
    """Make a run's folders: those of its tables, by its privacy level, and all others.

    Raises:
        StoppedError: they cannot be made.
    """
    for name in (*TABLES[level], "report", "work/ledger", "work/units"):
        _make_folder(path / name)


def _make_folder(path: AnyPath) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make the folder {path}: {error.strerror}; choose another --out") from error


def commit_rows(path: AnyPath, name: str, rows: list[dict[str, Any]], metadata: dict[str, str]) -> Counts:
    """Add rows to the ledger, in a file of their own that sorts after all that were written before."""
    table = ledger_table(rows, with_metadata(VIDEOS, metadata))
    write_table(path / "work" / "ledger" / f"{time.time_ns():020d}-{name}.parquet", table)
    return Counts.of(table)


def commit_videos(context: RunContext, name: str, videos: list[FinalVideo], failed: list[dict[str, Any]]) -> Counts:
    """Write complete videos: their rows in one part a table, then the ledger's rows."""
    if videos:
        for folder, schema in TABLES[context.config.privacy.level].items():
            joined = pa.concat_tables([video.tables[folder] for video in videos]).sort_by(
                [(key, "ascending") for key in sort_keys(schema)]
            )
            write_table(context.path / folder / part_name(name), _cast(joined, with_metadata(schema, context.metadata)))
    rows = [context.names.row(row) for row in [video.ledger for video in videos] + failed]
    return commit_rows(context.path, name, rows, context.metadata)


def part_name(name: str) -> str:
    """File name of a part."""
    return f"part-{name}.parquet"


def commit_segment(context: RunContext, segment: Segment, found: SegmentTables) -> None:
    """Keep one segment of a longer video until the others are done."""
    folder = context.path / "work" / "units" / segment.video.video_id
    _make_folder(folder)
    counts = {
        "start_pts": segment.start.pts,
        "end_pts": segment.end_pts,
        "n_frames": found.n_frames,
        "n_decoded": found.n_decoded,
        "broken_at_ms": found.broken_at_ms,
        "wall_s": found.wall_s,
    }
    stem = f"{segment.start.pts}_{segment.end_pts}"
    for name, table in found.tables.items():
        metadata = table.schema.metadata or {}
        if name in LAST:
            metadata = {**metadata, SEGMENT_COUNTS: json.dumps(counts).encode()}
        write_table(folder / f"{stem}.{name}.parquet", table.replace_schema_metadata(metadata))


def committed_segments(path: AnyPath, video_id: str) -> list[tuple[int, int]]:
    """PTS ranges of a video that are done already, in order; none overlaps another."""
    return disjoint((counts["start_pts"], counts["end_pts"]) for _, counts in _segment_files(path, video_id))


def joined_segments(context: RunContext, video: VideoInfo) -> list[SegmentTables]:
    """The committed segments of a video, by time. They stay: see :func:`forget_segments`.

    Raises:
        VideoError: a segment is missing.
    """
    parts = []
    by_range = {(counts["start_pts"], counts["end_pts"]): (file, counts)
                for file, counts in _segment_files(context.path, video.video_id)}  # fmt: skip
    whole = tiling(by_range, video.start_pts, video.end_pts)
    if whole is None:
        folder = context.path / "work" / "units" / video.video_id
        raise VideoError("internal_error", f"segments that were committed are gone from {folder}")
    for last_file, counts in (by_range[part] for part in whole):
        extra = {name: counts[name] for name in ("n_frames", "n_decoded", "broken_at_ms", "wall_s")}
        tables = {name: read_table(beside(last_file, name)) for name in TABLES[context.config.privacy.level]}
        parts.append(SegmentTables(tables, **extra))
    return parts


def forget_segments(path: AnyPath, video_id: str) -> None:
    """Remove the segments of a video that was joined. Only the driver does, once it knows: a join may be repeated."""
    remove_all(path / "work" / "units" / video_id, ignore_errors=True)  # what stays goes with the folder work/


def committed_rows(path: AnyPath, name: str, since_ns: int) -> pa.Table | None:
    """The ledger's rows that were committed under `name` at or after a time (ns since 1970), None if there are none."""
    files: list[Any] = sorted((path / "work" / "ledger").glob(f"*-{name}.parquet"))
    if not files or int(files[-1].name.partition("-")[0]) < since_ns:
        return None
    return read_table(files[-1])


def committed_segment(path: AnyPath, segment: Segment) -> tuple[int, int] | None:
    """How many frames and faces were committed of a segment, None if it was not; of bins neither is counted."""
    stem = f"{segment.start.pts}_{segment.end_pts}"
    folder = path / "work" / "units" / segment.video.video_id
    if (folder / f"{stem}.bins.parquet").is_file():
        return 0, 0
    files = [folder / f"{stem}.{table}.parquet" for table in ("frames", "faces")]
    if not files[0].is_file():
        return None
    n_frames, n_faces = (parquet_footer(file).num_rows for file in files)
    return n_frames, n_faces


def beside(last_file: Any, table: str) -> Any:
    """The file of another table of the same segment."""
    stem = last_file.name.partition(".")[0]
    return last_file.with_name(f"{stem}.{table}.parquet")


def _segment_files(path: AnyPath, video_id: str) -> list[tuple[AnyPath, dict[str, Any]]]:
    """The last files of a video's committed segments with their counts, by time."""
    folder = path / "work" / "units" / video_id
    files = [file for name in LAST for file in folder.glob(f"*.{name}.parquet")]
    found = [(file, json.loads(parquet_footer(file).metadata[SEGMENT_COUNTS])) for file in files]
    return sorted(found, key=lambda item: int(item[1]["start_pts"]))


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).cast(schema)
