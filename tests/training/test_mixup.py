"""MixUp blends pictures and targets by the same share, and leaves everything alone when it is off."""

from __future__ import annotations

import numpy as np

from training.fit.mixup import mix

LEVELS = np.array([0, 40, 80, 120, 160, 200, 240], np.uint8)
IMAGES = np.repeat(LEVELS, 16).reshape(7, 4, 4, 1)
TARGETS = np.eye(7, dtype=np.float32)
VOTES = np.eye(7, 10, dtype=np.float32)


def test_off_changes_nothing() -> None:
    mixed = mix(IMAGES, TARGETS, VOTES, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.images, IMAGES)
    np.testing.assert_array_equal(mixed.targets, TARGETS)


def test_shares_of_picture_and_targets_agree() -> None:
    mixed = mix(IMAGES, TARGETS, VOTES, 0.4, np.random.default_rng(1))
    np.testing.assert_allclose(mixed.targets.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(mixed.votes[:, :7], mixed.targets)
    # Each picture is flat, so the targets say what grey the blend must have.
    np.testing.assert_allclose(mixed.images[:, 0, 0, 0], mixed.targets @ LEVELS, atol=0.51)
    assert (mixed.targets.argmax(axis=1) == np.arange(7)).all()
    assert mixed.targets.max(axis=1).min() < 0.95  # something was blended


def test_the_seed_decides() -> None:
    one, same, other = (mix(IMAGES, TARGETS, VOTES, 0.4, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)
