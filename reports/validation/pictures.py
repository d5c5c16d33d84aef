"""Cuts the faces of a sample out of their videos, at the very frames that were scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np

from fer_batch.config import RunConfig, Sampling
from fer_batch.errors import StoppedError, VideoError
from fer_batch.revisit import find_again, frames_again
from fer_batch.store import Run
from reports.validation.draw import Sample

Show = Literal["face", "strip"]
"""What a coder sees of an item: the face, or the face and its track's samples just before and after it."""

CONTEXT: Final = 1.7
"""Side of a picture as a multiple of the face box's longer side: hair, chin and a little of the surroundings."""

LARGEST: Final = 480
"""Longest side of a picture of a face, in pixels; larger ones are reduced, smaller ones stay as they are."""

AROUND: Final = (-2, -1, 1, 2)
"""Which samples of a face's track a strip shows, counted from the face."""

STRIP_SIDE: Final = 160
"""Side of a strip's pictures, in pixels."""

_GREY: Final = (127, 127, 127)


def write_pictures(
    run: Run, sample: Sample, out: Path, show: Show, on_video: Callable[[int, int], None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Cut the sample's faces out of their videos, at their exact times.

    Args:
        run: the run.
        sample: from :func:`reports.validation.draw.draw`.
        out: the coders' folder, from :func:`prepare_folder`.
        show: whether to add strips.
        on_video: called with the number of videos done and of all.

    Returns:
        Why items could not be shown, by item; and why videos could not be read, by path.

    Raises:
        StoppedError: a picture cannot be written.
    """
    sampling = RunConfig.from_json(run.info["config"]).sampling
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in run.videos().select(["video_id", "path", "path_bytes"]).to_pylist():
        rows[row["video_id"]].append(row)
    faces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for face in sample.faces.to_pylist():
        faces[face["video_id"]].append(face)
    lost: dict[str, str] = {}
    unread: dict[str, str] = {}
    for number, video_id in enumerate(sorted(faces)):
        on_video(number, len(faces))
        try:
            around = _around(run, video_id, faces[video_id]) if show == "strip" else {}
            lost |= _write_video(rows[video_id], faces[video_id], around, sampling, out / "images")
        except VideoError as error:
            done = {path.stem for path in (out / "images").iterdir()}
            lost |= {face["item"]: error.code for face in faces[video_id] if face["item"] not in done}
            unread[rows[video_id][0]["path"] if rows[video_id] else video_id] = error.message
    on_video(len(faces), len(faces))
    return lost, unread


def cut_out(image: np.ndarray, box: tuple[float, float, float, float], largest: int = LARGEST) -> np.ndarray:
    """A square around a face, with some surroundings; grey beyond the frame's border.

    Args:
        image: uint8 (height, width, 3), BGR.
        box: x, y, width, height in pixels; may lie partly or wholly outside.
        largest: the side is reduced to so many pixels where it is longer.

    Returns:
        uint8 (side, side, 3), BGR.
    """
    x, y, width, height = box
    side = max(2, round(CONTEXT * max(width, height)))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    square = np.full((side, side, 3), _GREY, np.uint8)
    inside = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    row, column = max(0, -top), max(0, -left)
    square[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    if side <= largest:
        return square
    return np.asarray(cv2.resize(square, (largest, largest), interpolation=cv2.INTER_AREA), np.uint8)


_Place = tuple[int, int, tuple[float, float, float, float]]
"""A face's place: frame_index, timestamp_ms, box."""


def _write_video(
    rows: Sequence[Mapping[str, Any]],
    faces: Sequence[Mapping[str, Any]],
    around: Mapping[str, list[_Place | None]],
    sampling: Sampling,
    folder: Path,
) -> dict[str, str]:
    """Write the pictures of one video's faces; returns why some have none."""
    video = find_again(rows)
    frames = {face["frame_index"]: face["timestamp_ms"] for face in faces}
    frames |= {place[0]: place[1] for places in around.values() for place in places if place is not None}
    in_frame: dict[int, list[tuple[str, int, tuple[float, float, float, float]]]] = defaultdict(list)
    for face in faces:
        in_frame[face["frame_index"]].append((face["item"], 0, _box(face)))
        for offset, place in zip(AROUND, around.get(face["item"], ()), strict=False):
            if place is not None:
                in_frame[place[0]].append((face["item"], offset, place[2]))
    lost = {face["item"]: "decode_error" for face in faces}
    strips: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for sample in frames_again(video, sampling, frames):
        if sample.image is None:
            continue
        for item, offset, box in in_frame[sample.frame_index]:
            if offset:
                strips[item][offset] = cut_out(sample.image, box, STRIP_SIDE)
            else:
                strips[item][0] = cut_out(sample.image, box, STRIP_SIDE)
                write_file(folder / f"{item}.jpg", _jpeg(cut_out(sample.image, box)))
                lost.pop(item)
    for item in around:
        if item not in lost:
            write_file(folder / f"{item}-strip.jpg", _jpeg(_strip(strips[item])))
    return lost


def _around(run: Run, video_id: str, faces: Sequence[Mapping[str, Any]]) -> dict[str, list[_Place | None]]:
    """The places of each face's neighbours in its track; None before the track begins and after it ends."""
    columns = ["track_id", "frame_index", "timestamp_ms", "x", "y", "w", "h"]
    tracks: dict[int, list[_Place]] = defaultdict(list)
    for row in run.faces(video_id).select(columns).to_pylist():
        tracks[row["track_id"]].append((row["frame_index"], row["timestamp_ms"], _box(row)))
    found = {}
    for face in faces:
        places = tracks[face["track_id"]]
        at = next(i for i, place in enumerate(places) if place[0] == face["frame_index"])
        found[face["item"]] = [places[at + by] if 0 <= at + by < len(places) else None for by in AROUND]
    return found


def _strip(pictures: Mapping[int, np.ndarray]) -> np.ndarray:
    """The pictures side by side in order of time, the face itself in the middle; grey where there is none."""
    size = (STRIP_SIDE, STRIP_SIDE)
    blank = np.full((*size, 3), _GREY, np.uint8)
    gap = np.full((STRIP_SIDE, 4, 3), 255, np.uint8)
    row: list[np.ndarray] = []
    for offset in sorted([*AROUND, 0]):
        picture = pictures.get(offset, blank)
        row += [gap, np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)]
    return np.concatenate(row[1:], axis=1)


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return row["x"], row["y"], row["w"], row["h"]


def _jpeg(picture: np.ndarray) -> bytes:
    written, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not written:  # pragma: no cover - JPEG takes any picture of these shapes
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return data.tobytes()


def write_file(path: Path, content: bytes) -> Path:
    """
    Raises:
        StoppedError: the file cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoppedError(f"cannot write {path}: {error.strerror}. Delete the folder and try another --out") from error
    return path
