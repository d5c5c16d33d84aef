"""Made-up participants over a synthetic run: each person's course through each stimulus is given."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.reports.synthetic import Sample, SyntheticRun

Course = Sequence[float | None]
"""p_happy of each sample, half a second apart; None without a face. The rest is neutral, so valence is p_happy too."""

HEADER = ("participant", "session", "video", "person", "stimulus", "start_ms", "end_ms", "condition", "order",
          "exclude", "exclude_reason")  # fmt: skip


def samples(course: Course) -> list[Sample]:
    return ["no_face" if p is None else [(1, (0.0, 0.0, 0.0, p, 0.0, 0.0, 1 - p))] for p in course]


def study(made: SyntheticRun, courses: Mapping[tuple[str, str, str], Course], table: Path, **more: str) -> SyntheticRun:
    """A video a participant, with a trial a stimulus and condition, one after the other; and the table.

    Args:
        made: the run to add to.
        courses: by participant, stimulus and condition.
        table: written to.
        more: columns that are the same in all rows.
    """
    rows = []
    for person in dict.fromkeys(who for who, _, _ in courses):
        at, all_samples = 0, list[Sample]()
        for (who, stimulus, condition), course in courses.items():
            if who == person:
                end = at + 500 * len(course)
                rows.append({"participant": who, "video": f"{who}.mp4", "person": "largest", "stimulus": stimulus,
                             "start_ms": at, "end_ms": end, "condition": condition, **more})  # fmt: skip
                all_samples += samples(course)
                at = end
        made.video(f"/v/{person}.mp4", all_samples)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return made


def wandering(random: np.random.Generator, people: int, samples: int, stimuli: int = 2) -> NDArray[np.float64]:
    """Probabilities as faces have them: each person has a level, and neighbouring samples are alike.

    Shape (people, stimuli, samples); all stimuli have the same distribution.
    """
    steps = random.standard_normal((people, stimuli, samples))
    course = np.empty_like(steps)
    course[..., 0] = steps[..., 0]
    for at in range(1, samples):
        course[..., at] = 0.8 * course[..., at - 1] + 0.6 * steps[..., at]
    logit = course + random.standard_normal((people, 1, 1)) - 1.5
    return np.asarray(1 / (1 + np.exp(-logit)))
