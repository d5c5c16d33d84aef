"""From what was found to table rows: detections of a segment, final rows of a video, rows of the ledger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.config import RunConfig
from fer_batch.errors import VideoError
from fer_batch.object_path import AnyPath
from fer_batch.probe import VideoInfo
from fer_batch.process import SampledFrame, SegmentResult
from fer_batch.sampling import fill_durations
from fer_batch.schema import EMOTIONS, FACES, FRAMES, LANDMARKS, PROBABILITIES, VIDEOS
from fer_batch.track import assign_tracks


@dataclass(frozen=True)
class SegmentTables:
    """What is kept of a segment until its video is complete.

    Attributes:
        tables: by name. Of faces: :data:`fer_batch.schema.FACES`, `track_id` still 0, and then
            :data:`fer_batch.schema.FRAMES`; of bins: :data:`fer_batch.schema.BINS`.
        n_frames, n_decoded, broken_at_ms, wall_s, end_ms: see :class:`fer_batch.process.SegmentResult`.
    """

    tables: dict[str, pa.Table]
    n_frames: int
    n_decoded: int
    broken_at_ms: int | None
    wall_s: float
    end_ms: int | None = None


@dataclass(frozen=True)
class FinalVideo:
    """A video's rows, ready to be written.

    Attributes:
        tables: by name.
        ledger: its row of the ledger.
    """

    tables: dict[str, pa.Table]
    ledger: dict[str, Any]


def detections(result: SegmentResult) -> SegmentTables:
    """The tables of one segment."""
    found = (result.segment.video.video_id, result.samples, result.probabilities)
    return SegmentTables(
        {"faces": _faces_table(*found), "frames": _frames_table(*found)},
        result.n_frames,
        result.n_decoded,
        result.broken_at_ms,
        result.wall_s,
        result.end_ms,
    )


def final_video(video: VideoInfo, parts: Sequence[SegmentTables], config: RunConfig, part_name: str) -> FinalVideo:
    """Join a video's segments, in order, and number its tracks.

    Args:
        video: the video.
        parts: all of its segments' detections, by time.
        config: for the tracker and the sampled range.
        part_name: file that the rows will be written to.
    """
    faces = pa.concat_tables([part.tables["faces"] for part in parts])
    frames = pa.concat_tables([part.tables["frames"] for part in parts])
    video_ms = length_ms(video, parts)
    end_ms = video_ms if config.sampling.end_ms is None else min(video_ms, config.sampling.end_ms)
    timestamps, durations = frames["timestamp_ms"].to_pylist(), frames["duration_ms"].to_pylist()
    durations = fill_durations(config.sampling, timestamps, durations, end_ms)
    frames = _replace(frames, "duration_ms", pa.array(durations, pa.int32()))
    of_frame = pc.index_in(faces["frame_index"], frames["frame_index"].combine_chunks())
    faces = _replace(faces, "duration_ms", frames["duration_ms"].take(of_frame))
    boxes = np.column_stack([faces[name].to_numpy() for name in ("x", "y", "w", "h")]).astype(np.float64)
    step_ms = int(np.median(durations)) if durations else 0
    tracks = assign_tracks(faces["timestamp_ms"].to_numpy(), boxes, config.tracking, step_ms)
    faces = _replace(faces, "track_id", pa.array(tracks, pa.int32()))
    with_face = pc.greater(frames["n_faces"], 0)
    counts = {
        "n_sampled": len(frames),
        "n_with_face": pc.sum(with_face).as_py() or 0,
        "n_faces": len(faces),
        "n_tracks": pc.max(faces["track_id"]).as_py() or 0,
        "sampled_ms": pc.sum(frames["duration_ms"]).as_py() or 0,
        "with_face_ms": pc.sum(frames.filter(with_face)["duration_ms"]).as_py() or 0,
    }
    lost = pc.sum(pc.equal(frames["reason"], "decode_error")).as_py() or 0
    row = ledger_row(video, parts, part_name, video_ms, counts, lost)
    return FinalVideo({"faces": faces, "frames": frames}, row)


def length_ms(video: VideoInfo, parts: Sequence[SegmentTables]) -> int:
    """Length of a video: where packets do not tell it, decoding did, but for what damage kept from being decoded."""
    ends = [part.end_ms for part in parts if part.end_ms is not None]
    if not ends:
        return video.duration_ms
    is_damaged = any(part.broken_at_ms is not None for part in parts)
    return max(*ends, video.duration_ms) if is_damaged else max(ends)


def failed_row(path: AnyPath, error: VideoError, video: VideoInfo | None = None) -> dict[str, Any]:
    """The ledger's row for a file that could not be processed."""
    row = {**_path_columns(path), "status": "failed", "error_code": error.code, "error": error.message}
    if video is not None:
        return {**_video_columns(video), **row}
    try:
        status = path.stat()
    except OSError:
        return row
    return {**row, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def ledger_table(rows: list[dict[str, Any]], schema: pa.Schema = VIDEOS) -> pa.Table:
    """Rows of the ledger as a table; columns that a row lacks are null."""
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def path_text(path: AnyPath) -> str:
    r"""A path as text; bytes that are not UTF-8 are written as \\xNN."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


def file_columns(video: VideoInfo) -> dict[str, Any]:
    """The ledger's columns on the file itself, not on its content."""
    return {**_path_columns(video.path), "size_bytes": video.size_bytes, "mtime_ns": video.mtime_ns}


def _path_columns(path: AnyPath) -> dict[str, Any]:
    raw = os.fsencode(str(path))
    is_utf8 = path_text(path).encode() == raw
    return {"path": path_text(path), "path_bytes": None if is_utf8 else raw}


def _video_columns(video: VideoInfo) -> dict[str, Any]:
    same = ("video_id", "container", "codec", "width", "height", "rotation", "is_vfr")
    return {
        **file_columns(video),
        **{name: getattr(video, name) for name in same},
        "duration_ms": video.duration_ms,
        "avg_fps": video.avg_fps,
        "n_frames": video.n_frames,
        "broken_at_ms": video.broken_at_ms,
    }


def ledger_row(
    video: VideoInfo, parts: Sequence[SegmentTables], part_name: str, video_ms: int, counts: dict[str, Any], lost: int
) -> dict[str, Any]:
    """A video's row of the ledger.

    Args:
        video: the video.
        parts: all of its segments.
        part_name: file that its rows will be written to.
        video_ms: its length.
        counts: the columns that tell what was found; `n_sampled` is among them.
        lost: how many of the samples could not be decoded.
    """
    breaks = [at for at in (video.broken_at_ms, *(part.broken_at_ms for part in parts)) if at is not None]
    n_sampled = counts["n_sampled"]
    n_frames = video.n_frames if video.timing == "packets" else sum(part.n_frames for part in parts)
    row = {
        **_video_columns(video),
        "status": "ok",
        "duration_ms": video_ms,
        "avg_fps": video.avg_fps if video.timing == "packets" else n_frames * 1000 / max(1, video_ms),
        "n_frames": n_frames,
        "n_decoded": sum(part.n_decoded for part in parts),
        "broken_at_ms": min(breaks, default=None),
        "wall_s": sum(part.wall_s for part in parts),
        "part": part_name,
        **counts,
    }
    if n_sampled and lost == n_sampled:
        return {
            **row,
            "status": "failed",
            "error_code": "undecodable",
            "error": f"none of the {lost} sampled frames could be decoded: the data is damaged",
        }
    if breaks:
        return {
            **row,
            "status": "partial",
            "error_code": "damaged",
            "error": _what_is_missing(video, min(breaks), lost, n_sampled, video_ms),
        }
    return row


def _what_is_missing(video: VideoInfo, first_ms: int, lost: int, n_sampled: int, video_ms: int) -> str:
    said = []
    if lost:
        said.append(
            f"{lost} of {n_sampled} samples are lost to damaged data, the first damage is at {_clock(first_ms)}"
        )
    elif video.broken_at_ms is None:
        said.append(f"the data is damaged at {_clock(first_ms)}, between samples: none is lost")
    if video.missing_ms:
        whole_ms = video_ms + video.missing_ms
        share = f"{_clock(video.missing_ms)} ({100 * video.missing_ms / whole_ms:.1f} %)"
        said.append(f"the file is cut short at {_clock(video_ms)} of {_clock(whole_ms)}: {share} is missing")
    elif video.broken_at_ms is not None:
        said.append(f"the file is cut short at {_clock(video_ms)}; it does not say how long it should be")
    return "; ".join(said) + ". What decodes was kept."


def _clock(ms: int) -> str:
    return f"{ms // 60000}:{ms % 60000 / 1000:06.3f}"


def _faces_table(video_id: str, samples: list[SampledFrame], probabilities: np.ndarray) -> pa.Table:
    rows = [(sample, i, face) for sample in samples for i, face in enumerate(sample.faces)]
    count = len(rows)
    numbers = np.array(
        [
            [*face.box, face.score, *face.landmarks.ravel(), face.yaw, face.roll, face.size, sample.sharpness[i]]
            for sample, i, face in rows
        ],
        np.float32,
    ).reshape(count, 19)
    points = [f"{point}_{axis}" for point in LANDMARKS for axis in "xy"]
    names = ["x", "y", "w", "h", "det_score", *points, "yaw", "roll", "face_size", "sharpness"]
    best = probabilities.argmax(axis=1).astype(np.int8) if count else np.empty(0, np.int8)
    columns: dict[str, Any] = {
        "video_id": [video_id] * count,
        "frame_index": [sample.frame_index for sample, _, _ in rows],
        "timestamp_ms": [sample.timestamp_ms for sample, _, _ in rows],
        "duration_ms": [sample.duration_ms for sample, _, _ in rows],
        "face_index": [i for _, i, _ in rows],
        "track_id": [0] * count,
        **dict(zip(names, numbers.T, strict=True)),
        **dict(zip(PROBABILITIES, probabilities.T, strict=True)),
        "emotion": pa.DictionaryArray.from_arrays(pa.array(best), pa.array(EMOTIONS)),
        "confidence": probabilities.max(axis=1) if count else probabilities[:, 0],
        "valence": valence(probabilities),
        "expressiveness": 1 - probabilities[:, EMOTIONS.index("neutral")],
    }
    return pa.table({name: columns[name] for name in FACES.names}, schema=FACES)


def valence(probabilities: np.ndarray) -> np.ndarray:
    """``p_happy - max(p_angry, p_disgust, p_fear, p_sad)`` of faces, float (n,) from (n, 7).

    The form that FaceReader made known, here on probabilities, not on intensities.
    """
    negative = [EMOTIONS.index(name) for name in ("angry", "disgust", "fear", "sad")]
    return np.asarray(probabilities[:, EMOTIONS.index("happy")] - probabilities[:, negative].max(axis=1))


def _frames_table(video_id: str, samples: list[SampledFrame], probabilities: np.ndarray) -> pa.Table:
    counts = np.array([len(sample.faces) for sample in samples], np.int64)
    ends = np.cumsum(counts)
    means = [probabilities[end - n : end].mean(axis=0) if n else None for n, end in zip(counts, ends, strict=True)]
    columns: dict[str, Any] = {
        "video_id": [video_id] * len(samples),
        "frame_index": [sample.frame_index for sample in samples],
        "timestamp_ms": [sample.timestamp_ms for sample in samples],
        "duration_ms": [sample.duration_ms for sample in samples],
        "n_faces": counts,
        **{
            name: pa.array([None if mean is None else mean[i] for mean in means], pa.float32())
            for i, name in enumerate(PROBABILITIES)
        },
        "reason": [sample.reason for sample in samples],
    }
    return pa.table({name: columns[name] for name in FRAMES.names}, schema=FRAMES)


def _replace(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(position), values)
