"""A class of twelve, most of whom leave for a while: how many there are at any time is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.encoding import Clip, build, constant_times
from tests.scenes import Path3, Person, still

SEATS = [(x, y) for y in (45, 115, 185) for x in (60, 180, 300, 420)]

SECONDS, BIN_S = 130, 30
"""Four bins of half a minute, and ten seconds that fill none."""

AWAY = (28.0, 62.0)
"""All but four are away then: the first bin and the third have twelve people at some time, the second never."""

PEOPLE = [12, 4, 12, 12]
"""Most people at a time in each bin."""


def write_class(path: Path, *, gop: int = 7, seconds: float = SECONDS) -> Clip:
    """Write the clip: a frame a second, 480 x 270 pixels, a key frame every `gop` frames."""
    people = [
        Person("astronaut" if number % 3 else "hopper", _seat(number, *seat)) for number, seat in enumerate(SEATS)
    ]
    return build(path, constant_times(1, seconds), people, size=(480, 270), gop=gop)


def _seat(number: int, x: float, y: float) -> Path3:
    always: Callable[[float], tuple[float, float, float] | None] = still(x, y, 56 + number)
    return always if number < 4 else lambda t: None if AWAY[0] <= t < AWAY[1] else always(t)
