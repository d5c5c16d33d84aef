"""The tables of a run: one declared Arrow schema each, with a description and a unit for every column."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = "1"
"""Raised when a column changes its meaning or goes away; written into every table's metadata."""

EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes in FER2013's order: class index i is ``EMOTIONS[i]``."""

PROBABILITIES: Final = tuple(f"p_{emotion}" for emotion in EMOTIONS)
"""Column names of the seven probabilities, in the order of :data:`EMOTIONS`."""

LANDMARKS: Final = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""The five facial landmarks in YuNet's order; left and right are the person's own."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", *, null: bool = False) -> pa.Field:
    metadata = {"description": description, **({"unit": unit} if unit else {})}
    return pa.field(name, kind, nullable=null, metadata=metadata)


def _probabilities(what: str, *, null: bool) -> list[pa.Field]:
    return [
        _field(column, pa.float32(), f"{what} probability of the apparent expression '{emotion}'", "0..1", null=null)
        for column, emotion in zip(PROBABILITIES, EMOTIONS, strict=True)
    ]


_TIME = [
    _field("video_id", pa.string(), "Fingerprint of the file's content; starts with a letter"),
    _field("frame_index", pa.int64(), "Position of the frame among the video's frames in display order, from 0"),
    _field("timestamp_ms", pa.int64(), "Presentation time from the start of the video stream, rounded down", "ms"),
    _field("duration_ms", pa.int32(), "Time that this sample stands for: its weight in any average over time", "ms"),
]

FACES: Final = pa.schema(
    [
        *_TIME,
        _field("face_index", pa.int16(), "Number of the face within its frame, from left to right, from 0"),
        _field(
            "track_id", pa.int32(), "Track within the video, from 1 in order of appearance; not a person's identity"
        ),
        _field("x", pa.float32(), "Left edge of the face box; may lie outside the frame", "display px"),
        _field("y", pa.float32(), "Top edge of the face box; may lie outside the frame", "display px"),
        _field("w", pa.float32(), "Width of the face box", "display px"),
        _field("h", pa.float32(), "Height of the face box", "display px"),
        _field("det_score", pa.float32(), "The detector's confidence that this is a face", "0..1"),
        *[
            _field(f"{point}_{axis}", pa.float32(), f"Landmark {point.replace('_', ' ')}, {axis}", "display px")
            for point in LANDMARKS
            for axis in "xy"
        ],
        _field("yaw", pa.float32(), "Approximate head turn from the landmarks; positive to the image's right", "deg"),
        _field("roll", pa.float32(), "Approximate head tilt from the line of the eyes; positive clockwise", "deg"),
        _field("face_size", pa.float32(), "Geometric mean of the box's width and height", "display px"),
        _field("sharpness", pa.float32(), "Variance of the Laplacian of the aligned grey crop; higher is sharper"),
        *_probabilities("Calibrated", null=False),
        _field("emotion", pa.dictionary(pa.int8(), pa.string()), "Class of the highest probability"),
        _field("confidence", pa.float32(), "The highest of the seven probabilities", "0..1"),
        _field("valence", pa.float32(), "p_happy - max(p_angry, p_disgust, p_fear, p_sad)", "-1..1"),
        _field("expressiveness", pa.float32(), "1 - p_neutral", "0..1"),
    ]
)
"""A row a face, sorted by video_id, timestamp_ms, face_index."""

FRAMES: Final = pa.schema(
    [
        *_TIME,
        _field("n_faces", pa.int16(), "Faces kept in this frame"),
        *_probabilities("Mean over the frame's faces of the", null=True),
        _field(
            "reason",
            pa.string(),
            "Why there is no face: no_face, too_small (only faces under the minimum size), decode_error (the picture "
            "is damaged or could not be decoded, so nothing is known about faces)",
            null=True,
        ),
    ]
)
"""A row a sampled frame, faceless ones too, sorted by video_id, timestamp_ms."""

BINS: Final = pa.schema(
    [
        _TIME[0],
        _field("bin", pa.int32(), "Number of the bin in its video, from 0"),
        _field("start_ms", pa.int64(), "Where the bin begins, from the start of the video stream", "ms"),
        _field("duration_ms", pa.int32(), "Length of the bin", "ms"),
        _field("n_sampled", pa.int32(), "Frames sampled in the bin"),
        _field("n_lost", pa.int32(), "Those of them that could not be decoded, so that nothing is known about faces"),
        _field(
            "status",
            pa.string(),
            "shown; too_few (fewer people than may be shown, nobody perhaps); damaged (less than 30 s of it could be "
            "decoded); not_sampled (no frame lies in it). All that follows is null where it is not shown",
        ),
        _field("people", pa.int32(), "Most faces in any one frame, rounded to a multiple of privacy.round_to",
               null=True),
        _field("presence", pa.float32(), "Mean number of faces in a frame / most faces in any one frame, to 0.05",
               "0..1", null=True),
        *_probabilities("Over the faces of frames with at least five faces, to 0.001, the mean", null=True),
        _field("valence", pa.float32(), "Mean over the same faces of p_happy - max(p_angry, p_disgust, p_fear, p_sad)",
               "-1..1", null=True),
        _field("expressiveness", pa.float32(), "Mean over the same faces of 1 - p_neutral", "0..1", null=True),
    ]
)  # fmt: skip
"""A row a bin of time at privacy level `aggregate`, which has no finer table, sorted by video_id, bin."""

_TRACK_MEANS = [
    _field("n_samples", pa.int32(), "Frames in which the track has a face"),
    _field("seen_ms", pa.int64(), "Sum of their durations: the weight of the means", "ms"),
    _field(
        "face_size",
        pa.float32(),
        "Mean over time of the face size; null, as all means, where there are fewer than three samples",
        "display px",
        null=True,
    ),
    *_probabilities("Mean over time of the", null=True),
    _field(
        "valence",
        pa.float32(),
        "Mean over time of p_happy - max(p_angry, p_disgust, p_fear, p_sad)",
        "-1..1",
        null=True,
    ),
    _field("expressiveness", pa.float32(), "Mean over time of 1 - p_neutral", "0..1", null=True),
]

_TRACK = FACES.field("track_id")

TRACKS: Final = pa.schema(
    [
        _TIME[0],
        _TRACK,
        _field("start_ms", pa.int64(), "Time of its first face", "ms"),
        _field("end_ms", pa.int64(), "Time of its last face, with that sample's duration", "ms"),
        *_TRACK_MEANS,
    ]
)
"""A row a track at privacy level `tracks`, sorted by video_id, track_id."""

TRACK_BINS: Final = pa.schema(
    [
        _TIME[0],
        _TRACK,
        _field("start_ms", pa.int64(), "Where the bin begins, from the start of the video stream", "ms"),
        _field("duration_ms", pa.int32(), "Length of the bin; a video's last one may be cut short by its end", "ms"),
        *_TRACK_MEANS,
    ]
)
"""A row a track and bin of time in which it is seen, at privacy level `tracks`, sorted by video_id, track_id, time."""

VIDEOS: Final = pa.schema(
    [
        _field(
            "video_id", pa.string(), "Fingerprint of the file's content; null where it could not be read", null=True
        ),
        _field("path", pa.string(), "The file as it was found; bytes that are not UTF-8 are written as \\xNN"),
        _field("path_bytes", pa.binary(), "The exact path where it is not UTF-8", null=True),
        _field("size_bytes", pa.int64(), "Size of the file", "bytes", null=True),
        _field("mtime_ns", pa.int64(), "Modification time of the file, from the epoch", "ns", null=True),
        _field("status", pa.string(), "ok, partial (part of it could not be decoded) or failed"),
        _field("error_code", pa.string(), "Short reason, see ARCHITECTURE.md", null=True),
        _field("error", pa.string(), "What was wrong and what to do", null=True),
        _field("container", pa.string(), "Container format", null=True),
        _field("codec", pa.string(), "Video codec", null=True),
        _field("width", pa.int32(), "Display width: rotation and pixel aspect applied", "px", null=True),
        _field("height", pa.int32(), "Display height: rotation and pixel aspect applied", "px", null=True),
        _field(
            "rotation", pa.int16(), "Rotation that the file asks for: 0, 90, 180 or 270", "deg clockwise", null=True
        ),
        _field("duration_ms", pa.int64(), "Length of the video stream", "ms", null=True),
        _field("avg_fps", pa.float64(), "Mean frame rate", "1/s", null=True),
        _field("is_vfr", pa.bool_(), "Whether the time between frames varies", null=True),
        _field("n_frames", pa.int64(), "Frames in the stream", null=True),
        _field("n_decoded", pa.int64(), "Frames that were decoded, wanted or not", null=True),
        _field("n_sampled", pa.int64(), "Frames sampled: this video's rows in the table frames", null=True),
        _field("n_with_face", pa.int64(), "Sampled frames with at least one face", null=True),
        _field("n_faces", pa.int64(), "Faces: this video's rows in the table faces", null=True),
        _field("n_tracks", pa.int32(), "Tracks", null=True),
        _field("sampled_ms", pa.int64(), "Sum of duration_ms over the sampled frames", "ms", null=True),
        _field("with_face_ms", pa.int64(), "Sum of duration_ms over the frames with a face", "ms", null=True),
        _field("broken_at_ms", pa.int64(), "Where the first damage was met", "ms", null=True),
        _field("wall_s", pa.float64(), "Time that workers spent on this video, summed", "s", null=True),
        _field("part", pa.string(), "File name in the tables' folders that holds this video's rows", null=True),
    ]
)
"""The ledger: a row a file, in the order the files were finished while running, sorted by path when complete."""


TABLES: Final[dict[str, dict[str, pa.Schema]]] = {
    "faces": {"faces": FACES, "frames": FRAMES},
    "tracks": {"tracks": TRACKS, "track_bins": TRACK_BINS, "frames": FRAMES},
    "aggregate": {"bins": BINS},
}
"""The tables beside the ledger, by privacy level and by the name of their folder."""

FOLDERS: Final = tuple(dict.fromkeys(folder for tables in TABLES.values() for folder in tables))


def with_metadata(schema: pa.Schema, metadata: dict[str, str]) -> pa.Schema:
    """The schema with a run's metadata (label order, model hash, sampling) and the schema version added."""
    return schema.with_metadata({"schema_version": SCHEMA_VERSION, "labels": ",".join(EMOTIONS), **metadata})
