"""The common time grid: what samples of different phase and length say, in equal steps from a stimulus' start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reports.groups.samples import Samples
from reports.measures.columns import Floats

STEPS_MS: Final = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000)
"""Lengths of a step to choose from."""

MOST_STEPS: Final = 240
"""A curve has no more points than this; a screen shows no more, and the band is over all of them."""


def step_ms(samples: Iterable[Samples], longest_ms: int) -> int:
    """The grid's step: no shorter than most samples stand for, nor than lets the longest trial fit."""
    lengths = [one.end_ms - one.start_ms for one in samples if len(one.start_ms)]
    usual = float(np.median(np.concatenate(lengths))) if lengths else 0.0
    needed = max(usual, longest_ms / MOST_STEPS)
    return next((step for step in STEPS_MS if step >= needed * 0.999), int(np.ceil(needed / 60_000)) * 60_000)


@dataclass(frozen=True, slots=True)
class OnGrid:
    """A trial on the grid: integrals over each step, from which every mean over time is made.

    Attributes:
        area: float64 (steps, k), a value times the time with the face, in milliseconds.
        seen_ms, sampled_ms: float64 (steps,), time with the face, and time that was looked at.
    """

    area: Floats
    seen_ms: Floats
    sampled_ms: Floats


def on_grid(samples: Samples, values: Floats, edges_ms: NDArray[np.int64]) -> OnGrid:
    """Share each sample's time among the steps that it covers.

    Args:
        samples: when samples begin and end, and whether the face was seen.
        values: float64 (n, k); read only where it was seen.
        edges_ms: of the steps, int64 (steps + 1,).
    """
    length = (samples.end_ms - samples.start_ms).astype(np.float64)
    weight = length * samples.seen
    columns = np.column_stack([length, weight, np.where(samples.seen[:, None], values, 0.0) * weight[:, None]])
    # The running integral is straight within a sample and level between two: it is known anywhere from its ends.
    ends = np.column_stack([samples.start_ms, samples.end_ms]).ravel()
    totals = np.cumsum(columns, axis=0)
    running = np.empty((len(ends), columns.shape[1]))
    running[1::2], running[2::2], running[:1] = totals, totals[:-1], 0
    at = np.stack([np.interp(edges_ms, ends, one) for one in running.T], axis=1) if len(ends) else (
        np.zeros((len(edges_ms), columns.shape[1]))
    )  # fmt: skip
    inside = np.diff(at, axis=0)
    return OnGrid(inside[:, 2:], inside[:, 1], inside[:, 0])
