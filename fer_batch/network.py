"""Builds the networks: ResNet50 in the layout of ``keras.applications``, a compact VGG, and their common head.

Layer names, layer order and weight shapes of the ResNet are those of ``keras.applications.ResNet50``, so weights made
for one fit the other by name. What may differ is declared in :class:`fer_batch.architecture.Architecture`, which is
written into every model bundle. A network takes grey or colour pixels as they are (0..255) and returns logits: the
normalisation is its first step, softmax and temperature are left to the caller.

TensorFlow is imported when a network is built, not when this module is.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fer_batch.architecture import LOGITS, Architecture
from fer_batch.messages import messages_aside
from fer_batch.schema import EMOTIONS

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

EPSILON: Final = 1.001e-5
"""Added to the variance by every BatchNormalization, as in ``keras.applications``."""


def build_network(
    architecture: Architecture,
    *,
    input_size: int,
    channels: int = 1,
    mean: float = 127.5,
    scale: float = 127.5,
    conv: Callable[..., keras.layers.Layer] | None = None,
    batch_norm: Callable[..., keras.layers.Layer] | None = None,
    auxiliary: Mapping[str, int] | None = None,
) -> keras.Model:
    """A network with fresh weights.

    Args:
        architecture: which member of the family.
        input_size: side of the square input in pixels.
        channels: 1 for grey, which the network repeats to three, or 3.
        mean: subtracted from the pixels.
        scale: divides what is left.
        conv: makes the backbone's convolutions; ``keras.layers.Conv2D`` by default.
        batch_norm: makes BatchNormalization layers; Keras' own by default.
        auxiliary: further outputs for training, by name and width, each a Dense layer beside the logits.

    Returns:
        A model from pixels (batch, input_size, input_size, channels), 0..255, to logits (batch, 7) in float32; with
        ``auxiliary``, to a dict of outputs by name, the main one being :data:`LOGITS`.
    """
    keras = load_keras()
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels!r}")
    norm = batch_norm or keras.layers.BatchNormalization
    pixels = keras.Input((input_size, input_size, channels), name="pixels")
    x = keras.layers.Rescaling(1.0 / scale, -mean / scale, name="normalise")(pixels)
    if channels == 1:
        # ImageNet's first layer expects three channels: repeating grey keeps its weights usable.
        x = keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    backbone = _vgg if architecture.family == "vgg" else _resnet
    x = backbone(x, architecture, conv or keras.layers.Conv2D, norm)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if architecture.head_units:
        x = keras.layers.Dense(architecture.head_units, use_bias=False, name="head_dense")(x)
        x = norm(epsilon=EPSILON, name="head_bn")(x)
        x = keras.layers.Activation("relu", name="head_relu")(x)
    x = keras.layers.Dropout(architecture.dropout, name="head_dropout")(x)
    logits = keras.layers.Dense(len(EMOTIONS), dtype="float32", name=LOGITS)(x)
    if not auxiliary:
        return keras.Model(pixels, logits, name=f"fer_{architecture.family}")
    outputs = {LOGITS: logits}
    for name, units in auxiliary.items():
        outputs[name] = keras.layers.Dense(units, dtype="float32", name=name)(x)
    return keras.Model(pixels, outputs, name=f"fer_{architecture.family}")


def _vgg(x: Any, architecture: Architecture, conv: Callable[..., Any], norm: Callable[..., Any]) -> Any:
    """Stages of 3x3 convolutions, each stage ended by a 2x2 maximum."""
    from keras import layers

    for stage, depth in enumerate(architecture.depths):
        for index in range(depth):
            name = f"conv{stage + 1}_{index + 1}"
            x = conv(architecture.width << stage, 3, padding="same", name=f"{name}_conv")(x)
            x = norm(epsilon=EPSILON, name=f"{name}_bn")(x)
            x = layers.Activation("relu", name=f"{name}_relu")(x)
        if architecture.se:
            x = _squeeze_excite(x, f"conv{stage + 1}_se")
        x = layers.MaxPooling2D(2, name=f"conv{stage + 1}_pool")(x)
    return x


def _resnet(x: Any, architecture: Architecture, conv: Callable[..., Any], norm: Callable[..., Any]) -> Any:
    """Everything from the normalised picture to the last feature map, ``conv5_blockN_out``."""
    from keras import layers

    width = architecture.width
    if architecture.stem == "imagenet":
        x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
        x = conv(width, 7, strides=2, name="conv1_conv")(x)
    else:
        x = conv(width, 3, padding="same", name="conv1_conv")(x)
    x = norm(epsilon=EPSILON, name="conv1_bn")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    if architecture.stem == "imagenet":
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, depth in enumerate(architecture.depths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            name = f"conv{stage + 2}_block{block + 1}"
            x = _block(x, width << stage, name, stride=stride, project=block == 0, conv=conv, norm=norm)
        if architecture.se:
            x = _squeeze_excite(x, f"conv{stage + 2}_se")
    return x


def _block(
    x: Any, width: int, name: str, *, stride: int, project: bool, conv: Callable[..., Any], norm: Callable[..., Any]
) -> Any:
    """One bottleneck block: 1x1, 3x3 and 1x1 convolutions around a shortcut."""
    from keras import layers

    shortcut = x
    if project:
        shortcut = conv(4 * width, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = norm(epsilon=EPSILON, name=f"{name}_0_bn")(shortcut)
    x = conv(width, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = norm(epsilon=EPSILON, name=f"{name}_1_bn")(x)
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = conv(width, 3, padding="same", name=f"{name}_2_conv")(x)
    x = norm(epsilon=EPSILON, name=f"{name}_2_bn")(x)
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    x = conv(4 * width, 1, name=f"{name}_3_conv")(x)
    x = norm(epsilon=EPSILON, name=f"{name}_3_bn")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _squeeze_excite(x: Any, name: str) -> Any:
    """Scales each channel by a weight in 0..1 computed from all channels' means, with a reduction of 16."""
    from keras import layers

    channels = int(x.shape[-1])
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = layers.Conv2D(max(1, channels // 16), 1, activation="relu", name=f"{name}_reduce")(weights)
    weights = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_expand")(weights)
    return layers.Multiply(name=f"{name}_scale")([x, weights])


def named_weights(network: keras.Model) -> dict[str, keras.Variable]:
    """A network's weights by ``layer/weight``, for example ``conv1_conv/kernel``: the names used in bundles."""
    return {
        f"{layer.name}/{weight.name}": weight
        for layer in network.layers
        for weight in layer.weights
        if weight.name != "seed_generator_state"
    }


def load_keras() -> Any:
    """Keras on TensorFlow, imported so that TensorFlow's start-up messages go to the log, not to the screen.

    If the import fails, what was written is shown after all.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with messages_aside() as said:
            import tensorflow as tf  # noqa: F401 - for its side effect
        log.debug("TensorFlow's start-up messages:\n%s", said[0])
    import keras

    return keras
