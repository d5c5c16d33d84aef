"""Figures against answers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics

from training.evaluation import metrics
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import (
    Reliability,
    calibration_interval,
    chance_calibration_error,
    confusion_matrix,
    cross_fitted,
    cross_fitted_ece,
    expected_calibration_error,
    f1_intervals,
    f1_scores,
    fit_temperature,
    log_loss,
    macro_f1,
    macro_f1_interval,
    mean_interval,
    paired_difference,
    precisions,
    recalls,
    softmax,
    top_hits,
    wilson,
)

# Three classes, ten pictures: 3 of 4, 2 of 4 and 2 of 2 are right.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 2, 2, 2])


def test_confusion_and_rates() -> None:
    confusion = confusion_matrix(LABELS, PREDICTED, 3)
    assert confusion.tolist() == [[3, 1, 0], [1, 2, 1], [0, 0, 2]]
    np.testing.assert_allclose(recalls(confusion), [3 / 4, 2 / 4, 2 / 2])
    np.testing.assert_allclose(precisions(confusion), [3 / 4, 2 / 3, 2 / 3])
    np.testing.assert_allclose(f1_scores(confusion), [3 / 4, 4 / 7, 4 / 5])
    assert macro_f1(confusion) == pytest.approx((3 / 4 + 4 / 7 + 4 / 5) / 3)
    # Another implementation, and a stack of matrices, say the same.
    theirs = sklearn.metrics.precision_recall_fscore_support(LABELS, PREDICTED)
    np.testing.assert_allclose([precisions(confusion), recalls(confusion), f1_scores(confusion)], theirs[:3])
    np.testing.assert_allclose(f1_scores(np.stack([confusion, 2 * confusion])), [theirs[2], theirs[2]])


def test_classes_that_do_not_occur() -> None:
    confusion = confusion_matrix(np.array([0, 1]), np.array([0, 0]), 3)
    np.testing.assert_array_equal(recalls(confusion), [1, 0, math.nan])
    np.testing.assert_array_equal(precisions(confusion), [0.5, math.nan, math.nan])
    assert macro_f1(confusion) == pytest.approx((2 / 3 + 0) / 2)  # the third class is neither present nor predicted


def test_calibration_error_by_hand() -> None:
    # Confidences .95 .95 .55 .55; right, wrong, right, wrong. Bins of a tenth: |.5 - .95| and |.5 - .55|, halves each.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 0])
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0


def test_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    np.testing.assert_allclose(wilson(81, 263), (0.2553, 0.3662), atol=1e-4)
    np.testing.assert_allclose(wilson(0, 20), (0, 0.1611), atol=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_temperature_is_recovered() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20000, 7))
    labels = np.array([random.choice(7, p=p) for p in softmax(logits)])
    # Logits that are 1.7 times too sure need a temperature of 1.7.
    temperature = fit_temperature(1.7 * logits, labels)
    assert temperature == pytest.approx(1.7, abs=0.05)
    assert log_loss(1.7 * logits, labels, temperature) < log_loss(1.7 * logits, labels)
    assert cross_fitted_ece(1.7 * logits, labels) < 0.02
    assert expected_calibration_error(softmax(1.7 * logits), labels) > 0.05


def test_log_loss_by_hand() -> None:
    assert log_loss(np.zeros((5, 7)), np.arange(5)) == pytest.approx(math.log(7))
    np.testing.assert_allclose(softmax(np.array([[0.0, math.log(3)]])), [[0.25, 0.75]])


def test_f1_intervals_by_hand() -> None:
    # Class 0 is label or prediction of 5 pictures, both of 3; F1 is 2 J / (1 + J) of the share 3 / 5.
    confusion = confusion_matrix(LABELS, PREDICTED, 3)
    low, high = wilson(3, 5)
    assert f1_intervals(confusion)[0] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    # Never right in five pictures is not never right; a class that does not occur may be anything.
    low, high = f1_intervals(np.array([[0, 3, 0], [2, 9, 0], [0, 0, 0]]))[0]
    assert (low, high) == pytest.approx((0, 2 * 0.4345 / 1.4345), abs=1e-4)
    assert f1_intervals(np.array([[5, 0], [0, 0]]))[1] == (0, 1)


def test_f1_intervals_are_those_of_drawing_pictures_anew() -> None:
    confusion = 40 * confusion_matrix(LABELS, PREDICTED, 3)
    draws = np.random.default_rng(0).multinomial(400, confusion.ravel() / 400, size=4000).reshape(-1, 3, 3)
    drawn = np.quantile(f1_scores(draws), [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(f1_intervals(confusion), drawn, atol=0.015)
    low, high = macro_f1_interval(confusion)
    assert (low, high) == macro_f1_interval(confusion)
    assert (low, high) == pytest.approx(np.quantile(f1_scores(draws).mean(axis=1), [0.025, 0.975]), abs=0.01)
    assert macro_f1_interval(np.zeros((2, 2), np.int64)) == (0, 1)


def test_top_two_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    assert top_hits(probabilities, np.array([0, 1, 2, 1]), 1) == 1  # of a tie the first is the call, as argmax has it
    assert top_hits(probabilities, np.array([0, 1, 2, 1]), 2) == 3
    assert top_hits(probabilities, np.array([0, 1, 2, 1]), 3) == 4


def test_paired_difference_by_hand() -> None:
    # Of 100 pictures the second alone is right on 3, the first alone on 9: a difference of -6 points.
    first, second = np.ones(100, bool), np.ones(100, bool)
    first[:3], second[3:12] = False, False
    difference, (low, high) = paired_difference(first, second)
    assert difference == pytest.approx(-0.06)
    # Agresti and Min: (3.5 - 9.5) / 102, and 1.96 sqrt(3.5 + 9.5 - 36 / 102) / 102.
    half = 1.959964 * math.sqrt(13 - 36 / 102) / 102
    assert (low, high) == pytest.approx((-6 / 102 - half, -6 / 102 + half), abs=1e-6)
    # Judgements that are wrong on the same pictures differ far less than their two rates leave open.
    same, (low, high) = paired_difference(first, first)
    assert same == 0
    assert -0.02 < low < 0 < high < 0.02


def test_mean_interval_is_students() -> None:
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.3027.
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4
    )
    assert mean_interval(np.array([1.0])) == (-math.inf, math.inf)


def test_reliability_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.85, 0.15], [0.45, 0.55], [0.4, 0.6]])
    bins = Reliability.of(probabilities, np.array([0, 1, 1, 0]), bins=5)
    assert bins.count.tolist() == [0, 0, 2, 0, 2]  # 0.6 lies on an edge and belongs to the bin below
    assert bins.hits.tolist() == [0, 0, 1, 0, 1]
    np.testing.assert_allclose(bins.confidence, [math.nan, math.nan, 0.575, math.nan, 0.9])


def calls(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose highest is the confidence, and labels that make them right or wrong."""
    probabilities = np.repeat((1 - confidence)[:, None] / 6, 7, axis=1)
    probabilities[:, 0] = confidence
    return probabilities, np.where(right, 0, 1)


def test_what_a_calibrated_model_shows_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    # 400 calls at 0.8 fall into one bin, so the error is |hits / 400 - 0.8|, whose mean is that of half a normal.
    probabilities, labels = calls(np.full(400, 0.8), np.arange(400) < 320)
    mean, most = chance_calibration_error(probabilities)
    deviation = math.sqrt(0.8 * 0.2 / 400)
    assert mean == pytest.approx(deviation * math.sqrt(2 / math.pi), rel=0.1)
    assert most == pytest.approx(2.2414 * deviation, rel=0.1)
    monkeypatch.setattr(metrics, "RESAMPLES", 200)
    low, high = calibration_interval(probabilities, labels)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0)
    assert low == 0
    assert 0 <= high < 0.05


def test_calibration_interval_holds_the_truth_that_a_percentile_interval_would_miss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 200)
    random = np.random.default_rng(0)
    held = 0
    for _ in range(20):
        confidence = random.uniform(0.3, 0.95, 600)
        interval = calibration_interval(*calls(confidence, random.random(600) < confidence - 0.04))
        held += interval[0] <= 0.04 <= interval[1]
    assert held >= 15
    # A model that is far off is not called calibrated.
    low, high = calibration_interval(*calls(np.full(2000, 0.9), random.random(2000) < 0.5))
    assert 0.35 < low < 0.4 < high < 0.45


def test_halves_are_calibrated_by_each_other() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 7))
    labels = np.array([random.choice(7, p=p) for p in softmax(logits)])
    order = np.random.default_rng(0).permutation(4000)
    changed = labels.copy()
    changed[order[::2]] = 0  # labels of one half
    before, after = cross_fitted(3 * logits, labels), cross_fitted(3 * logits, changed)
    np.testing.assert_array_equal(before[order[::2]], after[order[::2]])  # do not touch its own probabilities
    assert np.abs(before[order[1::2]] - after[order[1::2]]).max() > 0.01
    assert cross_fitted_ece(3 * logits, labels) < 0.03 < expected_calibration_error(softmax(3 * logits), labels)


def test_evaluation_by_hand() -> None:
    # Eight pictures: classes 0..6 and 0 again; the last one is called class 3. Every call has confidence 0.7.
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 0])
    predicted = np.array([0, 1, 2, 3, 4, 5, 6, 3])
    probabilities = np.full((8, 7), 0.05)
    probabilities[np.arange(8), predicted] = 0.7
    evaluation = Evaluation.of(probabilities, labels)
    assert evaluation.n == 8
    assert evaluation.accuracy == 7 / 8
    assert evaluation.ece == pytest.approx(7 / 8 - 0.7)
    # F1: class 0 has 1 hit, 1 miss: 2/3; class 3 one false call: 2/3; the five others 1.
    assert evaluation.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 5) / 7)
    figures = json.loads(json.dumps(evaluation.figures()))
    assert figures["recall"]["angry"] == 0.5
    assert figures["classes"]["happy"] == {
        "n": 1,
        "predicted": 2,
        "recall": 1.0,
        "recall_95": [round(v, 4) for v in wilson(1, 1)],
        "precision": 0.5,
        "precision_95": [round(v, 4) for v in wilson(1, 2)],
        "f1": round(2 / 3, 4),
        "f1_95": figures["classes"]["happy"]["f1_95"],
    }
    assert figures["classes"]["happy"]["f1_95"][0] <= 2 / 3 <= figures["classes"]["happy"]["f1_95"][1]
    # The label of the last picture, class 0, is the first of those that share the second place.
    assert figures["top2"] == 1
    assert figures["top2_95"] == [round(v, 4) for v in wilson(8, 8)]
    assert figures["confusion"][0] == [1, 0, 0, 1, 0, 0, 0]


def test_evaluation_with_an_absent_class_is_json() -> None:
    figures = Evaluation.of(np.eye(7)[:2], np.arange(2)).figures()
    assert figures["recall"]["neutral"] is None
    assert figures["classes"]["neutral"]["recall_95"] == [0, 1]
    assert json.loads(json.dumps(figures, allow_nan=False))["accuracy"] == 1.0


def test_one_picture_can_be_evaluated() -> None:
    figures = json.loads(json.dumps(Evaluation.of(np.eye(7)[:1], np.array([0])).figures(), allow_nan=False))
    assert (figures["accuracy"], figures["ece_cross_fitted"], figures["ece_cross_fitted_95"]) == (1.0, None, None)


def test_every_figure_has_an_interval_around_it() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 300)
    logits = random.normal(0, 1, (300, 7)) + 1.5 * np.eye(7)[labels]
    figures = Evaluation.of(softmax(logits), labels).figures()
    pairs = [(figures, name) for name in ("accuracy", "macro_f1", "top2", "ece", "ece_cross_fitted")]
    pairs += [(entry, name) for entry in figures["classes"].values() for name in ("recall", "precision", "f1")]
    for entry, name in pairs:
        low, high = entry[f"{name}_95"]
        assert 0 <= low <= entry[name] <= high <= 1, name
        assert low < high


def test_evaluation_checks_its_shapes() -> None:
    with pytest.raises(ValueError, match=r"probabilities must be \(2, 7\)"):
        Evaluation.of(np.zeros((2, 6)), np.zeros(2, np.int64))
