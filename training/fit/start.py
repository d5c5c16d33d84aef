"""The weights that training begins with: none, ImageNet's, or those of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError
from fer_batch.network import load_keras, named_weights

NONE: Final = "none"
IMAGENET: Final = "imagenet"

IMAGENET_FILE: Final = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL: Final = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{IMAGENET_FILE}"
"""Where Keras gets ImageNet's weights for ResNet50 without its top."""

IMAGENET_MEANS: Final = (103.939, 116.779, 123.68)
"""Mean blue, green and red that the weights expect to be subtracted, in that order (``keras.applications.resnet``)."""

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to begin with.

    Attributes:
        name: ``none``, ``imagenet`` or what identifies the file's content, for the recipe.
        weights: by ``layer/weight``; None where everything begins at random.
    """

    name: str
    weights: Arrays | None


def load_start(choice: str, *, mean: float) -> Start:
    """Loads the weights that an option names.

    Args:
        choice: ``none``; ``imagenet``, which Keras downloads and keeps under ``~/.keras/models``; or a path: the folder
            of a model bundle, or a weights file of Keras' ResNet50 without its top (.h5, .weights.h5 or .keras).
        mean: grey value that the recipe subtracts; ImageNet's weights are adjusted to it.

    Raises:
        RefusedError: the weights cannot be had or are of another network; the message says what to do.
        BundleError: the folder is no sound model bundle.
    """
    if choice == NONE:
        return Start(NONE, None)
    if choice == IMAGENET:
        return Start(IMAGENET, adjust_means(_keras_weights(IMAGENET), mean))
    path = Path(choice)
    if path.is_dir():
        bundle = ModelBundle.load(path)
        return Start(bundle.sha256, bundle.weights())
    if not path.is_file():
        raise RefusedError(
            f"--weights {choice}: neither a file nor a folder; give none, imagenet or a path that exists"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Start(digest, adjust_means(_keras_weights(choice), mean))


def _keras_weights(weights: str) -> Arrays:
    """The backbone of ``keras.applications.ResNet50`` by name, its weights downloaded or read from a file."""
    keras = load_keras()
    try:
        network = keras.applications.ResNet50(include_top=False, weights=weights, input_shape=(224, 224, 3))
    except Exception as error:
        if weights != IMAGENET:
            what = "does not hold the weights of keras.applications.ResNet50 without its top"
            raise RefusedError(f"--weights {weights} {what} ({error})") from error
        raise RefusedError(
            f"ImageNet's weights could not be downloaded ({error}). On a machine with a connection fetch "
            f"{IMAGENET_URL} and give it as --weights PATH/{IMAGENET_FILE}"
        ) from error
    return {name: np.asarray(weight.numpy(), np.float32) for name, weight in named_weights(network).items()}


def adjust_means(weights: Arrays, mean: float) -> dict[str, npt.NDArray[Any]]:
    """Weights made for three channel means, for a network that subtracts one and the same from all channels.

    The difference goes into the first convolution's bias, which is exact except where the picture's border is padded.
    """
    adjusted = dict(weights)
    kernel = weights["conv1_conv/kernel"]
    offset = np.array([mean - channel for channel in IMAGENET_MEANS], np.float32)
    adjusted["conv1_conv/bias"] = weights["conv1_conv/bias"] + np.einsum("hwco,c->o", kernel, offset)
    return adjusted
