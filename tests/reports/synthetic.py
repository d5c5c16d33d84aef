"""Runs with known answers, written with the declared schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_batch.config import RunConfig
from fer_batch.schema import EMOTIONS, FACES, FRAMES, LANDMARKS, PROBABILITIES, VIDEOS
from fer_batch.store import PARQUET, Run, sort_keys

HAPPY = (0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.2)
SAD = (0.1, 0.0, 0.0, 0.0, 0.6, 0.0, 0.3)
"""Two faces whose seven probabilities are easy to reckon with."""

Sample = str | Sequence[tuple[int, Sequence[float]]]
"""A sampled frame: its faces as (track, seven probabilities), or the reason why it has none."""


class SyntheticRun:
    """Builds a run's folder video by video; :meth:`write` finishes it.

    Example:
        >>> made = SyntheticRun(folder)                                    # doctest: +SKIP
        >>> made.video("a.mp4", [[(1, HAPPY)], "no_face"]).write()         # doctest: +SKIP
    """

    def __init__(self, folder: Path, **info: Any) -> None:
        self.folder = folder
        self.info: dict[str, Any] = {
            "schema_version": "1",
            "state": "complete",
            "config": RunConfig().to_json(),
            **info,
        }
        self.faces: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.ledger: list[dict[str, Any]] = []
        self.keep_order = False  # rows as they were added, where a part must be sorted

    def video(self, path: str, samples: Sequence[Sample], *, step_ms: int = 500, **row: Any) -> SyntheticRun:
        """Add a video with a sample every `step_ms`; `row` overrides columns of its ledger row."""
        video_id = row.get("video_id", f"v{len(self.ledger):04d}")
        before = len(self.faces)
        tracks, seen = set(), 0
        for index, sample in enumerate(samples):
            reason = sample if isinstance(sample, str) else None
            faces = [] if isinstance(sample, str) else list(sample)
            time = {"video_id": video_id, "frame_index": index * 15, "timestamp_ms": index * step_ms}
            time["duration_ms"] = step_ms
            for number, (track, p) in enumerate(faces):
                tracks.add(track)
                self.faces.append({**time, **_face(number, track, p)})
            means = [sum(p[i] for _, p in faces) / len(faces) if faces else None for i in range(7)]
            self.frames.append(
                {**time, "n_faces": len(faces), "reason": reason, **dict(zip(PROBABILITIES, means, strict=True))}
            )
            seen += bool(faces)
        extent = len(samples) * step_ms
        self.ledger.append(
            {
                "video_id": video_id, "path": path, "size_bytes": 1_000_000, "status": "ok", "container": "mp4",
                "codec": "h264", "width": 1280, "height": 720, "rotation": 0, "duration_ms": extent, "avg_fps": 30.0,
                "is_vfr": False, "n_frames": len(samples) * 15, "n_decoded": len(samples) * 15,
                "n_sampled": len(samples), "n_with_face": seen, "n_faces": len(self.faces) - before,
                "n_tracks": len(tracks), "sampled_ms": extent, "with_face_ms": seen * step_ms, "wall_s": 1.5,
                "part": "part-00000.parquet", **row,
            }
        )  # fmt: skip
        return self

    def failed(self, path: str, code: str = "not_a_video", error: str = "is no video; take it out") -> SyntheticRun:
        """Add a file that could not be read at all."""
        self.ledger.append({"path": path, "status": "failed", "error_code": code, "error": error})
        return self

    def write(self, *, going_on: bool = False) -> Run:
        """Write all files; the ledger in parts under work/, one a row, where the run is going on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").write_text(json.dumps(self.info))
        if going_on:
            parts = self.folder / "work" / "ledger"
            parts.mkdir(parents=True)
            for number, row in enumerate(self.ledger):
                pq.write_table(_table([row], VIDEOS), parts / f"{number:06d}.parquet")
        else:
            pq.write_table(_table(self.ledger, VIDEOS), self.folder / "videos.parquet")
        for name, rows, schema in (("faces", self.faces, FACES), ("frames", self.frames, FRAMES)):
            (self.folder / name).mkdir(exist_ok=True)
            table = _table(rows, schema)
            if not self.keep_order:
                table = table.sort_by([(key, "ascending") for key in sort_keys(schema)])
            pq.write_table(table, self.folder / name / "part-00000.parquet", **PARQUET)
        return Run(self.folder)


def _face(number: int, track: int, p: Sequence[float]) -> dict[str, Any]:
    best = max(range(7), key=lambda i: p[i])
    return {
        "face_index": number, "track_id": track, "x": 10.0, "y": 10.0, "w": 80.0, "h": 80.0, "det_score": 0.9,
        **{f"{point}_{axis}": 20.0 for point in LANDMARKS for axis in "xy"},
        "yaw": 0.0, "roll": 0.0, "face_size": 80.0, "sharpness": 100.0, **dict(zip(PROBABILITIES, p, strict=True)),
        "emotion": EMOTIONS[best], "confidence": p[best], "valence": p[3] - max(p[0], p[1], p[2], p[4]),
        "expressiveness": 1 - p[6],
    }  # fmt: skip


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table({name: [row.get(name) for row in rows] for name in schema.names}, schema=schema)
