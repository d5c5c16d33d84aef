"""The crop template is the faces' median, and symmetric."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.template import landmark_template

FACE = np.array([[0.32, 0.39], [0.68, 0.39], [0.5, 0.6], [0.36, 0.76], [0.64, 0.76]], np.float32)
"""A symmetric template."""


def test_pictures_without_faces_make_no_template() -> None:
    landmarks = np.full((60, 5, 2), np.nan, np.float32)
    landmarks[:49] = FACE
    with pytest.raises(ValueError, match="found 49 faces in 60 pictures; 50 are needed"):
        landmark_template(landmarks)


def test_it_is_the_median_without_the_lean() -> None:
    random = np.random.default_rng(0)
    landmarks = FACE + random.normal(0, 0.02, (401, 5, 2)) + (0.03, 0.0)  # all lean to the right
    landmarks[:60] = random.uniform(0, 1, (60, 5, 2))  # a few are elsewhere altogether
    landmarks[60:90] = np.nan
    template = landmark_template(landmarks.astype(np.float32))
    assert template.dtype == np.float32
    np.testing.assert_allclose(template, FACE, atol=0.005)
    np.testing.assert_allclose(template[[1, 0, 2, 4, 3], 0], 1 - template[:, 0], atol=1e-6)
    np.testing.assert_allclose(template[[1, 0, 2, 4, 3], 1], template[:, 1], atol=1e-6)
