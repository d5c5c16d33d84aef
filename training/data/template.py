"""Where a face lies in a typical training picture, so that the engine can cut its crops alike."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from training.data.landmarks import MIRRORED

FACES_NEEDED: Final = 50
"""Fewer faces than this do not make a template."""


def landmark_template(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median position of the five landmarks, made symmetric.

    Args:
        landmarks: (N, 5, 2) as fractions of the picture's side, NaN where there is no face; see
            :func:`training.data.landmarks.find_landmarks`.

    Returns:
        (5, 2) float32, x and y as fractions of the crop's side, in the order of ``LANDMARKS``.

    Raises:
        ValueError: there are too few faces.
    """
    found = landmarks[np.isfinite(landmarks).all(axis=(1, 2))]
    if len(found) < FACES_NEEDED:
        raise ValueError(
            f"the detector found {len(found)} faces in {len(landmarks)} pictures; {FACES_NEEDED} are needed"
        )
    median = np.median(found, axis=0)
    # Models are trained on mirror images too, so what is left of a lean to one side is chance.
    mirrored = median[list(MIRRORED)] * (-1, 1) + (1, 0)
    return ((median + mirrored) / 2).astype(np.float32)
