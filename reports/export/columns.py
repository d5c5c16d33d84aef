"""The columns of exported tables: their order, decimals, and what they mean in words for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fer_batch.schema import EMOTIONS, FACES, FRAMES, PROBABILITIES, TRACK_BINS, TRACKS, VIDEOS


@dataclass(frozen=True)
class Column:
    """A column of an exported table.

    Attributes:
        name: as it stands in the first line.
        kind: the Arrow type of its cells; dictionaries are decoded.
        description: what it holds.
        unit: as in :mod:`fer_batch.schema`; empty where there is none.
        decimals: digits after the point of a number that is not whole.
        levels: for a closed vocabulary each value and its meaning; the order gives the codes in SPSS, from 0.
        missing: what a missing cell of a closed vocabulary means; SPSS gets a code for it.
        label: name in full.
    """

    name: str
    kind: pa.DataType
    description: str
    unit: str = ""
    decimals: int | None = None
    levels: tuple[tuple[str, str], ...] = ()
    missing: str = ""
    label: str = ""

    @property
    def long_name(self) -> str:
        """The name in full, starting with a capital letter."""
        text = self.label or LONG_NAMES.get(self.name) or self.name.removesuffix("_ms").replace("_", " ")
        return text[:1].upper() + text[1:]


LONG_NAMES: Final = {
    "video_id": "video identifier",
    "path": "video file",
    "det_score": "detection score",
    "x": "left edge of the face box",
    "y": "top edge of the face box",
    "w": "width of the face box",
    "h": "height of the face box",
    "avg_fps": "mean frame rate",
    "is_vfr": "variable frame rate",
    **{name: f"probability of {name.removeprefix('p_')}" for name in PROBABILITIES},
    **{f"n_{what}": f"number of {what.replace('_', ' ')}" for what in ("frames", "faces", "tracks")},
    "n_decoded": "number of decoded frames",
    "n_sampled": "number of sampled frames",
    "n_with_face": "number of sampled frames with a face",
    "size_bytes": "size of the file",
    "sampled_ms": "sampled time",
    "with_face_ms": "sampled time with a face",
    "no_face_ms": "sampled time without a face",
    "too_small_ms": "sampled time with faces that are too small",
    "decode_error_ms": "sampled time that could not be decoded",
    "broken_at_ms": "time of the first damage",
    "wall_s": "working time",
}
"""Names in full, where the column's own is short."""

_EMOTION_LEVELS: Final = tuple((emotion, f"apparent expression '{emotion}'") for emotion in EMOTIONS)

LEVELS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "emotion": _EMOTION_LEVELS,
    "reason": (
        ("no_face", "no face was found"),
        ("too_small", "only faces under the minimum size"),
        ("decode_error", "the picture is damaged or could not be decoded: nothing is known about faces"),
    ),
    "status": (
        ("ok", "the whole video was processed"),
        ("partial", "part of the video could not be decoded"),
        ("failed", "the video could not be processed"),
    ),
}
"""The closed vocabularies, by column."""

_DECIMALS: Final = {"display px": 2, "deg": 2, "1/s": 3, "s": 3, "0..1": 6, "-1..1": 6, "": 2}
"""Digits after the point by unit: what single precision carries, or more than is known."""

_PATH: Final = Column(
    "path",
    pa.string(),
    r"The file as it was found, the first by name where several have this content; bytes that are not UTF-8 are "
    r"written as \xNN",
)


def _declared(schema: pa.Schema, leave_out: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """The columns of a run's table."""
    found = []
    for field in schema:
        if field.name in leave_out:
            continue
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        unit = metadata.get("unit", "")
        found.append(
            Column(
                name=field.name,
                kind=kind,
                description=metadata["description"],
                unit=unit,
                decimals=_DECIMALS[unit] if pa.types.is_floating(kind) else None,
                levels=LEVELS.get(field.name, ()),
            )
        )
    return tuple(found)


def _with_path(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return (columns[0], _PATH, *columns[1:])


FACE_COLUMNS: Final = _with_path(_declared(FACES))
"""A row a face: the run's own columns, and the video's path after its id."""

FRAME_COLUMNS: Final = _with_path(_declared(FRAMES))
"""A row a sampled frame; likewise."""

TRACK_COLUMNS: Final = _with_path(_declared(TRACKS))
TRACK_BIN_COLUMNS: Final = _with_path(_declared(TRACK_BINS))
"""A row a track, and a row a track and bin of time, at privacy level `tracks`; likewise."""

TIME_COLUMNS: Final = tuple(column for column in FRAME_COLUMNS if column.name not in PROBABILITIES)
"""A row a sampled frame at privacy level `tracks`, which has no probabilities of frames."""


def share_column(name: str, description: str, *, low: int = 0, label: str = "") -> Column:
    """A column of a measure between `low` (0 or -1) and 1."""
    unit = "0..1" if low == 0 else "-1..1"
    return Column(name, pa.float64(), description, unit, _DECIMALS[unit], label=label)


MEAN_COLUMNS: Final = (
    *(
        share_column(
            name,
            f"Mean calibrated probability of the apparent expression '{emotion}' over the time with a face: each "
            "sampled frame's mean over its faces, weighted by duration_ms",
            label=f"mean probability of {emotion}",
        )
        for name, emotion in zip(PROBABILITIES, EMOTIONS, strict=True)
    ),
    share_column(
        "valence",
        "Mean of p_happy - max(p_angry, p_disgust, p_fear, p_sad) over the time with a face, averaged in the same way",
        low=-1,
        label="mean valence",
    ),
    share_column(
        "expressiveness", "Mean of 1 - p_neutral over the time with a face, averaged in the same way",
        label="mean expressiveness",
    ),
)  # fmt: skip
"""Means over the time with a face; missing where there is none."""

VIDEO_COLUMNS: Final = (
    *_declared(VIDEOS, leave_out=("path_bytes", "mtime_ns", "part")),
    Column(
        "copy_of",
        pa.string(),
        "Path of the first file that has the same content; missing for that file itself. Leave copies out of counts",
    ),
    share_column("coverage", "with_face_ms / sampled_ms: the part of the sampled time that has a face"),
    *(
        Column(f"{reason}_ms", pa.int64(), f"Sampled time without a face: {meaning}", "ms")
        for reason, meaning in LEVELS["reason"]
    ),
    *MEAN_COLUMNS,
    Column(
        "emotion",
        pa.string(),
        "The apparent expression with the highest mean probability over the time with a face",
        levels=_EMOTION_LEVELS,
        missing="no face, so nothing is known",
        label="emotion with the highest mean",
    ),
)
"""A row a file: the ledger, then measures of the whole video."""

LEDGER_COLUMNS: Final = VIDEO_COLUMNS[: -len(MEAN_COLUMNS) - 1]
"""A row a file at privacy level `tracks`: means over all faces of a frame are not kept."""
