"""The network has the layout of keras.applications, and its declared shapes are those that are built."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fer_batch.architecture import LOGITS, Architecture, weight_shapes
from fer_batch.network import build_network, load_keras, named_weights

TINY = Architecture(depths=(1, 2, 1, 1), width=4, head_units=8)


def test_the_backbone_is_keras_applications_resnet50() -> None:
    keras = load_keras()
    reference = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    ours = build_network(Architecture(), input_size=32, channels=3, mean=0.0, scale=1.0)
    random = np.random.default_rng(0)
    theirs = named_weights(reference)
    mine = named_weights(ours)
    assert set(theirs) <= set(mine)
    for name, weight in theirs.items():
        # Statistics that are not 0 and 1, so that a missing BatchNormalization would show.
        if name.endswith("moving_variance"):
            value = random.uniform(0.5, 2, weight.shape)
        elif name.endswith(("moving_mean", "bias", "beta")):
            value = random.normal(0, 0.1, weight.shape)
        else:
            value = weight.numpy()
        weight.assign(value)
        mine[name].assign(value)
    backbone = keras.Model(ours.input, ours.get_layer("conv5_block3_out").output)
    pixels = random.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    expected = reference(pixels, training=False).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(backbone(pixels, training=False).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "architecture",
    [
        TINY,
        Architecture(depths=(1, 1, 1, 1), width=4, stem="small", se=True, head_units=0),
        Architecture(family="vgg", depths=(2, 1, 2, 1), width=4, head_units=0),
        Architecture(family="vgg", depths=(1, 1, 1, 1), width=16, se=True, head_units=8),
    ],
)
def test_declared_shapes_are_those_built(architecture: Architecture) -> None:
    network = build_network(architecture, input_size=32)
    assert {name: tuple(w.shape) for name, w in named_weights(network).items()} == weight_shapes(architecture)
    assert network.output_shape == (None, 7)


def test_grey_is_repeated_and_normalised() -> None:
    grey = build_network(TINY, input_size=32, channels=1, mean=100.0, scale=50.0)
    colour = build_network(TINY, input_size=32, channels=3, mean=0.0, scale=1.0)
    for name, weight in named_weights(colour).items():
        weight.assign(named_weights(grey)[name])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
    expected = colour(np.repeat((pixels - 100) / 50, 3, axis=-1), training=False).numpy()
    np.testing.assert_allclose(grey(pixels, training=False).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_auxiliary_outputs_stand_beside_the_logits() -> None:
    network = build_network(TINY, input_size=32, auxiliary={"votes": 10})
    assert {name: shape.shape for name, shape in network.output.items()} == {LOGITS: (None, 7), "votes": (None, 10)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (3, 4, 6)}, "depths"),
        ({"depths": (1, 0, 1, 1)}, "depths"),
        ({"stem": "large"}, "stem"),
        ({"family": "unet"}, "family must be one of resnet, vgg"),
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0}, "width"),
    ],
)
def test_impossible_architectures(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**options)


def test_options_survive_json() -> None:
    assert Architecture.from_options(TINY.options()) == TINY
    with pytest.raises(ValueError, match=r"unknown architecture option 'fins'; known are depths"):
        Architecture.from_options({"fins": 3})


def test_channels() -> None:
    with pytest.raises(ValueError, match="channels must be 1 or 3"):
        build_network(TINY, input_size=32, channels=2)


def test_tensorflow_starts_in_silence() -> None:
    code = "import fer_batch.network as n; n.load_keras(); import tensorflow as tf; tf.constant(1) + 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
