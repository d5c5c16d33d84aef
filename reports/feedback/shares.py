"""The share of respondents over a threshold, through a stimulus and at any time of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.groups.cells import Cells, curves
from reports.groups.compare import nanmean
from reports.measures.columns import Floats
from reports.validation.estimate import wilson


@dataclass(frozen=True)
class Shares:
    """A stimulus' shares.

    Attributes:
        stimulus: its name.
        length_ms: its length.
        at_ms: int64 (steps,), start of each step from the stimulus' start.
        people: int64 (steps,), whose face was seen in the step.
        share, low, high: float64 (steps,), of them, over the threshold, with its 95 % interval; NaN where they are
            fewer than the smallest group.
        ever: share of all respondents who were over it in any step, with its interval and their number.
    """

    stimulus: str
    length_ms: int
    at_ms: NDArray[np.int64]
    people: NDArray[np.int64]
    share: Floats
    low: Floats
    high: Floats
    ever: tuple[float, float, float, int]

    @property
    def highest(self) -> int | None:
        """The step with the highest share; None where none is shown."""
        return int(np.nanargmax(self.share)) if np.isfinite(self.share).any() else None


def shares(cells: Cells, stimulus: int, measure: str, above: float, min_group: int) -> Shares | None:
    """A stimulus' shares; None where fewer than `min_group` people saw it.

    A respondent is over the threshold in a step if the mean of the measure in it, over the time with the face, is.

    Args:
        cells: each person's own means, without a baseline.
        stimulus: its number.
        measure: of :data:`reports.groups.cells.CURVES`.
        above: the threshold.
        min_group: steps with fewer people are not shown.
    """
    values = nanmean(curves(cells, stimulus, measure)[0], axis=1)
    known = np.isfinite(values)
    respondents = known.any(axis=1)
    if respondents.sum() < min_group:
        return None
    over = known & (np.nan_to_num(values, nan=-np.inf) > above)
    people = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = over.sum(axis=0) / people
    low, high = _intervals(share, people)
    hidden = people < min_group
    share, low, high = (np.where(hidden, np.nan, one) for one in (share, low, high))
    total = int(respondents.sum())
    ever = float(over.any(axis=1).sum() / total)
    return Shares(
        cells.stimuli[stimulus], cells.cells[stimulus].length_ms,
        np.arange(values.shape[1], dtype=np.int64) * cells.step_ms, people, share, low, high,
        (ever, *wilson(ever, total), total),
    )  # fmt: skip


def _intervals(share: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    ends = [wilson(float(one), int(count)) if count else (np.nan, np.nan) for one, count in zip(share, n, strict=True)]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])
