"""Estimates against numbers worked out by hand and against SciPy, where both compute the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.groups.compare import effect_size
from reports.groups.estimate import Estimate, draw, holm, moments, one_group, rank_probabilities, two_groups


def test_people_are_drawn_within_their_stratum_and_the_same_seed_draws_the_same() -> None:
    drawn = draw(["a", "b", "a", "a", "b"], 500, 7)
    assert drawn.shape == (500, 5)
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (drawn[:, [1, 4]].sum(axis=1) == 2).all()
    assert drawn.max() == 3
    assert np.array_equal(drawn, draw(["a", "b", "a", "a", "b"], 500, 7))
    assert not np.array_equal(drawn, draw(["a", "b", "a", "a", "b"], 500, 8))


def test_moments_of_a_resample_are_those_of_the_people_drawn() -> None:
    values = np.array([[1.0, 5.0], [2.0, np.nan], [4.0, 7.0], [9.0, 9.0]])
    found = moments(values, np.array([[2, 0, 1, 1]], np.float32))
    assert found.people.tolist() == [4, 3]
    assert found.mean.tolist() == [4, 7]
    assert found.error[0] == pytest.approx(stats.sem([1, 2, 4, 9]))
    assert found.drawn_mean[0].tolist() == pytest.approx([np.mean([1, 1, 4, 9]), np.mean([5, 5, 7, 9])])
    assert found.drawn_error[0].tolist() == pytest.approx([stats.sem([1, 1, 4, 9]), stats.sem([5, 5, 7, 9])], rel=1e-5)


def test_differences_and_their_t_are_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(1, 1, 25), random.normal(0.4, 2, 25)
    drawn = draw([0] * 25, 999, 0)
    paired = one_group((a - b)[:, None], drawn)
    expected = stats.ttest_rel(a, b)
    assert paired.value[0] / paired.error[0] == pytest.approx(expected.statistic)
    # Normal values: bootstrap-t comes near to Student's t.
    low, high = expected.confidence_interval(0.95)
    assert (paired.low[0], paired.high[0]) == pytest.approx((low, high), abs=0.25 * (high - low))
    assert paired.p[0] == pytest.approx(expected.pvalue, abs=0.03)

    first, second = np.r_[a, np.full(25, np.nan)][:, None], np.r_[np.full(25, np.nan), b][:, None]
    apart = two_groups(first, second, draw([0] * 25 + [1] * 25, 999, 0))
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert apart.value[0] / apart.error[0] == pytest.approx(welch.statistic)
    assert apart.p[0] == pytest.approx(welch.pvalue, abs=0.03)
    assert apart.people.tolist() == [25]


def test_intervals_are_the_studentised_bootstrap_of_scipys_resampling() -> None:
    """The same quantile from SciPy's own resamples of the same statistic, within the noise of resampling."""
    x = np.random.default_rng(2).gamma(1.0, 1.0, 20)

    def t(sample: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.abs(sample.mean(axis=axis) - x.mean()) / stats.sem(sample, axis=axis))

    reference = stats.bootstrap((x,), t, n_resamples=9999, method="percentile", rng=np.random.default_rng(3))
    q = np.quantile(reference.bootstrap_distribution, 0.95)
    found = one_group(x[:, None], draw([0] * 20, 9999, 4))
    assert (found.high[0] - found.value[0]) / found.error[0] == pytest.approx(q, rel=0.06)


def test_a_band_is_wider_than_its_intervals_and_one_place_is_no_band() -> None:
    values = np.random.default_rng(5).normal(size=(20, 40))
    drawn = draw([0] * 20, 999, 6)
    band, points = one_group(values, drawn, at_once=True), one_group(values, drawn)
    reach = (band.high - band.value) / band.error
    assert reach == pytest.approx(reach[0])
    assert (reach[0] > (points.high - points.value) / points.error).all()
    single = one_group(values[:, :1], drawn, at_once=True)
    assert single.high[0] == pytest.approx(points.high[0], rel=1e-5)
    assert single.p[0] == points.p[0]
    # Whoever lies outside the band has a p value below 5 %, corrected for all places.
    shifted = one_group(values + np.linspace(0, 2, 40), drawn, at_once=True)
    outside = (shifted.low > 0) | (shifted.high < 0)
    assert outside.any()
    assert not outside.all()
    assert (outside == (shifted.p <= 0.05)).all()


def intervals(found: Estimate) -> list[bool]:
    return [bool(known) for known in np.isfinite(found.low)]


def test_fewer_than_twelve_people_have_no_interval_and_neither_have_those_who_do_not_vary() -> None:
    values = np.random.default_rng(8).normal(size=(12, 3))
    values[0, 1] = np.nan
    values[:, 2] = 0.25
    found = one_group(values, draw([0] * 12, 999, 0))
    assert intervals(found) == [True, False, False]
    assert found.people.tolist() == [12, 11, 12]
    assert np.isfinite(found.value).all()
    alone = np.zeros((12, 1))
    alone[3] = 1.0  # a third of the resamples lacks this person
    assert intervals(one_group(alone, draw([0] * 12, 999, 0))) == [False]
    assert intervals(one_group(np.full((12, 1), np.nan), draw([0] * 12, 999, 0))) == [False]


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04 x 1, none below the one before it; the unknown one is not counted.
    assert holm(np.array([0.04, 0.01, np.nan, 0.03, 0.02])).tolist() == pytest.approx(
        [0.06, 0.04, np.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm(np.array([0.6, 0.5])).tolist() == [1, 1]
    assert holm(np.array([np.nan])).tolist() == pytest.approx([np.nan], nan_ok=True)


def test_rank_probabilities_are_counted() -> None:
    values = np.array([[0.9, 0.1, 0.5], [0.7, 0.3, 0.2]])
    drawn = np.array([[1, 1], [0, 2], [2, 0], [1, 1]], np.float32)
    # Means: (.8, .2, .35), (.7, .3, .2), (.9, .1, .5), (.8, .2, .35).
    assert rank_probabilities(values, drawn).tolist() == [[1, 0, 0], [0, 0.25, 0.75], [0, 0.75, 0.25]]
    tied = rank_probabilities(np.ones((2, 4)), drawn)
    assert tied == pytest.approx(np.full((4, 4), 0.25))


def test_effect_sizes_by_hand() -> None:
    a, b = np.array([2.0, 4.0, 6.0]), np.array([1.0, 1.0, 4.0])
    # Mean difference 2; variances 4 and 3; J = 1 - 3 / (4 * 2 - 1) paired, 1 - 3 / (4 * 4 - 1) independent.
    assert effect_size(a, b, paired=True)[0] == pytest.approx(4 / 7 * 2 / np.sqrt(3.5))
    assert effect_size(a, b, paired=False)[0] == pytest.approx(0.8 * 2 / np.sqrt(3.5))
    c = np.array([np.nan, 0.0, 2.0, 4.0, 6.0])
    # Pooled variance (2 * 4 + 3 * 20 / 3) / 5; J = 1 - 3 / (4 * 5 - 1).
    assert effect_size(a, c, paired=False)[0] == pytest.approx((1 - 3 / 19) * 1 / np.sqrt(28 / 5))
    assert effect_size(np.ones(9), np.ones(9), paired=True) == (None, None, None)


def test_effect_sizes_have_scipys_interval_from_twelve_people_on() -> None:
    random = np.random.default_rng(9)
    a, b = random.normal(1, 1, 20), random.normal(0, 1, 20)
    g, low, high = effect_size(a, b, paired=True, seed=3)
    assert g is not None
    assert low is not None
    assert high is not None
    assert low < g < high
    assert effect_size(a, b, paired=True, seed=3) == (g, low, high)
    assert effect_size(a[:11], b[:11], paired=True)[1:] == (None, None)
