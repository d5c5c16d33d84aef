"""Pictures of peaks, decoded again from the video at the very times that the tables name. Off unless asked for."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa

from fer_batch.config import RunConfig
from fer_batch.errors import RefusedError, VideoError
from fer_batch.revisit import find_again, frames_again

HEIGHT: Final = 96
"""Of a picture, in pixels."""

MARGIN: Final = 0.35
"""What is shown about the face's box, as a share of its larger side; a bare face is hard to read."""

_JPEG_QUALITY: Final = 80


def peak_pictures(
    rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], faces: pa.Table, peaks: pa.Table
) -> tuple[dict[tuple[int, int], str], str | None]:
    """The face at each peak.

    Args:
        rows: the ledger's rows of this content; any of the files that is still the same serves.
        config: the run's, as in ``run.json``: its sampling leads to the same frames.
        faces: the video's faces.
        peaks: :func:`reports.measures.peaks`.

    Returns:
        JPEG pictures as data addresses, by track and time; and why some are missing, or None.
    """
    wanted = {(row["track_id"], row["at_ms"]) for row in peaks.to_pylist()}
    columns = ("track_id", "timestamp_ms", "frame_index", "x", "y", "w", "h")
    ids, times = faces["track_id"].to_pylist(), faces["timestamp_ms"].to_pylist()
    at = [i for i, key in enumerate(zip(ids, times, strict=True)) if key in wanted]
    mine = faces.select(columns).take(pa.array(at, pa.int64())).to_pylist()
    made: dict[tuple[int, int], str] = {}
    if not mine:
        return made, None
    try:
        sampling = RunConfig.from_json(dict(config)).sampling
        video = find_again(rows)
        for sample in frames_again(video, sampling, {face["frame_index"]: face["timestamp_ms"] for face in mine}):
            for face in mine:
                if face["frame_index"] == sample.frame_index and sample.image is not None:
                    made[face["track_id"], face["timestamp_ms"]] = _picture(sample.image, face)
    except (VideoError, RefusedError) as error:
        return made, f"Pictures of peaks are missing: {getattr(error, 'message', error)}."
    return made, None


def _picture(image: np.ndarray, face: Mapping[str, Any]) -> str:
    """The face with a margin as a JPEG in a data address."""
    side = (1 + 2 * MARGIN) * max(face["w"], face["h"])
    left, top = face["x"] + face["w"] / 2 - side / 2, face["y"] + face["h"] / 2 - side / 2
    height, width = image.shape[:2]
    x0, y0 = int(max(0, left)), int(max(0, top))
    x1, y1 = int(min(width, left + side)), int(min(height, top + side))
    part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    size = (max(1, round(HEIGHT * part.shape[1] / part.shape[0])), HEIGHT)
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA if part.shape[0] > HEIGHT else cv2.INTER_LINEAR)
    written, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not written:  # pragma: no cover - JPEG takes any picture of this kind
        raise ValueError(f"a picture of shape {small.shape} cannot be written as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
