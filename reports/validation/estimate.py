"""Agreement measures and their 95 % intervals for a weighted, clustered sample. Arrays in, numbers out.

Every measure is computed from replicate weights: row 0 holds the sample as it is, each further row the sample with its
clusters drawn anew. Faces of one track, or of one video, are alike, so whole clusters are drawn: k - 1 of k, with
replacement (Rao & Wu 1988, whose rescaling k / (k - 1) cancels in all that is computed here). The spread over the rows
is what the interval is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
"""Replicates: enough that the ends of an interval move by less than their last printed digit."""

BINS: Final = 10
"""Bins of confidence for the reliability diagram, of equal width."""

_Z95: Final = 1.959964

Weights = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval and the number of faces that it rests on; None for what cannot be said."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def multiplicities(clusters: NDArray[Any], seed: int, resamples: int = RESAMPLES) -> Weights:
    """How often each face counts in each replicate.

    Args:
        clusters: (n,), each face's cluster.

    Returns:
        (1 + resamples, n); row 0 is all ones. With a single cluster nothing can be drawn and row 0 is all there is.
    """
    names, cluster = np.unique(clusters, return_inverse=True)
    k = len(names)
    if k < 2:
        return np.ones((1, len(cluster)))
    drawn = np.random.default_rng(seed).multinomial(k - 1, np.full(k, 1 / k), size=resamples)
    return np.vstack([np.ones(len(cluster)), drawn[:, cluster]])


def run_weights(
    times: Weights, inclusion: NDArray[np.float64], stratum: NDArray[Any], totals: NDArray[Any], coded: Mask
) -> Weights:
    """Weights that make the coded faces stand for all faces of the run.

    Each face counts 1 / inclusion (Horvitz & Thompson 1952). Within each stratum these are scaled to the known number
    of faces (poststratification; Särndal et al. 1992, chapter 7), which also makes up for faces that were not coded, as
    if they had been left out at random.

    Args:
        times: from :func:`multiplicities`, (replicates, n).
        inclusion: (n,), each face's probability of being drawn.
        stratum: int (n,).
        totals: (strata,), faces in the run.
        coded: (n,); all others get no weight.
    """
    weights = times * (coded / inclusion)
    for number, total in enumerate(totals):
        mine = stratum == number
        held = weights[:, mine].sum(axis=1, keepdims=True)
        weights[:, mine] *= np.divide(total, held, out=np.zeros_like(held), where=held > 0)
    return weights


def effective_n(weights: NDArray[np.float64], groups: NDArray[Any] | None = None) -> float:
    """How many equally weighted faces, or groups of faces, are worth as much as these: (sum w)^2 / sum w^2 (Kish 1965).

    Args:
        weights: (n,).
        groups: (n,), to count whole groups rather than faces.
    """
    if groups is not None:
        weights = np.asarray(np.bincount(np.unique(groups, return_inverse=True)[1], weights=weights), np.float64)
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def rate(weights: Weights, hits: Mask, domain: Mask, clusters: NDArray[Any]) -> Estimate:
    """Weighted share of `hits` among the faces of `domain`, with Wilson's interval for the effective sample size.

    The effective size is that of a simple random sample with the same variance as the replicates show, made smaller
    where few clusters show it (Korn & Graubard 1998 for both; Dean & Pagano 2015 for Wilson's form). It is at most the
    number of faces, and at least what whole clusters count, as if all faces of one were alike. The latter stands where
    all or none are hits, for there the replicates show nothing.
    """
    n = int((domain & (weights[0] > 0)).sum())
    values = _ratio(weights @ (hits & domain), weights @ domain)
    value = float(values[0])
    if not n:
        return Estimate(None, None, None, 0)
    if len(values) < 2:
        return Estimate(value, None, None, n)
    size = effective_n(weights[0] * domain, clusters)
    error = _standard_error(values)
    k = _count(weights, domain, clusters)
    if error > 0 and 0 < value < 1 and k > 1:
        size = max(size, min(n, value * (1 - value) / error**2 * (_Z95 / _t(k)) ** 2))
    return Estimate(value, *wilson(value, size), n)


def wilson(share: float, n: float) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927) for `n` draws, which need not be a whole number."""
    z2 = _Z95 * _Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def interval(values: NDArray[np.float64], n: int, k: int) -> Estimate:
    """A figure within -1 and 1 with ``value +- t SE``: its replicates' standard error, Student's t for k clusters.

    Args:
        values: (replicates,), the figure for each row of weights.
        n: faces that it rests on.
        k: clusters that they belong to.

    Returns:
        No interval where the replicates are all alike, which says more of the sample's size than of its precision.
    """
    value, error = float(values[0]), _standard_error(values)
    if np.isnan(value):
        return Estimate(None, None, None, n)
    if error < 1e-9 or k < 2:
        return Estimate(value, None, None, n)
    return Estimate(value, max(-1.0, value - _t(k) * error), min(1.0, value + _t(k) * error), n)


def cohen_kappa(weights: Weights, first: NDArray[Any], second: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Cohen's kappa (1960) of two judges for each row of weights; NaN where both always gave one and the same class.

    The same as scikit-learn's ``cohen_kappa_score(first, second, sample_weight=...)``, for all rows at once.

    Args:
        weights: (replicates, n).
        first, second: int (n,), classes 0..classes - 1.
    """
    cells = np.zeros((len(first), classes * classes))
    cells[np.arange(len(first)), first.astype(np.int64) * classes + second] = 1
    joint = (weights @ cells).reshape(-1, classes, classes)
    total = joint.sum(axis=(1, 2))
    observed = _ratio(np.trace(joint, axis1=1, axis2=2), total)
    expected = _ratio((joint.sum(axis=1) * joint.sum(axis=2)).sum(axis=1), total**2)
    return _ratio(observed - expected, 1 - expected)


def krippendorff_alpha(weights: Weights, answers: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Krippendorff's alpha for nominal classes, any number of coders and gaps (Krippendorff 2011), for each row.

    Args:
        weights: (replicates, n), how often each face counts.
        answers: int (coders, n), classes 0..classes - 1; anything else is a gap.
    """
    counts = np.stack([(answers == number).sum(axis=0) for number in range(classes)], axis=1).astype(np.float64)
    coders = counts.sum(axis=1)
    counts[coders < 2] = 0  # a face with one answer is compared with nothing
    pairs = (counts * (counts - 1)).sum(axis=1) / np.maximum(coders - 1, 1)
    agreed, each = weights @ pairs, weights @ counts
    total = each.sum(axis=1)
    disagreed = total - agreed
    expected = _ratio(total**2 - (each**2).sum(axis=1), total - 1)
    return np.asarray(1 - _ratio(disagreed, expected))


@dataclass(frozen=True)
class Bin:
    """The faces of a bin of confidence: its edges, their mean confidence, and the share of them that is right."""

    low: float
    high: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be taken for the chance of being right.

    Attributes:
        error: expected calibration error (Guo et al. 2017), the mean distance between confidence and accuracy over the
            bins. It is never below 0 and by chance alone above. The interval is shifted by the bias that the replicates
            show, so it may lie below the value, and begins at 0 where chance alone explains the error.
        by_chance: what the error would be on average if the probabilities were true.
        confidence: mean confidence.
        excess: mean confidence minus accuracy; above 0 the model is too sure.
        bins: those that hold a face.
    """

    error: Estimate
    by_chance: float
    confidence: float
    excess: Estimate
    bins: tuple[Bin, ...]


def calibration(
    weights: Weights, confidence: NDArray[np.float64], right: Mask, clusters: NDArray[Any], seed: int, bins: int = BINS
) -> Calibration:
    """Compare confidence (n,) with being right (n,), under weights (replicates, n); n is at least 1."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    inside = (place[:, None] == np.arange(bins)).astype(np.float64)
    total = weights.sum(axis=1)
    gaps = weights @ (inside * (confidence - right)[:, None])
    errors = _ratio(np.abs(gaps).sum(axis=1), total)
    chance = np.random.default_rng(seed).random((RESAMPLES, len(confidence))) < confidence
    by_chance = np.abs((weights[0] * (confidence - chance)) @ inside).sum(axis=1) / total[0]
    everywhere = np.ones(len(confidence), bool)
    k = _count(weights, everywhere, clusters)
    found = interval(errors, len(confidence), k)
    if found.low is not None and found.high is not None:
        bias = float(np.nanmean(errors[1:]) - errors[0])
        is_chance = errors[0] <= np.quantile(by_chance, 0.975)
        low = 0.0 if is_chance else max(0.0, found.low - bias)
        found = replace(found, low=low, high=max(0.0, found.high - bias))
    return Calibration(
        error=found,
        by_chance=float(by_chance.mean()),
        confidence=float(weights[0] @ confidence / total[0]),
        excess=interval(_ratio(gaps.sum(axis=1), total), len(confidence), k),
        bins=tuple(
            Bin(
                number / bins,
                (number + 1) / bins,
                float(weights[0, mine] @ confidence[mine] / weights[0, mine].sum()),
                rate(weights, right, everywhere & mine, clusters),
            )
            for number in range(bins)
            if (mine := place == number).any()
        ),
    )


def _standard_error(values: NDArray[np.float64]) -> float:
    """Spread of the replicates of a figure; 0 where there are none."""
    replicates = values[1:][np.isfinite(values[1:])]
    return float(replicates.std()) if len(replicates) else 0.0


def _count(weights: Weights, domain: Mask, clusters: NDArray[Any]) -> int:
    """Clusters that have a face in the domain."""
    return len(np.unique(clusters[domain & (weights[0] > 0)]))


def _t(k: int) -> float:
    """Quantile of Student's t for a 95 % interval from k clusters."""
    from scipy.stats import t

    return float(t.ppf(0.975, k - 1))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """Element by element; NaN where there is nothing to divide by."""
    out = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=out, where=np.asarray(below) > 1e-12)
    return out
