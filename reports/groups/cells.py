"""From trials to people: which trials are analysed, and each person's own measures a stimulus and condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.schema import PROBABILITIES
from reports.groups.analysed import Baseline, own_baselines, why_left_out
from reports.groups.grid import OnGrid, on_grid, step_ms
from reports.groups.samples import OF_SAMPLES, VALUES, Samples
from reports.groups.settings import Settings
from reports.groups.small import too_small
from reports.groups.trials import Trial
from reports.measures.columns import Floats

AFFECT: Final = ("valence", "expressiveness", "time_positive", "peak_valence")
"""Measures of the first family of comparisons."""

MEASURES: Final = (*AFFECT, *PROBABILITIES)
"""All measures of a person in one number a stimulus and condition."""

CURVES: Final = (*VALUES, "time_positive")
"""Measures over time, in the order in which they lie on the grid."""

LEAST_SEEN: Final = 0.1
"""Share of a step for which the face must be seen: a sliver of a sample at its edge says nothing of it."""

EVERYBODY: Final = ""
"""The one condition of a table that has none."""


@dataclass(frozen=True)
class StimulusCells:
    """A stimulus' cells: one a person and condition, repeats and sessions pooled by the time they last.

    Attributes:
        length_ms: median length of its trials.
        people, conditions: int64 (cells,), numbers of the person and condition.
        area: float64 (cells, steps, 10), integrals of :data:`CURVES`.
        seen_ms, sampled_ms: float64 (cells, steps).
        peaks: float64 (cells,), mean over its trials; NaN where none can be said.
        n_trials, n_samples: int64 (cells,); samples with the face.
    """

    length_ms: int
    people: NDArray[np.int64]
    conditions: NDArray[np.int64]
    area: Floats
    seen_ms: Floats
    sampled_ms: Floats
    peaks: Floats
    n_trials: NDArray[np.int64]
    n_samples: NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Everything that is compared.

    Attributes:
        people, stimuli, conditions: names; `conditions` is ``("",)`` in a table without.
        cells: a stimulus each.
        step_ms: of the grid.
        peak_ms: length of the part of each trial in which its peak is sought: that of the shortest stimulus.
        left_out: why a row is not analysed though the table does not exclude it, by row.
        small_conditions, small_stimuli: names of those with too few people; nothing of them is in here.
        bin_ms: length of the bins of time that all is made of, at privacy level `tracks`; None where there are samples.
        baseline: None without one.
    """

    people: tuple[str, ...]
    stimuli: tuple[str, ...]
    conditions: tuple[str, ...]
    cells: tuple[StimulusCells, ...]
    step_ms: int
    peak_ms: int
    left_out: Mapping[int, str]
    baseline: Baseline | None
    small_conditions: tuple[str, ...] = ()
    small_stimuli: tuple[str, ...] = ()
    bin_ms: int | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of :data:`MEASURES` that there can be."""
        return tuple(name for name in MEASURES if self.bin_ms is None or name not in OF_SAMPLES)

    def counts(self, trial: Trial) -> bool:
        """Whether a row belongs to a condition and a stimulus with enough people, so that it counts in totals."""
        return trial.condition not in self.small_conditions and trial.stimulus not in self.small_stimuli


def make_cells(trials: Sequence[Trial], samples: Mapping[int, Samples], settings: Settings) -> Cells:
    """Pool the trials that can be analysed and are of groups with enough people.

    Raises:
        RefusedError: none can, or no row is of the named baseline.
    """
    watched = [trial for trial in trials if trial.excluded is None and trial.stimulus != settings.baseline]
    baselines, baseline = own_baselines(trials, samples, settings)
    left_out: dict[int, str] = {}
    kept = []
    for trial in watched:
        why = why_left_out(trial, samples.get(trial.row), settings, baselines)
        if why is None:
            kept.append(trial)
        else:
            left_out[trial.row] = why
    if not kept:
        reasons = sorted(set(left_out.values())) or ["all rows are excluded"]
        raise RefusedError(f"no trial of the table can be analysed: {'; '.join(reasons)}")
    small = too_small([trial for trial in trials if trial.stimulus != settings.baseline], kept, settings.min_group)
    kept = [trial for trial in kept if trial.condition not in small[0] and trial.stimulus not in small[1]]
    mine = [samples[trial.row] for trial in kept]
    longest = max(trial.end_ms - trial.start_ms for trial in kept)
    step = step_ms(mine, longest)
    # In the order of the table, also where its first rows are excluded.
    of_stimulus: dict[str, list[Trial]] = {trial.stimulus: [] for trial in trials}
    for trial in kept:
        of_stimulus[trial.stimulus].append(trial)
    of_stimulus = {name: rows for name, rows in of_stimulus.items() if rows}
    lengths = {name: int(np.median([one.end_ms - one.start_ms for one in rows])) for name, rows in of_stimulus.items()}
    peak_ms = min(lengths.values()) // step * step
    people = tuple(sorted({trial.participant for trial in kept}))
    there = {trial.condition or EVERYBODY for trial in kept}
    conditions = tuple(name for name in dict.fromkeys(t.condition or EVERYBODY for t in trials) if name in there)
    number = {name: i for i, name in enumerate(people)}
    made = []
    for name, rows in of_stimulus.items():
        steps = -(-max(_length_ms(trial, samples[trial.row]) for trial in rows) // step)
        edges = np.arange(steps + 1) * step
        gridded = [_gridded(trial, samples[trial.row], baselines, edges, settings) for trial in rows]
        peaks = [_peak(one, trial.end_ms - trial.start_ms, step, peak_ms, settings)
                 if samples[trial.row].bin_ms is None else np.nan
                 for one, trial in zip(gridded, rows, strict=True)]  # fmt: skip
        keys = [(number[t.participant], conditions.index(t.condition or EVERYBODY)) for t in rows]
        made.append(_pooled(lengths[name], keys, gridded, peaks, [samples[t.row].n_seen for t in rows]))
    bin_ms = mine[0].bin_ms
    return Cells(people, tuple(of_stimulus), conditions, tuple(made), step, peak_ms, left_out, baseline, *small, bin_ms)


def _length_ms(trial: Trial, samples: Samples) -> int:
    """Of a trial; a sample taken in its last bin may stand for longer."""
    length = trial.end_ms - trial.start_ms
    return length if samples.bin_ms is None else max(length, int(samples.end_ms[-1]))


def _gridded(
    trial: Trial,
    samples: Samples,
    baselines: Mapping[tuple[str, str], Floats],
    edges: NDArray[np.int64],
    settings: Settings,
) -> OnGrid:
    values = samples.values - baselines.get((trial.participant, trial.session), 0.0)
    return on_grid(samples, np.column_stack([values, positive(samples, values, settings.positive_above)]), edges)


def positive(samples: Samples, values: Floats, above: float) -> Floats:
    """Whether each sample's valence is above a value, 1.0 or 0.0; NaN for means of bins, of which that says nothing.

    Args:
        samples: they.
        values: float64 (n, 9), :data:`reports.groups.samples.VALUES` of them, a baseline subtracted.
        above: the value.
    """
    if samples.bin_ms is not None:
        return np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        return (values[:, VALUES.index("valence")] > above).astype(np.float64)


def _peak(trial: OnGrid, length_ms: int, step: int, peak_ms: int, settings: Settings) -> float:
    """The highest mean valence over a window, in the part of a trial that all trials have; NaN if it lacks that part.

    A window counts if the face is seen for half of it.
    """
    width = max(1, round(settings.peak_window_ms / step))
    steps = peak_ms // step
    if length_ms < peak_ms - step or steps < width:
        return np.nan
    area = np.concatenate([[0.0], np.cumsum(trial.area[:steps, CURVES.index("valence")])])
    seen = np.concatenate([[0.0], np.cumsum(trial.seen_ms[:steps])])
    window_seen = seen[width:] - seen[:-width]
    ok = window_seen >= width * step / 2
    if not ok.any():
        return np.nan
    return float(((area[width:] - area[:-width])[ok] / window_seen[ok]).max())


def _pooled(
    length_ms: int, keys: list[tuple[int, int]], trials: list[OnGrid], peaks: list[float], samples: list[int]
) -> StimulusCells:
    unique, which = np.unique(np.array(keys), axis=0, return_inverse=True)
    which = which.reshape(-1)
    count, steps = len(unique), len(trials[0].seen_ms)
    area, seen, sampled = np.zeros((count, steps, len(CURVES))), np.zeros((count, steps)), np.zeros((count, steps))
    for cell, trial in zip(which, trials, strict=True):
        area[cell] += trial.area
        seen[cell] += trial.seen_ms
        sampled[cell] += trial.sampled_ms
    known = np.isfinite(peaks)
    sums = np.bincount(which[known], np.array(peaks)[known], count)
    numbers = np.bincount(which[known], minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_peaks = np.where(numbers > 0, sums / numbers, np.nan)
    return StimulusCells(
        length_ms, unique[:, 0], unique[:, 1], area, seen, sampled, mean_peaks,
        np.bincount(which, minlength=count), np.bincount(which, np.array(samples), count).astype(np.int64),
    )  # fmt: skip


def cube(cells: Cells) -> tuple[Floats, Floats]:
    """Each person's measures and coverage.

    Returns:
        float64 (people, stimuli, conditions, :data:`MEASURES`) and (people, stimuli, conditions); NaN where a person
        has nothing.
    """
    shape = (len(cells.people), len(cells.stimuli), len(cells.conditions))
    values, coverage = np.full((*shape, len(MEASURES)), np.nan), np.full(shape, np.nan)
    for s, one in enumerate(cells.cells):
        means = one.area.sum(axis=1) / one.seen_ms.sum(axis=1)[:, None]
        for k, name in enumerate(MEASURES):
            mine = one.peaks if name == "peak_valence" else means[:, CURVES.index(name)]
            values[one.people, s, one.conditions, k] = mine
        coverage[one.people, s, one.conditions] = one.seen_ms.sum(axis=1) / one.sampled_ms.sum(axis=1)
    return values, coverage


def curves(cells: Cells, stimulus: int, measure: str) -> tuple[Floats, Floats]:
    """Each person's course over a stimulus.

    Returns:
        float64 (people, conditions, steps): the mean in each step, NaN where the face was not seen for a tenth of it;
        and the share of the sampled time with the face, NaN where nothing was sampled. Steps end with the stimulus'
        length: what a longer trial has beyond it counts in the person's means only.
    """
    one = cells.cells[stimulus]
    steps = max(1, one.length_ms // cells.step_ms)
    shape = (len(cells.people), len(cells.conditions), steps)
    values, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    area, seen, sampled = one.area[:, :steps, CURVES.index(measure)], one.seen_ms[:, :steps], one.sampled_ms[:, :steps]
    with np.errstate(invalid="ignore", divide="ignore"):
        values[one.people, one.conditions] = np.where(seen >= LEAST_SEEN * cells.step_ms, area / seen, np.nan)
        coverage[one.people, one.conditions] = seen / sampled
    return values, coverage
