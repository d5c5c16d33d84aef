"""Figures against answers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from training.evaluate import Evaluation
from training.metrics import (
    confusion_matrix,
    cross_fitted_ece,
    expected_calibration_error,
    f1_scores,
    fit_temperature,
    log_loss,
    macro_f1,
    macro_f1_interval,
    precisions,
    recalls,
    softmax,
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


def test_f1_interval_is_around_the_value_and_repeatable() -> None:
    confusion = confusion_matrix(np.tile(LABELS, 30), np.tile(PREDICTED, 30), 3)
    low, high = macro_f1_interval(confusion)
    assert low < macro_f1(confusion) < high
    assert (low, high) == macro_f1_interval(confusion)
    assert high - low < 0.15


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
        "recall": 1.0,
        "recall_95": [round(v, 4) for v in wilson(1, 1)],
        "precision": 0.5,
        "f1": round(2 / 3, 4),
    }
    assert figures["confusion"][0] == [1, 0, 0, 1, 0, 0, 0]


def test_evaluation_with_an_absent_class_is_json() -> None:
    figures = Evaluation.of(np.eye(7)[:2], np.arange(2)).figures()
    assert figures["recall"]["neutral"] is None
    assert json.loads(json.dumps(figures, allow_nan=False))["accuracy"] == 1.0


def test_evaluation_checks_its_shapes() -> None:
    with pytest.raises(ValueError, match=r"probabilities must be \(2, 7\)"):
        Evaluation.of(np.zeros((2, 6)), np.zeros(2, np.int64))
