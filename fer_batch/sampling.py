"""Which frames of a video are looked at, decided from presentation times (PTS) alone, in exact arithmetic.

The choice for a frame needs nothing but its own PTS, the PTS of the frame shown before it and its index. It is
therefore the same wherever the video was cut for processing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from fer_batch.config import Sampling

UNTIL_NEXT = -1
"""Duration of a sample that lasts until the next one; :func:`fill_durations` puts the real one in its place."""


@dataclass(frozen=True)
class Clock:
    """Turns a stream's PTS into time from the start of the video.

    Attributes:
        time_base: seconds a PTS tick.
        zero: PTS of the first frame shown.
    """

    time_base: Fraction
    zero: int

    def seconds(self, pts: int) -> Fraction:
        """Exact time of `pts` from the start of the video."""
        return (pts - self.zero) * self.time_base

    def milliseconds(self, pts: int) -> int:
        """Time of `pts` from the start of the video, rounded down."""
        return (pts - self.zero) * self.time_base.numerator * 1000 // self.time_base.denominator


Choice = Callable[[int, int, int | None, bool], int | None]
"""``choice(index, pts, previous_pts, is_key)`` gives the duration_ms of a wanted frame, None for an unwanted one."""


def choice(sampling: Sampling, clock: Clock) -> Choice:
    """The rule that picks frames.

    `previous_pts` is the PTS of the frame shown just before, None for the video's first. At a rate F the frame stands
    for each k with ``previous < k/F <= pts``: where a gap makes several k share a frame, its duration is the sum of
    theirs. The durations of a run of samples add up without rounding errors, because each is the difference of two
    times that were rounded down. The last one may reach past the end; :func:`fill_durations` mends that.
    """
    first_pts = first_pts_at(sampling.start_ms, clock)
    end_pts = None if sampling.end_ms is None else first_pts_at(sampling.end_ms, clock)

    def inside(pts: int) -> bool:
        return pts >= first_pts and (end_pts is None or pts < end_pts)

    if sampling.mode == "every":
        return lambda index, pts, _previous, _key: UNTIL_NEXT if index % sampling.every == 0 and inside(pts) else None
    if sampling.mode == "keyframes":
        return lambda _index, pts, _previous, key: UNTIL_NEXT if key and inside(pts) else None

    # k(pts) = floor((pts - zero) * time_base * fps), as one integer division
    ticks = clock.time_base * sampling.fps
    first_k = _first_k(sampling)

    def at_rate(_index: int, pts: int, previous: int | None, _key: bool) -> int | None:
        last = (pts - clock.zero) * ticks.numerator // ticks.denominator
        before = -1 if previous is None else (previous - clock.zero) * ticks.numerator // ticks.denominator
        first = max(before + 1, first_k)
        if first > last or not inside(pts):
            return None
        return _grid_ms(last + 1, sampling.fps) - _grid_ms(first, sampling.fps)

    return at_rate


def fill_durations(sampling: Sampling, timestamps_ms: list[int], durations_ms: list[int], end_ms: int) -> list[int]:
    """Let samples last no longer than what was sampled, so that their durations never sum to more than that.

    At a rate the last sample stands for time up to the next instant of the grid, or up to `end_ms` if that is before.
    Elsewhere :data:`UNTIL_NEXT` is replaced: a sample lasts until the next one, the last until `end_ms`.

    Args:
        sampling: the rule that chose the samples.
        timestamps_ms: all of a video's samples, in order.
        durations_ms: their durations as :func:`choice` gave them, same length.
        end_ms: end of the sampled range: of the video, or `sampling.end_ms` if that is before.
    """
    if not timestamps_ms:
        return []
    if sampling.mode == "fps":
        reached_ms = _grid_ms(_first_k(sampling), sampling.fps) + sum(durations_ms)
        return [*durations_ms[:-1], durations_ms[-1] - max(0, reached_ms - end_ms)]
    return [max(0, after - now) for now, after in pairwise([*timestamps_ms, end_ms])]


def _first_k(sampling: Sampling) -> int:
    """Number of the first instant of the grid that lies in the sampled range."""
    return -(-sampling.start_ms * sampling.fps.numerator // (1000 * sampling.fps.denominator))


def _grid_ms(k: int, fps: Fraction) -> int:
    return k * 1000 * fps.denominator // fps.numerator


def first_pts_at(time_ms: int, clock: Clock) -> int:
    """Smallest PTS whose exact time is at or after `time_ms`."""
    ticks = Fraction(time_ms, 1000) / clock.time_base
    return clock.zero + -(-ticks.numerator // ticks.denominator)
