"""How large units are: small at first, so that there are results soon, and at the end, so that nobody waits for others.

The results of a run do not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

UNIT_COST_S = 60.0
"""CPU seconds that a unit should take: long enough that starting and committing it cost little, short enough that a
lost one is no great loss and that progress is seen."""

MIN_UNIT_COST_S = 0.5
"""Smaller units would be mostly overhead."""

FIRST_UNIT_S = 2.0
"""The first units take no longer, so that something is seen soon; those that follow grow to full size."""

SMALLEST_SHARE = 0.125
"""Size of the last units, as a share of the largest: many would leave many small files."""

UnitSize = Callable[[float], float]
"""CPU seconds that the next unit should take, given those that are left to be cut."""


def enough(waiting: float, workers: int) -> bool:
    """Whether what waits, in CPU seconds, makes units of full size for all workers, whatever else is found."""
    return waiting >= 2 * workers * UNIT_COST_S


def about(waiting: float) -> int:
    """About how many units some CPU seconds make."""
    return math.ceil(waiting / UNIT_COST_S)


def even(size: float) -> UnitSize:
    """All units of one size."""
    return lambda _left: size


def largest(total: float, workers: int) -> float:
    """CPU seconds of the largest units, of which each worker has at least two.

    Args:
        total: CPU seconds of all that is to be cut.
        workers: how many there are.
    """
    return min(UNIT_COST_S, max(MIN_UNIT_COST_S, total / (2 * workers)))


def shrinking(total: float, workers: int) -> UnitSize:
    """Each unit half of a worker's equal share of what is left, so that all workers end at about the same time.

    Known as factoring (Hummel, Schonberg and Flynn, 1992). A worker whose process has yet to start, or whose cores are
    taken by others, does fewer units.

    Args:
        total: CPU seconds of all that is to be cut.
        workers: how many there are.
    """
    if workers == 1:
        return even(largest(total, workers))
    least = max(MIN_UNIT_COST_S, SMALLEST_SHARE * largest(total, workers))
    return lambda left: min(UNIT_COST_S, max(least, left / (2 * workers)))


def growing(size: UnitSize, begun: float, total: float, workers: int) -> UnitSize:
    """The same sizes, but for first units that are small.

    Args:
        size: how large units may be.
        begun: CPU seconds of what was cut before.
        total: of all that is to be cut now.
        workers: how many there are.
    """
    return lambda left: min(size(left), FIRST_UNIT_S + (begun + total - left) / workers)


def before(later: float, size: UnitSize) -> UnitSize:
    """The sizes for a part of the work, with some CPU seconds to do after it."""
    return lambda left: size(left + later)
