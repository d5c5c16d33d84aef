"""An int8 model from a float one: quantised after training, calibrated on faces, and run where it was made.

Weights are int8 with a scale for each channel, activations int8 with one scale for each tensor; BatchNormalization is
folded into the convolutions. uint8 pixels go in as they are, float32 probabilities come out. The output layer knows
multiples of 1/256 only, so probabilities below 0.002 are zero and a row sums to 1 within 0.02.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.network import load_keras
from training.data.faces import FaceSet
from training.fit.augment import resize

if TYPE_CHECKING:
    import keras

CALIBRATION: Final = 200
"""Faces from which the activations' ranges are learnt; TensorFlow's guide asks for 100 to 500."""

Images = npt.NDArray[np.uint8]


def calibration_faces(training: FaceSet, size: int, channels: int = 1, seed: int = 0) -> Images:
    """Faces of the training split that stand for what the model will see: (N, size, size, channels) uint8.

    They are drawn at random, blank ones left out. One is stretched to the full range if none reaches from 0 to 255, so
    that the quantised input is exactly the pixel.

    Raises:
        ValueError: every picture is blank, or there is none.
    """
    usable = np.flatnonzero(~training.blank())
    if not len(usable):
        raise ValueError("there is no picture to calibrate with: all are blank")
    count = min(CALIBRATION, len(usable))
    faces = resize(training.images[np.sort(np.random.default_rng(seed).permutation(usable)[:count])], size)
    if faces.min() > 0 or faces.max() < 255:
        low, high = faces[0].min(), faces[0].max()
        faces[0] = np.rint((faces[0].astype(np.float64) - low) * (255 / max(1, int(high) - int(low)))).astype(np.uint8)
    return np.repeat(faces, channels, axis=3)


def quantise(network: keras.Model, faces: Images) -> bytes:
    """A TFLite model whose arithmetic is int8 throughout.

    Args:
        network: from float pixels (B, S, S, C), 0..255, to probabilities (B, 7).
        faces: (N, S, S, C) uint8 from :func:`calibration_faces`.

    Returns:
        The file's content. Its batch size is open: ``resize_tensor_input`` sets it.
    """
    load_keras()
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([face[None].astype(np.float32)] for face in faces)
    # Without the float operators as a way out: what cannot be int8 is an error.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    with quiet():
        return bytes(converter.convert())


class Int8Scorer:
    """A quantised model, loaded and ready: crops in, probabilities out, as :class:`fer_batch.score.Scorer`.

    Args:
        model: content of a ``.tflite`` file from :func:`quantise`.
        threads: of the interpreter; all cores by default.
    """

    def __init__(self, model: bytes, *, threads: int | None = None) -> None:
        load_keras()
        import tensorflow as tf

        with quiet():
            self._interpreter: Any = tf.lite.Interpreter(
                model_content=model, num_threads=threads or os.cpu_count() or 1
            )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._batch = 0

    def __call__(self, crops: Images) -> npt.NDArray[np.float32]:
        """Probabilities (N, 7) float32 of crops (N, S, S, C) uint8, N at least 1."""
        if len(crops) != self._batch:
            with quiet():  # it reports what runs its operators each time
                self._interpreter.resize_tensor_input(self._input, crops.shape)
                self._interpreter.allocate_tensors()
            self._batch = len(crops)
        self._interpreter.set_tensor(self._input, crops)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output), np.float32)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps to itself what Keras and TensorFlow say while they write and convert; shows it after all if they fail.

    Part of it is written by C++ to file descriptor 2, so that is turned aside. TensorFlow's warnings name parts that it
    means to move to other packages: `pip` keeps the version that has them.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    spoken = StringIO()
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            with redirect_stdout(spoken), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except BaseException:
            aside.seek(0)
            os.write(screen, spoken.getvalue().encode() + aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
