"""Cut a face out of a picture so that it lies as the model expects: eyes, nose and mouth at the bundle's template."""

from __future__ import annotations

import cv2
import numpy as np


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity transform (turn, scale, shift) that brings `points` closest to `target` in least squares.

    With points as complex numbers the transform is w = a z + b, and a = sum(conj(z) w) / sum(|z|^2) over centred
    points (Umeyama 1991, in the plane and without reflection).

    Args:
        points: float (n, 2), not all the same.
        target: float (n, 2).

    Returns:
        float64 (2, 3): ``[[re a, -im a, re b], [im a, re a, im b]]``.
    """
    z = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    w = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    spread = np.sum(np.abs(z - z.mean()) ** 2)
    a = np.vdot(z - z.mean(), w - w.mean()) / spread if spread > 0 else 1.0 + 0j
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crop_face(image: np.ndarray, landmarks: np.ndarray, template: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Cut out an aligned face.

    What lies beyond the picture's border is filled with the border's pixels. A face much larger than the crop is
    reduced by averaging first, so that fine texture does not turn into false patterns.

    Args:
        image: uint8 (height, width, 3), BGR.
        landmarks: float (5, 2), pixels.
        template: float (5, 2), where the landmarks shall lie, as fractions of the crop.
        size: side of the crop in pixels.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (size, size, channels).
    """
    matrix = similarity(landmarks, template * size)
    region, origin = _region(image, matrix, size)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    shrink = max(1, int(0.5 / max(scale, 1e-6)))
    shrink = max(1, min(shrink, region.shape[0], region.shape[1]))
    grey_or_rgb = cv2.cvtColor(region, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB)
    factor = np.ones(2)
    if shrink > 1:
        reduced = (max(1, region.shape[1] // shrink), max(1, region.shape[0] // shrink))
        factor = np.array([region.shape[1] / reduced[0], region.shape[0] / reduced[1]])
        grey_or_rgb = cv2.resize(grey_or_rgb, reduced, interpolation=cv2.INTER_AREA)
    # pixel centres: position p in the reduced region is (p + 0.5) * factor - 0.5 + origin in the picture
    linear = matrix[:, :2] * factor
    shift = matrix[:, :2] @ (origin + 0.5 * factor - 0.5) + matrix[:, 2]
    crop = cv2.warpAffine(
        grey_or_rgb,
        np.column_stack([linear, shift]),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crop.reshape(size, size, channels)


def sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian of a grey version of the crop (Pech-Pacheco et al. 2000); higher is sharper."""
    grey = crop[..., 0] if crop.shape[2] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _region(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the crop is made from, never empty, and its upper left corner (x, y)."""
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float64)
    try:
        inside = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    except np.linalg.LinAlgError:
        return image, np.zeros(2)
    height, width = image.shape[:2]
    margin = 2 + int(1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6))
    left, top = np.floor(inside.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(inside.max(axis=0)).astype(int) + margin
    left, right = int(np.clip(left, 0, width - 1)), int(np.clip(right, 1, width))
    top, bottom = int(np.clip(top, 0, height - 1)), int(np.clip(bottom, 1, height))
    return image[top : max(bottom, top + 1), left : max(right, left + 1)], np.array([left, top], np.float64)
