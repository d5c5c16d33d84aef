"""A run with many faces, of each of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_batch.schema import EMOTIONS
from fer_batch.store import Run
from tests.reports.synthetic import SyntheticRun

SHARES = (0.08, 0.01, 0.04, 0.25, 0.1, 0.02, 0.5)
"""How often the model names each class."""


def probabilities(emotion: int, confidence: float) -> tuple[float, ...]:
    """Seven probabilities with `emotion` the highest."""
    rest = (1 - confidence) / 6
    return tuple(confidence if number == emotion else rest for number in range(7))


def population(folder: Path, *, videos: int = 8, samples: int = 70, seed: int = 0) -> Run:
    """A run with two tracks a video, whose classes come in spells of a few samples."""
    random = np.random.default_rng(seed)
    made = SyntheticRun(folder, model={"name": "tiny", "sha256": "0" * 64})
    for number in range(videos):
        tracks = []
        for track in (1, 2):
            spells = random.choice(7, samples, p=SHARES)
            for at in range(1, samples):
                if random.random() < 0.7:
                    spells[at] = spells[at - 1]
            tracks.append([(track, probabilities(int(e), float(random.uniform(0.3, 0.99)))) for e in spells])
        made.video(f"/v/{number}.mp4", [list(faces) for faces in zip(*tracks, strict=True)])
    return made.write()


def truth(video_id: str, track_id: int, timestamp_ms: int, emotion: str) -> int:
    """What a perfect coder would say of a face: mostly the model's class, by a rule that has nothing of chance."""
    number = (int(video_id[1:]) * 7 + track_id * 3 + timestamp_ms // 1500) % 10
    right = number < (9 if emotion == "happy" else 4 if emotion == "fear" else 7)
    return EMOTIONS.index(emotion) if right else (EMOTIONS.index(emotion) + 1 + number) % 7


def truths(faces: object) -> NDArray[np.int8]:
    """:func:`truth` of each row of a table of faces."""
    rows = faces.select(["video_id", "track_id", "timestamp_ms", "emotion"]).to_pylist()  # type: ignore[attr-defined]
    return np.array([truth(*row.values()) for row in rows], np.int8)
