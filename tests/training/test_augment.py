"""Varied pictures: repeatable, centred, and made in the background."""

from __future__ import annotations

import dataclasses
import threading

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_batch.align import crop_face
from tests.training.faces import pictures
from training.data.landmarks import alignments
from training.fit.augment import EpochStream, augment, epoch_order, resize
from training.fit.recipe import Augmentation

FACE = np.array([[0.32, 0.39], [0.68, 0.39], [0.5, 0.6], [0.36, 0.76], [0.64, 0.76]], np.float32)
"""A symmetric template."""

UNCHANGED = Augmentation(
    flip=0, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erase=0, aligned=0, detail=0, balance=0
)


def smooth(count: int) -> npt.NDArray[np.uint8]:
    """Pictures without fine detail, so that interpolating them in one step or in two makes little difference."""
    noise = np.random.default_rng(0).normal(128, 900, (count, 48, 48)).astype(np.float32)
    return np.stack([np.clip(cv2.GaussianBlur(picture, (0, 0), 4), 0, 255) for picture in noise]).astype(np.uint8)


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


def test_aligned_pictures_are_those_that_the_engine_cuts_out() -> None:
    images = smooth(6)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    landmarks = ((FACE - 0.5) @ turn * 0.8 + (0.52, 0.47)).astype(np.float32)
    maps = alignments(np.repeat(landmarks[None], 6, axis=0), FACE, 48)
    how = dataclasses.replace(UNCHANGED, aligned=1)
    aligned = augment(images, 96, how, np.random.default_rng(0), maps)
    for image, mine in zip(images, aligned, strict=True):
        large = cv2.cvtColor(cv2.resize(image, (480, 480), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR)
        theirs = crop_face(large, landmarks * 480, FACE, 96, 1)
        assert np.abs(mine.astype(float) - theirs).mean() < 2.5  # half a pixel of the crop and rounding
    plain = augment(images, 96, UNCHANGED, np.random.default_rng(0), maps)
    assert np.abs(plain.astype(float) - aligned).mean() > 15
    mirrored = augment(images, 96, dataclasses.replace(how, flip=1), np.random.default_rng(0), maps)
    assert np.abs(mirrored[:, :, ::-1].astype(int) - aligned).max() <= 3  # the warp places pixels to a 32nd


def test_pictures_without_a_face_stay_as_they_are() -> None:
    images = smooth(400)
    maps = np.repeat(np.array([[[0.0, -1.0, 47.0], [1.0, 0.0, 0.0]]]), 400, axis=0)  # a quarter turn
    maps[::2] = np.nan
    varied = augment(images, 48, dataclasses.replace(UNCHANGED, aligned=0.5), np.random.default_rng(0), maps)[..., 0]
    kept = (varied == images).all(axis=(1, 2))
    turned = (varied == np.rot90(images, -1, axes=(1, 2))).all(axis=(1, 2))
    assert kept[::2].all()
    assert (kept ^ turned)[1::2].all()
    assert 70 <= turned.sum() <= 130  # half of two hundred, four standard deviations to either side


def test_detail_is_weakened_and_strengthened() -> None:
    """A fine grating of two pixels is multiplied by what was drawn, a flat picture stays flat."""
    grating = np.where(np.arange(48) % 2, 148, 108).astype(np.uint8)
    images = np.repeat(np.tile(grating, (48, 1))[None], 300, axis=0)
    how = dataclasses.replace(UNCHANGED, detail=0.7)
    swings = augment(images, 48, how, np.random.default_rng(0))[:, 10:-10, 10:-10, 0].std(axis=(1, 2)) / 20
    assert swings.min() == pytest.approx(np.exp(-0.7), abs=0.05)
    assert swings.max() == pytest.approx(np.exp(0.7), abs=0.1)
    assert np.median(swings) == pytest.approx(1, abs=0.1)
    flat = np.full((9, 48, 48), 77, np.uint8)
    assert (augment(flat, 48, how, np.random.default_rng(0)) == 77).all()


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


def test_balancing_the_classes() -> None:
    labels = np.repeat([0, 1, 4], [60, 30, 10])
    for balance, expected in ((0.0, [60, 30, 10]), (1.0, [34, 33, 33]), (0.5, [47, 33, 20])):
        order = epoch_order(labels, balance, np.random.default_rng(3))
        shown = np.bincount(order, minlength=100)
        found = [int(shown[labels == kind].sum()) for kind in (0, 1, 4)]
        assert sum(found) == 100
        assert np.abs(np.subtract(found, expected)).max() <= 1, balance
        for kind in (0, 1, 4):
            assert np.ptp(shown[labels == kind]) <= 1
        assert (order == epoch_order(labels, balance, np.random.default_rng(3))).all()
        assert (order[:-1] > order[1:]).any()


def test_a_balanced_epoch_needs_labels() -> None:
    how = dataclasses.replace(UNCHANGED, balance=1.0)
    labels = np.repeat([0, 1], [90, 10])
    with EpochStream(smooth(100), size=48, batch=20, how=how, seed=[0], labels=labels) as stream:
        rows = np.concatenate([batch.rows for batch in stream])
    assert np.bincount(labels[rows]).tolist() == [50, 50]
    with pytest.raises(ValueError, match="without labels"):
        EpochStream(smooth(1), size=48, batch=1, how=how, seed=[0])


def test_alignments_follow_their_pictures() -> None:
    """Shuffled, each picture still meets its own map: one that moves everything out of sight for even rows."""
    images = np.full((40, 48, 48), 200, np.uint8)
    images[:, :, :5] = 10  # repeated beyond the border
    away = np.repeat(np.array([[[1.0, 0.0, 100.0], [0.0, 1.0, 0.0]]]), 40, axis=0)
    away[1::2] = np.nan
    how = dataclasses.replace(UNCHANGED, aligned=1)
    with EpochStream(images, size=48, batch=8, how=how, seed=[4], alignments=away) as stream:
        for batch in stream:
            assert ((batch.images == 10).all(axis=(1, 2, 3)) == (batch.rows % 2 == 0)).all()


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
