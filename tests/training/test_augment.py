"""Varied pictures: repeatable, centred, and made in the background."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from tests.training.faces import pictures
from training.augment import EpochStream, augment, resize
from training.recipe import Augmentation

UNCHANGED = Augmentation(flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0)


def test_without_variation_pictures_are_only_enlarged() -> None:
    images = pictures(4).images
    same = augment(images, 48, UNCHANGED, np.random.default_rng(0))
    assert (same[..., 0] == images).all()
    larger = augment(images, 96, UNCHANGED, np.random.default_rng(0))[..., 0].astype(int)
    expected = resize(images, 96)[..., 0].astype(int)
    assert np.abs(larger - expected)[:, 2:-2, 2:-2].max() <= 2  # rounding; borders are mirrored, not repeated


def test_a_flip_is_a_mirror_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    flipped = augment(images, 48, dataclasses.replace(UNCHANGED, flip=1), np.random.default_rng(0))
    assert (flipped[..., 0] == images[:, :, ::-1]).all()


def test_brightness_and_contrast_keep_the_range() -> None:
    how = dataclasses.replace(UNCHANGED, contrast=0.9, brightness=200)
    varied = augment(pictures(50).images, 48, how, np.random.default_rng(0))
    assert varied.dtype == np.uint8
    assert varied.min() == 0
    assert varied.max() == 255


def test_erasing_covers_what_it_should() -> None:
    images = np.zeros((200, 48, 48), np.uint8)
    how = dataclasses.replace(UNCHANGED, erase=1.0, erase_area=(0.1, 0.1))
    covered = (augment(images, 48, how, np.random.default_rng(0)) > 0).mean(axis=(1, 2, 3))
    assert np.median(covered) == pytest.approx(0.1, abs=0.01)


def test_resizing() -> None:
    images = pictures(2).images
    assert resize(images, 48).shape == (2, 48, 48, 1)
    assert resize(images, 96).shape == (2, 96, 96, 1)
    assert resize(images, 24).shape == (2, 24, 24, 1)
    assert (resize(images, 48)[..., 0] == images).all()


def test_an_epoch_shows_each_picture_once_and_repeats_under_its_seed() -> None:
    faces = pictures(22)
    epochs = []
    for seed in ([1, 0], [1, 0], [1, 1]):
        with EpochStream(faces.images, size=48, batch=5, how=Augmentation(), seed=seed) as stream:
            assert len(stream) == 4
            epochs.append(list(stream))
    rows = np.concatenate([batch.rows for batch in epochs[0]])
    assert len(set(rows.tolist())) == 20
    assert all((a.images == b.images).all() for a, b in zip(epochs[0], epochs[1], strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(epochs[0], epochs[2], strict=True))


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with EpochStream(pictures(100).images, size=48, batch=2, how=Augmentation(), seed=[0]) as stream:
        next(iter(stream))
    assert threading.active_count() == before


def test_an_error_in_the_thread_reaches_the_consumer() -> None:
    with (
        EpochStream(pictures(10).images, size=-1, batch=2, how=Augmentation(), seed=[0]) as stream,
        pytest.raises(ValueError, match="negative"),
    ):
        list(stream)
