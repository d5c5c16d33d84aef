"""What a worker does: probe files, process a unit and commit it, join a long video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fer_batch.aggregate import binned, binned_video
from fer_batch.commit import (
    Counts,
    commit_rows,
    commit_segment,
    commit_videos,
    committed_rows,
    committed_segment,
    joined_segments,
    part_name,
)
from fer_batch.config import Detection, RunConfig
from fer_batch.detect import FaceDetector
from fer_batch.errors import VideoError
from fer_batch.lease import check_lease
from fer_batch.object_path import AnyPath, as_path
from fer_batch.plan import Segment, Unit
from fer_batch.probe import VideoInfo, probe
from fer_batch.process import RunContext, Scores, Seconds, SegmentResult, process_segments
from fer_batch.staging import allow_copies, forget_copy
from fer_batch.tables import FinalVideo, SegmentTables, detections, failed_row, final_video
from fer_batch.track_tables import without_faces
from fer_batch.watchdog import beat, watched


@dataclass(frozen=True)
class Probed:
    """What probing some files found: videos, and the count of those entered in the ledger as failed."""

    videos: list[VideoInfo]
    failed: Counts
    failures: list[tuple[AnyPath, str]]


@dataclass(frozen=True)
class UnitDone:
    """What came of a unit.

    Attributes:
        counts: of the videos that it completed.
        seconds: where the time went.
        n_frames, n_faces: sampled in this unit; faces are not counted at privacy level ``aggregate``.
        failures: videos that failed, with the reason; `dropped` are those of which other segments are still to come.
    """

    counts: Counts
    seconds: Seconds
    n_frames: int
    n_faces: int
    failures: list[tuple[AnyPath, str]]
    dropped: list[Segment]


def probe_files(paths: Sequence[AnyPath], context: RunContext) -> Probed:
    """Probe some files; those that are no usable video go into the ledger."""
    videos: list[VideoInfo] = []
    rows: list[dict[str, Any]] = []
    failures: list[tuple[AnyPath, str]] = []
    allow_copies(context.copies, context.workers)
    with watched(context.stall_s, context.stalled, context.memory_bytes):
        for path in paths:
            beat(context.names.text(path))
            try:
                videos.append(probe(path))
            except VideoError as error:
                rows.append(context.names.row(failed_row(path, error)))
                failures.append((path, f"{error.code}: {error}"))
    if not rows:
        return Probed(videos, Counts(), failures)
    _check_lease(context)
    return Probed(videos, commit_rows(context.path, "probe", rows, context.metadata), failures)


def do_unit(unit: Unit, context: RunContext, scores: Scores) -> UnitDone:
    """Process and commit a unit."""
    seconds = Seconds()
    allow_copies(context.copies, context.workers)
    detector = _detector(context.detector, context.config.detection)
    with watched(context.stall_s, context.stalled, context.memory_bytes):
        results = process_segments(unit.segments, context, detector, scores, seconds)
    finals, failed, failures, dropped = [], [], [], []
    _check_lease(context)
    with seconds.measure("write"):
        for result in results:
            segment = result.segment
            if result.error is not None:
                failed.append(failed_row(segment.video.path, result.error, segment.video))
                failures.append((segment.video.path, f"{result.error.code}: {result.error}"))
                if not segment.is_whole:
                    dropped.append(segment)
            elif segment.is_whole:
                part = part_name(unit.unit_id)
                finals.append(_final(segment.video, [_kept(result, context.config)], context.config, part))
            else:
                commit_segment(context, segment, _kept(result, context.config))
        counts = commit_videos(context, unit.unit_id, finals, failed) if finals or failed else Counts()
    for segment in unit.segments:
        if segment.is_whole:
            forget_copy(segment.video.path)
    return UnitDone(
        counts,
        seconds,
        sum(len(result.samples) for result in results),
        0 if context.config.privacy.level == "aggregate" else sum(len(result.probabilities) for result in results),
        failures,
        dropped,
    )


def join(context: RunContext, video: VideoInfo) -> Counts:
    """Join a long video's segments and commit it.

    Raises:
        VideoError: a segment is missing.
    """
    _check_lease(context)
    name = video.video_id
    final = _final(video, joined_segments(context, video), context.config, part_name(name))
    return commit_videos(context, name, [final], [])


def _kept(result: SegmentResult, config: RunConfig) -> SegmentTables:
    """What of a segment is kept until its video is complete."""
    return binned(result, config) if config.privacy.level == "aggregate" else detections(result)


def _final(video: VideoInfo, parts: list[SegmentTables], config: RunConfig, part: str) -> FinalVideo:
    """A video's rows, as fine as the privacy level lets them be."""
    if config.privacy.level == "aggregate":
        return binned_video(video, parts, config, part)
    final = final_video(video, parts, config, part)
    return without_faces(final, config) if config.privacy.level == "tracks" else final


def committed_before(unit: Unit, context: RunContext, since_ns: int) -> UnitDone | None:
    """What a worker that died had committed of a unit, None if nothing: all of it, as a unit is committed at once.

    Args:
        unit: the unit.
        context: of the run.
        since_ns: when this driver began, in ns since 1970: what failed before may be what is tried again now.
    """
    table = committed_rows(context.path, unit.unit_id, since_ns)
    if table is not None:
        counts = Counts.of(table)
        failed = [(as_path(row["path"]), f"{row['error_code']}: {row['error']}")
                  for row in table.to_pylist() if row["status"] == "failed"]  # fmt: skip
        dropped = [] if unit.segments[0].is_whole else list(unit.segments)
        return UnitDone(counts, Seconds(), counts.frames, counts.faces, failed, dropped)
    sizes = None if unit.segments[0].is_whole else committed_segment(context.path, unit.segments[0])
    return None if sizes is None else UnitDone(Counts(), Seconds(), *sizes, [], [])


def _check_lease(context: RunContext) -> None:
    if context.lease:
        check_lease(context.lease_file, context.lease)


@lru_cache(maxsize=2)
def _detector(weights: Path, settings: Detection) -> FaceDetector:
    """A worker process keeps its detector from unit to unit."""
    return FaceDetector(weights, settings)
