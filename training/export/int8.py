"""A bundle's int8 part: calibrated on training faces, its temperature and its figures from validation pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from fer_batch.bundle import ModelBundle, rewrite_bundle
from fer_batch.bundle_folder import Int8Part
from training.data.faces import FaceSet
from training.evaluation.evaluate import Evaluation, predict
from training.evaluation.metrics import fit_temperature, softmax
from training.evaluation.precision import difference
from training.export.portable import logit_network
from training.export.quantise import calibration_faces, quantise_convolutions


def int8_part(
    bundle: ModelBundle, training: FaceSet, validation: FaceSet, plain: Evaluation, split: str
) -> tuple[Int8Part, bytes]:
    """An int8 model of a bundle's weights, and what is to be said of it.

    Args:
        bundle: the model in float32.
        training: faces to calibrate the ranges of activations with.
        validation: labelled pictures that were not trained on.
        plain: what the model scores on them in float32.
        split: their name.
    """
    faces = calibration_faces(training, bundle.input_size, bundle.channels)
    content = quantise_convolutions(logit_network(bundle), faces)
    calibration = {"split": "Training", "faces": len(faces), "seed": 0}
    with tempfile.TemporaryDirectory() as folder:
        # Scored as the engine will do it, at temperature 1: the logits, but for a constant a picture.
        trial = Int8Part(1.0, {}, calibration)
        written = rewrite_bundle(bundle, Path(folder) / "trial", int8=(trial, content))
        logs = np.log(np.maximum(predict(written, validation, precision="int8"), 1e-12))
    temperature = round(fit_temperature(logs, validation.labels), 4)
    int8 = Evaluation.of(softmax(logs, temperature), validation.labels)
    figures = {"split": split, **int8.figures(), **difference(plain, int8)}
    return Int8Part(temperature, figures, calibration), content
