"""A bundle's network in floating point, on TensorFlow: what a GPU runs, and a CPU where int8 would lose too much."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle
from fer_batch.network import EPSILON, build_network, load_keras, named_weights

log = logging.getLogger(__name__)


class FloatModel:
    """The network, compiled for a few batch sizes: pixels in, logits out.

    Args:
        bundle: the model.
        threads: size of TensorFlow's thread pool; None leaves it to TensorFlow (all cores). It can be set only before
            TensorFlow has run anything in this process; later it stays as it was, and a warning is logged.
        precision: Keras' dtype policy to compute in, ``float32`` or ``mixed_float16``.
        batch_sizes: the sizes that are compiled.

    Raises:
        BundleError: the bundle's weights cannot be read.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int | None, precision: str, batch_sizes: Sequence[int]) -> None:
        load_keras()
        _set_up_devices(threads)
        import tensorflow as tf

        network = scoring_network(bundle, precision)

        def forward(pixels: Any) -> Any:
            return tf.cast(network(tf.cast(pixels, tf.float32), training=False), tf.float32)

        self._network = network  # a tf.function does not keep its variables alive
        function = tf.function(forward, autograph=False)  # no Python control flow to convert; it would leave a file
        shape = (bundle.input_size, bundle.input_size, bundle.channels)
        self._forward = {
            size: function.get_concrete_function(tf.TensorSpec((size, *shape), tf.uint8)) for size in batch_sizes
        }
        self._constant = tf.constant

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N, 7) float32 of pixels (N, S, S, C) uint8, N one of the batch sizes; temperature not applied."""
        logits: npt.NDArray[np.float32] = self._forward[len(pixels)](self._constant(pixels)).numpy()
        return logits


def fold_batch_norm(weights: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """The backbone's weights with every BatchNormalization folded into the convolution before it.

    In scoring a BatchNormalization is a fixed scale and offset for each channel, which the convolution can apply itself
    for nothing; kept apart they cost a pass over every feature map.

    Args:
        weights: by name, as in a bundle.

    Returns:
        Weights of the same network without the backbone's BatchNormalization layers; the head's stays.
    """
    folded = dict(weights)
    for name in weights:
        if not name.endswith("_conv/kernel"):
            continue
        conv = name.removesuffix("/kernel")
        norm = conv.removesuffix("_conv") + "_bn"
        gamma, beta, mean, variance = (
            folded.pop(f"{norm}/{part}") for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        gain = gamma / np.sqrt(variance + EPSILON)
        folded[name] = (weights[name] * gain).astype(np.float32)
        folded[f"{conv}/bias"] = ((weights[f"{conv}/bias"] - mean) * gain + beta).astype(np.float32)
    return folded


def scoring_network(bundle: ModelBundle, precision: str) -> Any:
    """The bundle's network with its weights, BatchNormalization folded away.

    Args:
        bundle: the model.
        precision: Keras' dtype policy to compute in.

    Returns:
        A Keras model from pixels (batch, S, S, C), 0..255, to logits (batch, 7), temperature not applied.

    Raises:
        BundleError: the bundle's weights cannot be read.
    """
    keras = load_keras()

    def norm(*, epsilon: float, name: str) -> Any:
        if name == "head_bn":
            return keras.layers.BatchNormalization(epsilon=epsilon, name=name)
        return keras.layers.Identity(name=name)

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = build_network(
            Architecture.from_options(bundle.architecture),
            input_size=bundle.input_size,
            channels=bundle.channels,
            mean=bundle.mean,
            scale=bundle.scale,
            batch_norm=norm,
        )
    finally:
        keras.config.set_dtype_policy(before)
    folded = fold_batch_norm(bundle.weights())
    for name, weight in named_weights(network).items():
        weight.assign(folded[name])
    return network


def _set_up_devices(threads: int | None) -> None:
    """Thread pools and GPU memory, which TensorFlow fixes when it first computes something."""
    import tensorflow as tf

    try:
        if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            # The network is one chain of layers: a second pool would only compete with the first.
            tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        log.warning("TensorFlow was already running, so its threads and GPU memory stay as they are: %s", error)
