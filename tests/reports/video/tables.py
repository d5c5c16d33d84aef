"""Tables of one video with known faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fer_batch.schema import EMOTIONS, FACES, FRAMES, LANDMARKS, PROBABILITIES
from reports.video.make import Tables

Seen = tuple[int, tuple[float, float, float, float], Sequence[float]]
"""A face of a sample: track, box, seven probabilities."""

HAPPY = (0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.2)
SAD = (0.1, 0.0, 0.0, 0.0, 0.6, 0.0, 0.3)


def tables(samples: Sequence[tuple[int, Sequence[Seen] | str]], step_ms: int, video_id: str = "v1") -> Tables:
    """Samples as (time in ms, its faces or the reason why there are none)."""
    faces, frames = [], []
    for at, found in samples:
        time = {"video_id": video_id, "frame_index": at // 40, "timestamp_ms": at, "duration_ms": step_ms}
        seen = [] if isinstance(found, str) else list(found)
        faces += [{**time, **_face(i, *face)} for i, face in enumerate(seen)]
        means = [sum(face[2][i] for face in seen) / len(seen) if seen else None for i in range(7)]
        reason = found if isinstance(found, str) else None
        frames.append({**time, "n_faces": len(seen), "reason": reason, **dict(zip(PROBABILITIES, means, strict=True))})
    return Tables(_table(faces, FACES), _table(frames, FRAMES))


def _face(index: int, track: int, box: tuple[float, float, float, float], p: Sequence[float]) -> dict[str, Any]:
    best = max(range(7), key=lambda i: p[i])
    return {
        "face_index": index, "track_id": track, **dict(zip("xywh", box, strict=True)), "det_score": 0.9,
        **{f"{point}_{axis}": 0.0 for point in LANDMARKS for axis in "xy"},
        "yaw": 0.0, "roll": 0.0, "face_size": 50.0, "sharpness": 1.0, **dict(zip(PROBABILITIES, p, strict=True)),
        "emotion": EMOTIONS[best], "confidence": p[best], "valence": 0.0, "expressiveness": 1 - p[6],
    }  # fmt: skip


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table({name: [row.get(name) for row in rows] for name in schema.names}, schema=schema)
