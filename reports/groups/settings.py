"""What is asked of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from fer_batch.errors import RefusedError


@dataclass(frozen=True)
class Settings:
    """What is asked of a comparison.

    Attributes:
        baseline: name of the stimulus whose rows are the baseline: each person's and session's mean over them is
            subtracted from valence, expressiveness and the probabilities. None for none.
        positive_above: a sample is positive if its valence is above this (after the baseline is subtracted).
        peak_window_ms: the peak is the highest mean over a window of this length.
        min_coverage: a trial in which the face is seen for a smaller share of the sampled time is left out.
        min_group: a group of fewer people is not shown.
        resamples: bootstrap resamples for numbers; bands over time use the first 2,000 of them.
        seed: of all random choices.
    """

    baseline: str | None = None
    positive_above: float = 0.0
    peak_window_ms: int = 3_000
    min_coverage: float = 0.0
    min_group: int = 5
    resamples: int = 9_999
    seed: int = 0

    def bounds(self, measure: str) -> tuple[float, float]:
        """What a mean of the measure cannot be below or above."""
        low, high = (-1.0, 1.0) if measure.endswith("valence") else (0.0, 1.0)
        if self.baseline is None or measure == "time_positive":
            return low, high
        return low - high, high - low

    def __post_init__(self) -> None:
        for name, ok, allowed in (
            ("positive_above", -1 <= self.positive_above < 1, "from -1 to below 1"),
            ("peak_window_ms", self.peak_window_ms >= 500, "from 500 ms"),
            ("min_coverage", 0 <= self.min_coverage <= 1, "a share from 0 to 1"),
            ("min_group", self.min_group >= 2, "from 2: one person is no group"),
            ("resamples", 999 <= self.resamples <= 100_000, "from 999 to 100,000"),
        ):
            if not ok:
                raise RefusedError(f"{name.replace('_', ' ')} is {getattr(self, name)}; allowed is {allowed}")
