"""What a classifier's probabilities are worth: counts, rates, calibration, and how sure one can be of each."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
Interval = tuple[float, float]

ECE_BINS: Final = 15
"""Confidence bins of equal width for the calibration error, the usual number (Guo et al. 2017)."""

Z95: Final = 1.959964
"""Quantile of the normal distribution for two-sided 95 % intervals."""

RESAMPLES: Final = 1000
"""Bootstrap resamples for figures without a closed form."""

TEMPERATURES: Final = (0.2, 5.0)
"""Range in which a temperature is sought; a sound model lies well within."""


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts (classes, classes): row is the label, column the prediction."""
    flat = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return np.asarray(flat.reshape(classes, classes))


def recalls(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of each class's pictures that were recognised; NaN for a class without pictures."""
    return _ratio(np.diag(confusion), confusion.sum(axis=1))


def precisions(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of each class's predictions that were right; NaN for a class never predicted."""
    return _ratio(np.diag(confusion), confusion.sum(axis=0))


def f1_scores(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Harmonic mean of precision and recall; NaN for a class neither present nor predicted."""
    return _ratio(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def macro_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Plain mean of the F1 scores over the classes that occur, as label or as prediction; NaN if none does."""
    scores = f1_scores(confusion)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else math.nan


def expected_calibration_error(probabilities: Probabilities, labels: Labels, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by their pictures (0..1).

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,) class indices.
        bins: of equal width; a confidence on an edge belongs to the bin below it.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def wilson(hits: int, count: int) -> Interval:
    """95 % interval of a rate (Wilson 1927), sound for small counts and rates near 0 and 1. (0, 1) for no count."""
    if count == 0:
        return 0.0, 1.0
    rate, z2 = hits / count, Z95 * Z95
    centre = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def macro_f1_interval(confusion: npt.NDArray[np.int64], seed: int = 0) -> Interval:
    """95 % bootstrap interval of the macro F1: pictures drawn anew with replacement."""
    total = int(confusion.sum())
    if total == 0:
        return 0.0, 1.0
    draws = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=RESAMPLES)
    values = [macro_f1(draw.reshape(confusion.shape)) for draw in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def fit_temperature(log_probabilities: Probabilities, labels: Labels) -> float:
    """The temperature that makes the labels most likely (Guo et al. 2017), to 1e-4.

    Args:
        log_probabilities: (N, K) logits, or anything that differs from them by a constant a row.
        labels: (N,) class indices.
    """
    # The likelihood has one maximum in 1/T, so a golden-section search over log T finds it.
    low, high = (math.log(t) for t in TEMPERATURES)
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(log_probabilities, labels, math.exp(left)) < log_loss(log_probabilities, labels, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def softmax(logits: Probabilities, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) of logits (N, K)."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_fitted_ece(log_probabilities: Probabilities, labels: Labels, seed: int = 0) -> float:
    """Calibration error with the temperature of one random half applied to the other, averaged both ways.

    An honest figure where the temperature had to be fitted on the very pictures that it is judged by.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = order[::2], order[1::2]
    errors = []
    for fitted, judged in (halves, halves[::-1]):
        temperature = fit_temperature(log_probabilities[fitted], labels[fitted])
        errors.append(expected_calibration_error(softmax(log_probabilities[judged], temperature), labels[judged]))
    return float(np.mean(errors))


def log_loss(logits: Probabilities, labels: Labels, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean())


def _ratio(above: npt.NDArray[np.int64], below: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    ratio = np.full(len(above), np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio
