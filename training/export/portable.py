"""Models for other programs: a bundle as ``.keras``, ``.h5`` or int8 ``.tflite``, that loads without this package.

All three take pixels from 0 to 255 as they are, of a crop aligned to the bundle's template, and return the seven
calibrated probabilities: normalisation, temperature and softmax are part of the network. What a file of these kinds
cannot say, such as the order of the labels and the template, stands beside it in a file of the same name plus
``.json``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.network import build_network, load_keras, named_weights
from fer_batch.schema import LANDMARKS
from fer_batch.store import atomic_write, write_json
from training.data.faces import FaceSet
from training.export.quantise import CALIBRATION, calibration_faces, quantise, quiet

if TYPE_CHECKING:
    import keras

INPUTS: Final = {".keras": "float32", ".h5": "float32", ".tflite": "uint8"}
"""Kind of file, by suffix, and the type in which it takes pixels."""


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuses a file that cannot be written, before any work.

    Raises:
        RefusedError: the suffix is unknown, the file exists, or its folder does not.
    """
    if out.suffix not in INPUTS:
        raise RefusedError(f"{out}: the file's suffix decides its kind; give one of {', '.join(INPUTS)}")
    if not out.parent.is_dir():
        raise RefusedError(f"{out}: there is no folder {out.parent}; make it first")
    if out.exists() and not overwrite:
        raise RefusedError(f"{out} exists already; name another file or add --overwrite")


def export_model(
    bundle: ModelBundle, out: Path, *, training: FaceSet | None = None, overwrite: bool = False
) -> tuple[Path, Path]:
    """Writes a bundle as the kind of file that the suffix of `out` names.

    Args:
        bundle: the model.
        out: ``.keras``; ``.h5``, Keras' older format; or ``.tflite``, quantised to int8.
        training: faces to calibrate ``.tflite`` with; the others need none.
        overwrite: replaces what is there.

    Returns:
        The file and its description.

    Raises:
        RefusedError: see :func:`check_target`; or ``.tflite`` without faces.
        StoppedError: the file cannot be written.
    """
    check_target(out, overwrite=overwrite)
    network = probability_network(bundle)
    if out.suffix == ".tflite":
        if training is None:
            raise RefusedError(f"{out}: int8 is calibrated on training faces; give FER2013 by --data")
        content = quantise(network, calibration_faces(training, bundle.input_size, bundle.channels))
    else:
        content = _keras_file(network, out)
    described = out.with_name(f"{out.name}.json")
    with atomic_write(out) as file:
        file.write(content)
    write_json(described, description(bundle, out.suffix))
    return out, described


def probability_network(bundle: ModelBundle) -> keras.Model:
    """The bundle as one Keras network of Keras' own layers: pixels (B, S, S, C) to probabilities (B, 7)."""
    keras = load_keras()
    network = logit_network(bundle)
    logits = keras.layers.Rescaling(1 / bundle.temperature, name="temperature")(network.output)
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(network.input, probabilities, name=network.name)


def logit_network(bundle: ModelBundle) -> keras.Model:
    """The bundle's network with its weights, of Keras' own layers: pixels (B, S, S, C) to logits (B, 7)."""
    network = build_network(
        Architecture.from_options(bundle.architecture),
        input_size=bundle.input_size,
        channels=bundle.channels,
        mean=bundle.mean,
        scale=bundle.scale,
    )
    weights = bundle.weights()
    for name, variable in named_weights(network).items():
        variable.assign(weights[name])
    return network


def description(bundle: ModelBundle, suffix: str) -> dict[str, Any]:
    """What a program needs to use the file rightly, as JSON can hold it."""
    size = bundle.input_size
    return {
        "name": bundle.name,
        "bundle_sha256": bundle.sha256,
        "input": {
            "shape": ["batch", size, size, bundle.channels],
            "dtype": INPUTS[suffix],
            "range": [0, 255],
            "colour": "grey" if bundle.channels == 1 else "RGB",
            "crop": "a similarity transform that brings the five landmarks to the template",
            "template": _template(bundle.template),
        },
        "output": {
            "shape": ["batch", len(bundle.labels)],
            "dtype": "float32",
            "labels": list(bundle.labels),
            "labelling": bundle.labelling,
            "meaning": "probability of apparent expression; not of what a person feels, and not an intensity",
            "temperature": bundle.temperature,
            **({"step": 1 / 256} if suffix == ".tflite" else {}),
        },
        **({"calibration_faces": CALIBRATION} if suffix == ".tflite" else {}),
        "figures_of_the_float_model": {
            key: bundle.figures.get(key) for key in ("split", "n", "accuracy", "accuracy_95", "ece_cross_fitted")
        },
        "provenance": bundle.provenance,
    }


def _template(template: npt.NDArray[Any]) -> dict[str, list[float]]:
    """Landmark to x and y as fractions of the crop's side."""
    return {name: [round(float(v), 5) for v in point] for name, point in zip(LANDMARKS, template, strict=True)}


def _keras_file(network: keras.Model, out: Path) -> bytes:
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            path = Path(folder) / f"model{out.suffix}"
            network.save(path)
            return path.read_bytes()
    except OSError as error:
        raise StoppedError(f"cannot write {out}: {error.strerror or error}; is the disk full?") from error
