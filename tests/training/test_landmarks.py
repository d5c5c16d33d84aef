"""Landmarks of real training pictures, and the maps that lay faces at the template."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_batch.bundle import ModelBundle
from training.data import landmarks as module
from training.data.landmarks import alignments, find_landmarks
from training.data.template import landmark_template

FACE = np.array([[0.32, 0.39], [0.68, 0.39], [0.5, 0.6], [0.36, 0.76], [0.64, 0.76]], np.float32)
"""A symmetric template."""


@pytest.fixture(scope="module")
def real(shared: Path) -> npt.NDArray[np.uint8]:
    """The first sixty pictures of FER2013, and a blank one at the end."""
    with gzip.open(shared / "fer2013" / "fer2013.csv.gz", "rt") as file:
        lines = list(islice(file, 1, 61))
    faces = np.array([line.split(",")[1].split() for line in lines], dtype=np.uint8).reshape(-1, 48, 48)
    return np.concatenate([faces, np.full((1, 48, 48), 128, np.uint8)])


def test_landmarks_of_real_pictures(real: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_landmarks(real)
    assert found.shape == (61, 5, 2)
    assert found.dtype == np.float32
    assert np.isnan(found[60]).all()
    assert np.isfinite(found[:60]).all(axis=(1, 2)).sum() >= 52
    right_eye, left_eye, nose, right_mouth, left_mouth = np.nanmedian(found, axis=0)
    assert right_eye[0] < right_mouth[0] < nose[0] < left_mouth[0] < left_eye[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    monkeypatch.setattr("training.data.template.FACES_NEEDED", 20)
    template = landmark_template(found)
    np.testing.assert_allclose(template, ModelBundle.load().template, atol=0.04)
    # In the mirror image the same points are found, mirrored: both looks went into the answer.
    flipped = find_landmarks(np.ascontiguousarray(real[:9, :, ::-1]))
    both = np.isfinite(found[:9, 0, 0]) & np.isfinite(flipped[:, 0, 0])
    back = flipped[:, [1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
    np.testing.assert_allclose(back[both], found[:9][both], atol=1e-4)


def test_they_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    cache = tmp_path / "cache"
    first = find_landmarks(images, cache=cache)
    (kept,) = cache.iterdir()
    assert kept.name.startswith("landmarks-1-")
    np.save(kept, np.full((3, 5, 2), 0.25, np.float32))
    assert (find_landmarks(images, cache=cache) == 0.25).all()
    # Other pictures are another file.
    np.testing.assert_array_equal(find_landmarks(images[::-1].copy(), cache=cache), first[::-1])
    assert len(list(cache.iterdir())) == 2


def test_the_answers_order_does_not_depend_on_threads(
    real: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = find_landmarks(real[:12])
    monkeypatch.setattr(module, "CHUNK", 5)
    np.testing.assert_array_equal(find_landmarks(real[:12]), whole)


def test_no_pictures() -> None:
    assert find_landmarks(np.empty((0, 48, 48), np.uint8)).shape == (0, 5, 2)


def test_alignments_lay_faces_at_the_template() -> None:
    shrunk = (FACE - 0.5) * 0.8 + 0.45
    landmarks = np.stack([FACE, shrunk, np.full((5, 2), np.nan), (FACE - 0.5) * 0.3 + 0.5]).astype(np.float32)
    maps = alignments(landmarks, FACE, 48)
    np.testing.assert_allclose(maps[0], [[1, 0, 0], [0, 1, 0]], atol=1e-5)
    placed = (landmarks[1] * 48 - 0.5) @ maps[1, :, :2].T + maps[1, :, 2]
    np.testing.assert_allclose(placed, FACE * 48 - 0.5, atol=1e-4)
    assert np.isnan(maps[2]).all()
    assert np.isnan(maps[3]).all()  # so small a face is not the one the picture was cut around
