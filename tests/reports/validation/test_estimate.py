"""Measures against published examples, scikit-learn and hand-made answers; intervals against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from reports.validation.estimate import (
    Estimate,
    calibration,
    cohen_kappa,
    effective_n,
    interval,
    krippendorff_alpha,
    multiplicities,
    rate,
    run_weights,
    wilson,
)


def ones(n: int) -> NDArray[np.float64]:
    return np.ones((1, n))


def test_kappa_by_hand() -> None:
    # 20 times both say 0, 15 times both 1, 5 and 10 times they differ: 0.7 observed, 0.5 by chance.
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert cohen_kappa(ones(50), first, second, 2) == pytest.approx([0.4])


def test_kappa_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    first = random.integers(0, 7, 300)
    second = np.where(random.random(300) < 0.6, first, random.integers(0, 7, 300))
    weights = random.random((3, 300)) * 10
    expected = [cohen_kappa_score(first, second, sample_weight=row) for row in weights]
    np.testing.assert_allclose(cohen_kappa(weights, first, second, 7), expected)


def test_kappa_of_one_class_only_is_not_defined() -> None:
    assert np.isnan(cohen_kappa(ones(3), np.zeros(3, int), np.zeros(3, int), 7)).all()
    assert interval(np.array([np.nan]), 3, 3) == Estimate(None, None, None, 3)


def test_alpha_of_the_published_example() -> None:
    # Krippendorff 2011, example C: four observers, twelve units, gaps; nominal alpha 0.743.
    gap = 0
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
            [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
        ]
    )
    assert krippendorff_alpha(ones(12), table - 1, 5)[0] == pytest.approx(0.743, abs=5e-4)
    # A face that counts twice is the same as two faces.
    twice = np.concatenate([table, table[:, :1]], axis=1)
    weights = np.r_[2, np.ones(11)][None]
    assert krippendorff_alpha(weights, table - 1, 5) == pytest.approx(krippendorff_alpha(ones(13), twice - 1, 5))


def test_wilson_of_the_published_example() -> None:
    # Newcombe 1998, table I.
    np.testing.assert_allclose(wilson(81 / 263, 263), (0.2553, 0.3662), atol=1e-4)
    np.testing.assert_allclose(wilson(0, 20), (0, 0.1611), atol=1e-4)


def test_weights_make_each_stratum_as_large_as_in_the_run() -> None:
    inclusion = np.array([0.5, 0.25, 0.1, 0.1, 1.0])
    stratum = np.array([0, 0, 1, 1, 2])
    coded = np.array([True, True, True, False, False])
    weights = run_weights(ones(5), inclusion, stratum, np.array([12, 40, 3]), coded)
    # 2 + 4 stand for 12: 4 and 8. The one of the second stratum stands for all 40; of the third nobody was coded.
    np.testing.assert_allclose(weights, [[4, 8, 40, 0, 0]])


def test_clusters_are_drawn_whole() -> None:
    clusters = np.array([5, 5, 9, 9, 9, 7])
    times = multiplicities(clusters, seed=0, resamples=50)
    assert times.shape == (51, 6)
    np.testing.assert_array_equal(times[0], 1)
    np.testing.assert_array_equal(times[:, 0], times[:, 1])
    np.testing.assert_array_equal(times[:, 2], times[:, 4])
    assert (times[1:, [0, 2, 5]].sum(axis=1) == 2).all()  # two of three
    assert multiplicities(np.zeros(4), seed=0).shape == (1, 4)


def test_effective_number() -> None:
    assert effective_n(np.ones(8)) == pytest.approx(8)
    assert effective_n(np.array([1.0, 1, 4, 4])) == pytest.approx(100 / 34)
    assert effective_n(np.ones(8), np.repeat([0, 1], 4)) == pytest.approx(2)


def test_faces_that_are_all_alike_count_as_one() -> None:
    right = np.random.default_rng(3).random(40) < 0.6
    alone = np.arange(40)
    single = rate(multiplicities(alone, 0), right, np.ones(40, bool), alone)
    together = np.repeat(alone, 10)
    tenfold = rate(multiplicities(together, 0), np.repeat(right, 10), np.ones(400, bool), together)
    assert (tenfold.value, tenfold.n) == (single.value, 400)
    assert tenfold.low == pytest.approx(single.low, abs=0.01)
    assert tenfold.high == pytest.approx(single.high, abs=0.01)
    # As independent faces they would promise far more.
    faces = np.arange(400)
    naive = rate(multiplicities(faces, 0), np.repeat(right, 10), np.ones(400, bool), faces)
    assert naive.high is not None
    assert naive.low is not None
    assert single.high is not None
    assert single.low is not None
    assert naive.high - naive.low < 0.5 * (single.high - single.low)


def test_all_right_is_no_proof() -> None:
    clusters = np.repeat(np.arange(5), 6)
    always = rate(multiplicities(clusters, 0), np.ones(30, bool), np.ones(30, bool), clusters)
    assert always.value == 1
    assert always.low == pytest.approx(wilson(1, 5)[0])
    nobody = rate(multiplicities(clusters, 0), np.ones(30, bool), np.zeros(30, bool), clusters)
    assert nobody == Estimate(None, None, None, 0)
    one = rate(ones(3), np.array([True, False, True]), np.ones(3, bool), np.zeros(3))
    assert one == Estimate(2 / 3, None, None, 3)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Clusters differ in how often they are right; 95 % of the intervals should hold the mean over clusters."""
    random = np.random.default_rng(11)
    held = {"rate": 0, "kappa": 0}
    trials = 150
    for _ in range(trials):
        clusters = np.repeat(np.arange(30), 6)
        right = random.random(180) < np.repeat(random.beta(7, 3, 30), 6)
        times = multiplicities(clusters, 0, resamples=200)
        found = rate(times, right, np.ones(180, bool), clusters)
        truth = random.integers(0, 2, 180)
        said = np.where(right, truth, 1 - truth)
        kappa = interval(cohen_kappa(times, truth, said, 2), 180, 30)
        assert found.low is not None
        assert found.high is not None
        assert kappa.low is not None
        assert kappa.high is not None
        held["rate"] += found.low <= 0.7 <= found.high
        held["kappa"] += kappa.low <= 0.4 <= kappa.high
    for name, times_held in held.items():
        assert 0.90 <= times_held / trials <= 0.99, (name, times_held)


def test_calibration_by_hand() -> None:
    # Weights 3 and 1 in the bin of .9 (one right), 2 in the bin of .5 (right).
    weights = np.array([[3.0, 1, 2]])
    confidence = np.array([0.95, 0.95, 0.45])
    right = np.array([True, False, True])
    found = calibration(weights, confidence, right, np.arange(3), seed=0)
    assert found.error.value == pytest.approx((4 * abs(0.75 - 0.95) + 2 * abs(1 - 0.45)) / 6)
    assert found.confidence == pytest.approx((4 * 0.95 + 2 * 0.45) / 6)
    assert found.excess.value == pytest.approx(found.confidence - 5 / 6)
    assert [(b.low, b.high, b.accuracy.n) for b in found.bins] == [(0.4, 0.5, 1), (0.9, 1.0, 2)]
    assert [b.accuracy.value for b in found.bins] == pytest.approx([1, 0.75])


def test_true_probabilities_show_the_error_that_chance_makes() -> None:
    random = np.random.default_rng(5)
    errors: list[float] = []
    expected: list[float] = []
    from_zero = 0
    for seed in range(40):
        confidence = random.uniform(0.3, 1, 150)
        right = random.random(150) < confidence
        faces = np.arange(150)
        found = calibration(multiplicities(faces, seed, resamples=100), confidence, right, faces, seed)
        errors.append(found.error.value or 0.0)
        expected.append(found.by_chance)
        from_zero += found.error.low == 0
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.1)
    assert from_zero >= 36


def test_a_model_that_is_too_sure_is_found_out() -> None:
    random = np.random.default_rng(6)
    confidence = random.uniform(0.7, 1, 300)
    right = random.random(300) < confidence - 0.25
    faces = np.arange(300)
    found = calibration(multiplicities(faces, 0), confidence, right, faces, seed=0)
    assert found.excess.low is not None
    assert found.excess.high is not None
    assert 0.1 < found.excess.low < 0.25 < found.excess.high < 0.4
    assert found.error.low is not None
    assert found.error.low > 0.1
