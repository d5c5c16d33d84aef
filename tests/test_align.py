from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_batch.align import crop_face, sharpness, similarity
from tests.tiny import TEMPLATE


@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-3.1, 3.1),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
)
def test_similarity_recovers_a_known_transform(scale: float, angle: float, x: float, y: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE * 100
    found = similarity(points, points @ turn.T + [x, y])
    np.testing.assert_allclose(found, np.column_stack([turn, [x, y]]), atol=1e-3 * max(1, scale))


def test_similarity_of_points_that_coincide_is_finite() -> None:
    assert np.isfinite(similarity(np.zeros((5, 2)), TEMPLATE)).all()


@pytest.mark.parametrize("size", [64, 100, 200, 700])
@pytest.mark.parametrize("angle", [0, 25, -60])
def test_landmarks_lie_on_the_template_in_the_crop(size: int, angle: float) -> None:
    """A face of any size and tilt, drawn as five discs, comes out with its discs where the template says."""
    middle = (600.0, 500.0)
    turn = cv2.getRotationMatrix2D(middle, angle, 1.0)
    upright = (TEMPLATE - 0.5) * size + middle
    points = upright @ turn[:, :2].T + turn[:, 2]
    image = np.zeros((1000, 1200, 3), np.uint8)
    for px, py in points:
        cv2.circle(image, (round(px * 16), round(py * 16)), round(size * 0.05 * 16), (255, 255, 255), -1, shift=4)
    crop = crop_face(image, points.astype(np.float32), TEMPLATE, 96, 1)[..., 0].astype(np.float64)
    for tx, ty in TEMPLATE * 96:
        window = crop[int(ty) - 8 : int(ty) + 9, int(tx) - 8 : int(tx) + 9]
        assert window.max() > 120
        rows, columns = np.mgrid[int(ty) - 8 : int(ty) + 9, int(tx) - 8 : int(tx) + 9]
        found = np.array([(columns * window).sum(), (rows * window).sum()]) / window.sum()
        np.testing.assert_allclose(found, [tx, ty], atol=0.5 + 0.35 * 96 / size)  # a third of a source pixel


def test_a_face_beyond_the_border_gets_the_borders_pixels() -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    for corner in ((-20, -20), (80, 80), (-300, 40), (500, 500)):
        crop = crop_face(image, (TEMPLATE * 50 + corner).astype(np.float32), TEMPLATE, 48, 1)
        assert crop.shape == (48, 48, 1)
        assert (crop == 90).all()


def test_colour_crops_are_rgb() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0] = 200  # blue in BGR
    crop = crop_face(image, TEMPLATE * 60 + 20, TEMPLATE, 32, 3)
    assert crop.shape == (32, 32, 3)
    assert (crop[..., 2] == 200).all()
    assert (crop[..., :2] == 0).all()


def test_fine_texture_of_a_large_face_is_averaged_not_aliased() -> None:
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255  # stripes of one pixel
    crop = crop_face(image, (TEMPLATE * 900 + 120).astype(np.float32), TEMPLATE, 48, 1)
    assert abs(float(crop.mean()) - 127.5) < 3
    assert crop.std() < 12


def test_sharpness_falls_with_blur() -> None:
    random = np.random.default_rng(0)
    crop = random.integers(0, 255, (64, 64, 1), dtype=np.uint8)
    blurred = cv2.GaussianBlur(crop, (0, 0), 2).reshape(64, 64, 1)
    assert sharpness(crop) > 10 * sharpness(blurred)
    assert sharpness(np.full((64, 64, 1), 7, np.uint8)) == 0
