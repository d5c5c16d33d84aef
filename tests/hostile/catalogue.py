"""What a hostile or odd file is, what is known of it, and where the tests keep those they have made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.clips import Clip, constant_times

SIZE = (160, 120)
"""Display size of a clip about which nothing else is said."""

TIMES = constant_times(25, 1.2)
"""Times of its frames."""


@dataclass(frozen=True)
class Truth:
    """The answers that the engine must give for a file that can be used."""

    times: tuple[Fraction, ...]
    """Of the frames shown, in seconds from the first."""
    numbers: tuple[int, ...]
    """That the frames carry in their pictures."""
    size: tuple[int, int] = SIZE
    rotation: int = 0
    codec: str = "h264"
    duration_ms: int = 1200
    timing: str = "packets"

    @property
    def times_ms(self) -> list[int]:
        """The frames' times, rounded down."""
        return [math.floor(t * 1000) for t in self.times]

    def sampled(self, fps: int = 2) -> list[int]:
        """Positions of the frames that a sampling rate wants, found the plain way."""
        instants = [Fraction(k, fps) for k in range(math.floor(self.times[-1] * fps) + 1)]
        return sorted({next(i for i, t in enumerate(self.times) if t >= instant) for instant in instants})


def truth(clip: Clip, codec: str = "h264", timing: str = "packets") -> Truth:
    """What the encoder's own log says."""
    numbers = tuple(range(len(clip.times)))
    return Truth(clip.times, numbers, clip.size, clip.rotation, codec, math.floor(clip.duration * 1000), timing)


@dataclass(frozen=True)
class Case:
    """A file to be made, and the row of the ledger that is right for it.

    Attributes:
        name: of the file; one no other case has.
        make: writes it; gives the truth where it can be used.
        status, code: what the ledger must say.
        said: a piece of the ledger's text.
        is_plain: FFmpeg's own tools find the same times.
    """

    name: str
    make: Callable[[Path], Truth | None]
    status: str = "ok"
    code: str | None = None
    said: str = ""
    is_plain: bool = True

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Made:
    """A case's file, and what is known of it."""

    case: Case
    path: Path
    truth: Truth | None


class Files:
    """Makes a case's file when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Made] = {}

    def __call__(self, case: Case) -> Made:
        if case.name not in self._made:
            path = self.folder / case.name
            self._made[case.name] = Made(case, path, case.make(path))
        return self._made[case.name]
