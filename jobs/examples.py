"""An example of each kind of job, to try its report with: made-up clips, who is who in them, a filled-in job file.

Nobody is in them but the two portraits of :mod:`jobs.samples`: the camera looks at the serious one, and where somebody
is to seem to smile at the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from jobs.samples import Image, PortraitName, Sample, View, gallery, portrait, write_sample

SIZE: Final = (256, 144)

SERIOUS: Final[View] = (2068, 380, 620)
SMILING: Final[View] = (473, 300, 360)
"""Views of the gallery."""

Row = Mapping[str, object]
"""A row of a participants table."""

NOBODY: Final = {
    "purpose.title": '"Example with made-up clips: no study"',
    "purpose.jurisdiction": '["US"]',
    "purpose.legal_basis": '"consent"',
    "purpose.informed": "true",
    "purpose.note": '"Nobody was recorded: the clips show two portraits in the public domain"',
}
"""The declared purpose of an example."""


@dataclass(frozen=True)
class Example:
    """An example.

    Attributes:
        clips: they.
        rows: of its participants table.
        answers: what its job file says, by key, as TOML.
    """

    clips: tuple[Sample, ...]
    rows: tuple[Row, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)

    def write(self, recordings: Path) -> None:
        """Make the clips."""
        recordings.mkdir(parents=True, exist_ok=True)
        for clip in self.clips:
            write_sample(clip, recordings / clip.name)


def example(kind: str) -> Example:
    """The example of a kind of job."""
    return {"sessions": _sessions, "customer_feedback": _feedback, "classroom": _classroom}[kind]()


def _sessions() -> Example:
    """Five participants, four weekly sessions each: a minute of rest, then a minute with more smiles each week."""
    clips, rows = [], list[Row]()
    for person in range(5):
        for week in range(4):
            name = f"p{person + 1:02}-week{week + 1}.mp4"
            smiles = [(63 + 15 * part, 66 + 15 * part + 3 * week) for part in range(3)]
            clips.append(_clip(name, 120, Fraction(3), smiles, person + 7 * week))
            row = {"participant": f"P{person + 1:02}", "session": f"2026-03-{2 + 7 * week:02}", "video": name,
                   "person": "largest"}  # fmt: skip
            rows += [{**row, "stimulus": "neutral", "start_ms": 0, "end_ms": 60_000},
                     {**row, "stimulus": "talk", "start_ms": 60_000, "end_ms": 120_000}]  # fmt: skip
    return Example(tuple(clips), tuple(rows), NOBODY | {"sampling.fps": '"1/3"', "detector.detect_size": "256"})


def _feedback() -> Example:
    """Twelve respondents, two adverts in changing order; most smile at the second half of advert_b."""
    clips, rows = [], list[Row]()
    for person in range(12):
        name = f"c{person + 1:02}.mp4"
        order = ("advert_a", "advert_b") if person % 2 else ("advert_b", "advert_a")
        row = {"participant": f"C{person + 1:02}", "video": name, "person": "largest",
               "age_group": "18-29" if person % 4 < 2 else "30-49",
               "customer_since": 2019 + person // 6}  # fmt: skip
        smiles = []
        for position, stimulus in enumerate(order, 1):
            start = 500 + 3000 * (position - 1)
            rows.append({**row, "stimulus": stimulus, "start_ms": start, "end_ms": start + 3000, "order": position})
            if stimulus == "advert_b" and person % 5:
                smiles.append((start / 1000 + 1.4 + 0.1 * (person % 3), start / 1000 + 2.7))
        clips.append(_clip(name, 6.6, Fraction(1, 10), smiles, person))
    return Example(tuple(clips), tuple(rows), NOBODY | {"detector.detect_size": "256"})


def _classroom() -> Example:
    """Twelve people on a wall; for half a minute the camera sees four of them, too few for a bin to be shown."""
    everybody, few = (640.0, 180.0, 1280.0), (213.0, 180.0, 420.0)
    views = [(0.0, everybody), (59.0, (644.0, 184.0, 1270.0)), (59.5, few), (91.0, few), (91.5, everybody),
             (122.0, (636.0, 176.0, 1276.0))]  # fmt: skip
    clip = Sample("lesson.mp4", class_wall, views, (Fraction(1),), (960, 270))
    return Example((clip,), (), NOBODY | {"privacy.bin_seconds": "30", "detector.detect_size": "960"})


@cache
def class_wall() -> Image:
    """A wall, 1280 by 360 pixels, with twelve portraits in two rows."""
    wall: Image = np.full((360, 1280, 3), (150, 152, 140), np.uint8)
    names: tuple[PortraitName, ...] = ("hopper", "astronaut", "hopper")
    for number in range(12):
        one = portrait(names[number % 3])
        left, top, width, height = one.face
        side = int(1.9 * max(width, height))
        x, y = max(0, int(left + width / 2 - side / 2)), max(0, int(top + height / 2 - side / 2))
        seat = 130 + 4 * (number % 5)
        picture = cv2.resize(one.image[y : y + side, x : x + side], (seat, seat), interpolation=cv2.INTER_AREA)
        row, column = divmod(number, 6)
        wall[20 + 170 * row : 20 + 170 * row + seat, 40 + 210 * column : 40 + 210 * column + seat] = picture
    return wall


def _clip(name: str, seconds: float, step: Fraction, smiles: Sequence[tuple[float, float]], seed: int) -> Sample:
    """A clip of one portrait after the other: the smiling one in the given stretches of seconds."""
    random = np.random.default_rng(seed)
    jump = min(0.01, float(step) / 2)

    def near(view: View) -> View:
        x, y, width = (float(value) for value in np.array(view) + random.uniform(-1, 1, 3) * (14, 10, 40))
        return x, y, width

    def course() -> Iterator[tuple[float, View]]:
        at = 0.0
        for start, end in [*smiles, (seconds, seconds)]:
            yield at, near(SERIOUS)
            yield start - jump, near(SERIOUS)
            if end > start:
                yield start, near(SMILING)
                yield end - jump, near(SMILING)
            at = end
        yield seconds, near(SERIOUS)

    return Sample(name, gallery, list(course()), (step,), SIZE)
