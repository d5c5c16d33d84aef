"""What a classifier's probabilities are worth: counts, rates, calibration, and how sure one can be of each.

Every interval is at 95 %. Shares of independent pictures have Wilson's; how the others come about is said where they
are computed. Chance is seeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn.metrics

Probabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Counts = npt.NDArray[np.int64]
Interval = tuple[float, float]

ECE_BINS: Final = 15
"""Confidence bins of equal width for the calibration error, the usual number (Guo et al. 2017)."""

RESAMPLES: Final = 1000
"""Bootstrap resamples for figures without a closed form."""

TEMPERATURES: Final = (0.2, 5.0)
"""Range in which a temperature is sought; a sound model lies well within."""

TAILS: Final = (0.025, 0.975)
"""Quantiles between which a 95 % interval lies."""


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Counts:
    """Counts (classes, classes): row is the label, column the prediction."""
    return np.asarray(sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes)), np.int64)


def recalls(confusion: Counts) -> npt.NDArray[np.float64]:
    """Share of each class's pictures that were recognised; NaN for a class without pictures.

    Here and below, ``confusion`` may be a stack (..., K, K); the result then is (..., K).
    """
    return _ratio(_hits(confusion), confusion.sum(axis=-1))


def precisions(confusion: Counts) -> npt.NDArray[np.float64]:
    """Share of each class's predictions that were right; NaN for a class never predicted."""
    return _ratio(_hits(confusion), confusion.sum(axis=-2))


def f1_scores(confusion: Counts) -> npt.NDArray[np.float64]:
    """Harmonic mean of precision and recall; NaN for a class neither present nor predicted."""
    return _ratio(2 * _hits(confusion), confusion.sum(axis=-2) + confusion.sum(axis=-1))


def macro_f1(confusion: Counts) -> float:
    """Plain mean of the F1 scores over the classes that occur, as label or as prediction; NaN if none does."""
    scores = f1_scores(confusion)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else math.nan


def f1_intervals(confusion: Counts) -> tuple[Interval, ...]:
    """Interval of each class's F1 score; (0, 1) for a class neither present nor predicted.

    Of the pictures that a class is the label or the prediction of, those where it is both are a plain share J, with
    Wilson's interval; and F1 is 2 J / (1 + J).
    """
    hits = _hits(confusion)
    concerned = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    shares = (wilson(int(hit), int(count)) for hit, count in zip(hits, concerned, strict=True))
    return tuple((2 * low / (1 + low), 2 * high / (1 + high)) for low, high in shares)


def macro_f1_interval(confusion: Counts, seed: int = 0) -> Interval:
    """Percentile bootstrap of the macro F1: pictures, that is, cells of the confusion matrix, drawn anew."""
    total, classes = int(confusion.sum()), len(confusion)
    if total == 0:
        return 0.0, 1.0
    draws = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=RESAMPLES)
    low, high = np.quantile(np.nanmean(f1_scores(draws.reshape(-1, classes, classes)), axis=1), TAILS)
    return float(low), float(high)


def top_hits(probabilities: Probabilities, labels: Labels, k: int) -> int:
    """How many pictures have their label among the k most probable classes."""
    return int((np.argsort(-probabilities, axis=1, kind="stable")[:, :k] == labels[:, None]).any(axis=1).sum())


def wilson(hits: int, count: int) -> Interval:
    """Interval of a rate (Wilson 1927), sound for small counts and rates near 0 and 1. (0, 1) for no count."""
    if count == 0:
        return 0.0, 1.0
    interval = scipy.stats.binomtest(hits, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> tuple[float, Interval]:
    """How much more often the second of two judgements of the same pictures is right, with its interval.

    The interval is Agresti and Min's (2005): Wald's, after half a picture was added to each cell of the 2 x 2 table.

    Args:
        first: (N,) whether the first is right; N at least 1.
        second: the same of the second.
    """
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    count, more, less = len(first) + 2, gained + 0.5, lost + 0.5
    centre = (more - less) / count
    half = float(scipy.stats.norm.ppf(TAILS[1])) * math.sqrt(more + less - (more - less) ** 2 / count) / count
    return (gained - lost) / len(first), (centre - half, centre + half)


def mean_interval(values: npt.NDArray[np.floating[Any]]) -> Interval:
    """Interval of a mean by Student's t; (-inf, inf) for fewer than two values."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = float(scipy.stats.t.ppf(TAILS[1], len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy, bin by bin of confidence.

    Attributes:
        count: (B,) pictures in each of B bins of equal width over 0..1; a confidence on an edge belongs to the bin
            below it.
        confidence: (B,) mean confidence of the bin's pictures; NaN for an empty bin.
        hits: (B,) how many of them are right.
    """

    count: Counts
    confidence: npt.NDArray[np.float64]
    hits: Counts

    @classmethod
    def of(cls, probabilities: Probabilities, labels: Labels, bins: int = ECE_BINS) -> Reliability:
        """The bins of probabilities (N, K) against labels (N,)."""
        confidence, right = _confidence(probabilities, labels)
        index = _bin(confidence, bins)
        count = np.bincount(index, minlength=bins)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(index, weights=confidence, minlength=bins) / count
        return cls(count, mean, np.bincount(index[right], minlength=bins))


def expected_calibration_error(probabilities: Probabilities, labels: Labels, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by their pictures (0..1).

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,) class indices.
        bins: as in :class:`Reliability`.
    """
    confidence, right = _confidence(probabilities, labels)
    return _ece(_bin(confidence, bins), right - confidence, bins)


def chance_calibration_error(probabilities: Probabilities, seed: int = 0) -> tuple[float, float]:
    """The calibration error that a perfectly calibrated model of this confidence would show on so many pictures.

    It is not zero: each bin's accuracy scatters. What is measured has to be read against it.

    Returns:
        Its mean, and what it stays below 97.5 % of the time.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    index, random = _bin(confidence, ECE_BINS), np.random.default_rng(seed)
    errors = [
        _ece(index, (random.random(len(confidence)) < confidence) - confidence, ECE_BINS) for _ in range(RESAMPLES)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, TAILS[1]))


def calibration_interval(probabilities: Probabilities, labels: Labels, seed: int = 0) -> Interval:
    """Interval of the expected calibration error of probabilities (N, K) against labels (N,).

    A resample has the scatter of its pictures twice, so bootstrapped errors lie above the measured one and a
    percentile interval may miss the truth altogether. The basic bootstrap reflects them to below it. Where the
    measured error may be mere chance (:func:`chance_calibration_error`), the interval begins at zero. In simulations
    with 300 and 3,589 pictures and true errors of 0 to 8 % it held the truth in 79 to 99 of 100 cases.
    """
    confidence, right = _confidence(probabilities, labels)
    if len(labels) < 2:
        return 0.0, 1.0

    def error(confidence: npt.NDArray[np.float64], gap: npt.NDArray[np.float64]) -> float:
        return _ece(_bin(confidence, ECE_BINS), gap, ECE_BINS)

    low, high = resampled((confidence, right - confidence), error, seed=seed, method="basic")
    measured = error(confidence, right - confidence)
    chance = chance_calibration_error(probabilities, seed)[1]
    # Reflected, a wide scatter may leave the range of the figure or not hold the measured value itself.
    return 0.0 if measured <= chance else min(max(0.0, low), measured), min(1.0, max(high, measured))


def resampled(
    data: tuple[npt.NDArray[Any], ...],
    statistic: Callable[..., float],
    *,
    seed: int = 0,
    method: str = "percentile",
) -> Interval:
    """Bootstrap interval of a figure computed from arrays whose entries belong together."""
    done = scipy.stats.bootstrap(
        data, statistic, paired=True, vectorized=False, n_resamples=RESAMPLES, method=method,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(done.confidence_interval.low), float(done.confidence_interval.high)


def fit_temperature(log_probabilities: Probabilities, labels: Labels) -> float:
    """The temperature that makes the labels most likely (Guo et al. 2017), to 1e-4.

    Args:
        log_probabilities: (N, K) logits, or anything that differs from them by a constant a row.
        labels: (N,) class indices.
    """
    # The likelihood has one maximum in 1/T, so a search within bounds finds it.
    low, high = (math.log(t) for t in TEMPERATURES)
    found = scipy.optimize.minimize_scalar(
        lambda log_t: log_loss(log_probabilities, labels, math.exp(log_t)),
        bounds=(low, high), method="bounded", options={"xatol": 1e-4},
    )  # fmt: skip
    return math.exp(found.x)


def softmax(logits: Probabilities, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) of logits (N, K)."""
    return np.asarray(scipy.special.softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def cross_fitted(log_probabilities: Probabilities, labels: Labels, seed: int = 0) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) calibrated by pictures other than their own: the temperature comes from the other half.

    Halves are drawn at random. What is measured on the result is honest even where the temperature that ships was
    fitted on the very pictures that it is judged by.

    Args:
        log_probabilities: (N, K) as for :func:`fit_temperature`, N at least 2.
        labels: (N,) class indices.
        seed: decides the halves.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = order[::2], order[1::2]
    out = np.empty(np.shape(log_probabilities))
    for fitted, judged in (halves, halves[::-1]):
        out[judged] = softmax(log_probabilities[judged], fit_temperature(log_probabilities[fitted], labels[fitted]))
    return out


def cross_fitted_ece(log_probabilities: Probabilities, labels: Labels, seed: int = 0) -> float:
    """Calibration error of the :func:`cross_fitted` probabilities."""
    return expected_calibration_error(cross_fitted(log_probabilities, labels, seed), labels)


def log_loss(logits: Probabilities, labels: Labels, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    logs = scipy.special.log_softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return float(-logs[np.arange(len(labels)), labels].mean())


def _confidence(probabilities: Probabilities, labels: Labels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    return probabilities.max(axis=1).astype(np.float64), np.asarray(probabilities.argmax(axis=1) == labels)


def _bin(confidence: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _ece(index: npt.NDArray[np.int64], gap: npt.NDArray[np.floating[Any]], bins: int) -> float:
    return float(np.abs(np.bincount(index, weights=gap, minlength=bins)).sum() / len(gap))


def _hits(confusion: Counts) -> Counts:
    return np.asarray(np.diagonal(confusion, axis1=-2, axis2=-1))


def _ratio(above: Counts, below: Counts) -> npt.NDArray[np.float64]:
    ratio = np.full(above.shape, np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio
