"""The network: ResNet50 in the layout of ``keras.applications``, with a head for the seven emotions.

Layer names, layer order and weight shapes of the backbone are those of ``keras.applications.ResNet50``, so weights
made for one fit the other by name. What may differ is declared in :class:`Architecture`, which is written into every
model bundle. The network takes grey or colour pixels as they are (0..255) and returns logits: the normalisation is
its first step, softmax and temperature are left to the caller.

TensorFlow is imported when a network is built, not when this module is.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from fer_batch.schema import EMOTIONS

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

STAGES: Final = 4
"""Number of residual stages in every member of the family: conv2 to conv5."""

EPSILON: Final = 1.001e-5
"""Added to the variance by every BatchNormalization of the backbone, as in ``keras.applications``."""

LOGITS: Final = "logits"
"""Name of the output layer: a Dense of ``len(EMOTIONS)`` units without activation."""


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one network of the family from another. The defaults are ResNet50.

    Attributes:
        depths: residual blocks in each of the four stages; ResNet50 has (3, 4, 6, 3).
        width: channels of the first stage's inner convolutions; they double at each stage and leave it fourfold.
        stem: ``imagenet`` is the 7x7 convolution of stride 2 with a pooling; ``small`` a 3x3 convolution of stride 1,
            for which a given picture costs sixteen times as much and small pictures are not starved.
        se: adds squeeze-and-excitation (Hu et al. 2018) at the end of each stage.
        head_units: width of the Dense layer between pooling and logits; 0 leaves it out.
        dropout: share of the head's inputs that is dropped in training, 0..1.
    """

    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    stem: str = "imagenet"
    se: bool = False
    head_units: int = 256
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if len(self.depths) != STAGES or not all(isinstance(n, int) and n >= 1 for n in self.depths):
            raise ValueError(f"depths must be four counts of at least one block, not {self.depths!r}")
        if self.stem not in ("imagenet", "small"):
            raise ValueError(f"stem must be 'imagenet' or 'small', not {self.stem!r}")
        if self.width < 1 or self.head_units < 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"width must be positive, head_units not negative, dropout in [0, 1): "
                f"{self.width!r}, {self.head_units!r}, {self.dropout!r}"
            )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Architecture:
        """The architecture written as plain options, for example in a bundle's ``model.json``.

        Raises:
            ValueError: an option is unknown or out of range; the message names it.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"unknown architecture option {unknown[0]!r}; known are {', '.join(sorted(known))}")
        values = dict(options)
        if "depths" in values:
            values["depths"] = tuple(values["depths"])
        return cls(**values)

    def options(self) -> dict[str, Any]:
        """The same as a mapping that JSON can hold."""
        return {**asdict(self), "depths": list(self.depths)}


def weight_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name (``layer/weight``) and shape of every weight of a network, known without building it."""
    width = architecture.width
    kernel = 7 if architecture.stem == "imagenet" else 3
    shapes = _conv_shapes("conv1", kernel, 3, width)
    channels = width
    for stage, depth in enumerate(architecture.depths):
        inner = width << stage
        for block in range(depth):
            name = f"conv{stage + 2}_block{block + 1}"
            if block == 0:
                shapes |= _conv_shapes(f"{name}_0", 1, channels, 4 * inner)
            shapes |= _conv_shapes(f"{name}_1", 1, channels, inner)
            shapes |= _conv_shapes(f"{name}_2", 3, inner, inner)
            shapes |= _conv_shapes(f"{name}_3", 1, inner, 4 * inner)
            channels = 4 * inner
        if architecture.se:
            name, reduced = f"conv{stage + 2}_se", max(1, channels // 16)
            shapes |= {f"{name}_reduce/kernel": (1, 1, channels, reduced), f"{name}_reduce/bias": (reduced,)}
            shapes |= {f"{name}_expand/kernel": (1, 1, reduced, channels), f"{name}_expand/bias": (channels,)}
    if architecture.head_units:
        shapes |= {"head_dense/kernel": (channels, architecture.head_units)}
        channels = architecture.head_units
        shapes |= _norm_shapes("head_bn", channels)
    return shapes | {f"{LOGITS}/kernel": (channels, len(EMOTIONS)), f"{LOGITS}/bias": (len(EMOTIONS),)}


def _conv_shapes(name: str, kernel: int, before: int, after: int) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}_conv/kernel": (kernel, kernel, before, after), f"{name}_conv/bias": (after,)}
    return {**shapes, **_norm_shapes(f"{name}_bn", after)}


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/{weight}": (channels,) for weight in ("gamma", "beta", "moving_mean", "moving_variance")}


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
    x = _backbone(x, architecture, conv or keras.layers.Conv2D, norm)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if architecture.head_units:
        x = keras.layers.Dense(architecture.head_units, use_bias=False, name="head_dense")(x)
        x = norm(epsilon=EPSILON, name="head_bn")(x)
        x = keras.layers.Activation("relu", name="head_relu")(x)
    x = keras.layers.Dropout(architecture.dropout, name="head_dropout")(x)
    logits = keras.layers.Dense(len(EMOTIONS), dtype="float32", name=LOGITS)(x)
    if not auxiliary:
        return keras.Model(pixels, logits, name="fer_resnet")
    outputs = {LOGITS: logits}
    for name, units in auxiliary.items():
        outputs[name] = keras.layers.Dense(units, dtype="float32", name=name)(x)
    return keras.Model(pixels, outputs, name="fer_resnet")


def _backbone(x: Any, architecture: Architecture, conv: Callable[..., Any], norm: Callable[..., Any]) -> Any:
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

    They are written by C++ to file descriptor 2 before any setting can stop them, so the descriptor itself is turned
    aside during the import; if the import fails, what was written is shown after all.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        sys.stderr.flush()
        screen = os.dup(2)
        with tempfile.TemporaryFile() as aside:
            os.dup2(aside.fileno(), 2)
            try:
                import tensorflow as tf  # noqa: F401 - for its side effect
            except BaseException:
                aside.seek(0)
                os.write(screen, aside.read())
                raise
            finally:
                os.dup2(screen, 2)
                os.close(screen)
            aside.seek(0)
            log.debug("TensorFlow's start-up messages:\n%s", aside.read().decode(errors="replace"))
    import keras

    return keras
