"""An int8 model from a float one: quantised after training, calibrated on faces.

Weights are int8 with a scale for each channel, activations int8 with one scale for each tensor; BatchNormalization is
folded into the convolutions. There are two kinds. For other programs everything is int8: uint8 pixels go in as they
are, float32 probabilities come out, multiples of 1/256, so those below 0.002 are zero and a row sums to 1 within 0.02.
For our own bundles the last layers stay float32: otherwise a hundredth of all pictures has two equal highest logits.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.messages import messages_aside
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
    converter = _converter(network, faces)
    import tensorflow as tf

    # Without the float operators as a way out: what cannot be int8 is an error.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    with quiet():
        return bytes(converter.convert())


def quantise_convolutions(network: keras.Model, faces: Images) -> bytes:
    """A TFLite model whose fully connected layers, the last ones, are float32 and all others int8.

    Args:
        network: from float pixels (B, S, S, C), 0..255, to logits (B, 7).
        faces: (N, S, S, C) uint8 from :func:`calibration_faces`.

    Returns:
        The file's content. It takes float32 pixels, 0..255, and its batch size is open.
    """
    converter = _converter(network, faces)
    import tensorflow as tf

    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["FULLY_CONNECTED"])
    with quiet():
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_options=options, debug_dataset=converter.representative_dataset
        )
        return bytes(debugger.get_nondebug_quantized_model())


def _converter(network: keras.Model, faces: Images) -> Any:
    load_keras()
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([face[None].astype(np.float32)] for face in faces)
    return converter


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps to itself what Keras and TensorFlow say while they write and convert; shows it after all if they fail.

    TensorFlow's warnings name parts that it means to move to other packages: `pip` keeps the version that has them.
    """
    with messages_aside(), redirect_stdout(StringIO()) as spoken, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except BaseException:
            sys.stderr.write(spoken.getvalue())
            raise
