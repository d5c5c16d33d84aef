"""Training begins with ImageNet's weights, a file's or none, and says clearly when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_batch.architecture import Architecture
from fer_batch.errors import BundleError, RefusedError
from fer_batch.network import build_network, load_keras, named_weights
from tests.tiny import write_tiny_bundle
from training.fit.start import IMAGENET_FILE, IMAGENET_MEANS, adjust_means, load_start


def test_none() -> None:
    start = load_start("none", mean=129.5)
    assert start.name == "none"
    assert start.weights is None


def test_a_bundle(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    start = load_start(str(bundle.path), mean=0)
    assert start.name == bundle.sha256
    assert start.weights is not None
    for name, value in bundle.weights().items():
        np.testing.assert_array_equal(start.weights[name], value)


def test_a_file_of_keras_own_resnet50_gives_the_same_features(tmp_path: Path) -> None:
    """ImageNet's file cannot be had here; one of the same layout, written by Keras, stands for it."""
    keras = load_keras()
    theirs = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / IMAGENET_FILE.replace(".h5", ".weights.h5")
    theirs.save_weights(path)
    start = load_start(str(path), mean=117.4)
    assert start.weights is not None
    ours = build_network(Architecture(head_units=0), input_size=64, mean=117.4, scale=1.0)
    for name, weight in named_weights(ours).items():
        if name in start.weights:
            weight.assign(start.weights[name])
    features = keras.Model(ours.input, ours.get_layer("conv5_block3_out").output)
    grey = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 1)).astype(np.float32)
    # What Keras' own preprocessing for these weights does: blue, green, red, each minus its mean.
    expected = theirs(np.repeat(grey, 3, axis=3) - np.array(IMAGENET_MEANS, np.float32), training=False)
    found = features(grey, training=False)
    scale = float(np.abs(expected).mean())
    # The padded border of the picture is the one place where the two may differ a little.
    assert np.abs(np.asarray(found) - np.asarray(expected)).mean() < 0.05 * scale


def test_means_are_moved_into_the_bias() -> None:
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 5)).astype(np.float32)
    weights = {"conv1_conv/kernel": kernel, "conv1_conv/bias": np.zeros(5, np.float32)}
    bias = adjust_means(weights, 100.0)["conv1_conv/bias"]
    patch = np.full((7, 7, 3), 80.0)
    wanted = np.einsum("hwc,hwco->o", patch - np.array(IMAGENET_MEANS), kernel)
    np.testing.assert_allclose(np.einsum("hwc,hwco->o", patch - 100.0, kernel) + bias, wanted, rtol=1e-4)


def test_without_a_connection_the_message_names_the_file_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = load_keras()

    def offline(*args: object, **kwargs: object) -> object:
        raise Exception("URL fetch failure on https://example.org: None -- unreachable")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(RefusedError, match="could not be downloaded") as caught:
        load_start("imagenet", mean=117.4)
    assert IMAGENET_FILE in str(caught.value)
    assert "--weights PATH" in str(caught.value)


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="neither a file nor a folder"):
        load_start(str(tmp_path / "nowhere.h5"), mean=0)
    wrong = tmp_path / "wrong.h5"
    wrong.write_bytes(b"not HDF5")
    with pytest.raises(RefusedError, match="does not hold the weights of"):
        load_start(str(wrong), mean=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        load_start(str(tmp_path / "empty"), mean=0)
