"""Which trials are analysed, and each person's own baseline, without which a trial is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer_batch.errors import RefusedError
from reports.groups.samples import Samples
from reports.groups.settings import Settings
from reports.groups.trials import Trial
from reports.measures.columns import Floats


@dataclass(frozen=True)
class Baseline:
    """What the baselines rest on: over the people and sessions that have one, samples with the face."""

    name: str
    count: int
    fewest: int
    median: float
    most: int


def own_baselines(
    trials: Sequence[Trial], samples: Mapping[int, Samples], settings: Settings
) -> tuple[dict[tuple[str, str], Floats], Baseline | None]:
    """Each person's and session's mean over the named interval, weighted by time, and what they rest on.

    Rows that the table excludes are no baseline.

    Raises:
        RefusedError: no row is of the named baseline.
    """
    if settings.baseline is None:
        return {}, None
    rows = [trial for trial in trials if trial.stimulus == settings.baseline]
    if not rows:
        names = ", ".join(sorted({trial.stimulus for trial in trials})[:8])
        raise RefusedError(f"no row has the stimulus {settings.baseline!r} for a baseline; the table has {names}")
    pooled: dict[tuple[str, str], list[Samples]] = defaultdict(list)
    for trial in rows:
        if trial.row in samples:
            pooled[trial.participant, trial.session].append(samples[trial.row])
    means, counts = {}, []
    for key, parts in pooled.items():
        values = np.concatenate([one.values[one.seen] for one in parts])
        weights = np.concatenate([(one.end_ms - one.start_ms)[one.seen] for one in parts])
        if weights.sum() > 0:
            means[key] = np.average(values, axis=0, weights=weights)
            counts.append(sum(one.n_seen for one in parts))
    basis = Baseline(
        settings.baseline, len(counts), min(counts, default=0), float(np.median(counts)) if counts else 0.0,
        max(counts, default=0),
    )  # fmt: skip
    return means, basis


def why_left_out(
    trial: Trial,
    samples: Samples | None,
    settings: Settings | None = None,
    baselines: Mapping[tuple[str, str], Floats] | None = None,
) -> str | None:
    """Why a trial is not analysed though it could be read from the table; None for one that is.

    Args:
        trial: it; excluded by the table or not.
        samples: what the run has of it; None where it has nothing.
        settings: what is asked; None where nothing is asked beyond a face.
        baselines: of each participant and session, see :func:`own_baselines`.
    """
    asked = settings or Settings()
    if trial.excluded is not None:
        return trial.excluded
    if trial.unread is not None:
        return trial.unread
    if samples is not None and samples.bin_ms is not None and not len(samples.start_ms):
        return f"no bin of {samples.bin_ms // 1000} s lies wholly in it"
    if samples is None or samples.sampled_ms == 0:
        return "nothing was sampled"
    if samples.seen_ms == 0:
        return "face never seen" if samples.bin_ms is None else "face seen in fewer than three samples of each bin"
    if samples.seen_ms < asked.min_coverage * samples.sampled_ms:
        return f"face seen for less than {asked.min_coverage:.0%}"
    if asked.baseline is not None and (trial.participant, trial.session) not in (baselines or {}):
        return f"no baseline ({asked.baseline})"
    return None
