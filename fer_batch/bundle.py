"""A model with all that is needed to use it rightly: found, loaded and written.

What its folder holds, and how that is checked, is in :mod:`fer_batch.bundle_folder`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from fer_batch.architecture import Architecture
from fer_batch.bundle_folder import CARD, DESCRIPTION, FORMAT, INT8, MODELS, WEIGHTS, BundleFolder, Int8Part
from fer_batch.errors import BundleError
from fer_batch.schema import EMOTIONS

DEFAULT_BUNDLE: Final = MODELS / "compact"
"""The one that is used when none is named: the most accurate of them on FER2013's PublicTest."""


def locate(model: str | Path | None) -> Path:
    """The folder of a model that is given as the name of a shipped one, as a path, or not at all.

    A name wins over a folder of the same name; give that folder with its whole path.
    """
    if model is None:
        return DEFAULT_BUNDLE
    return MODELS / model if str(model) in shipped() else Path(model)


def shipped() -> list[str]:
    """Names of the models that ship with the package, the default one first."""
    names = sorted(path.name for path in MODELS.iterdir() if (path / DESCRIPTION).is_file())
    return sorted(names, key=lambda name: name != DEFAULT_BUNDLE.name)


@dataclass(frozen=True, eq=False)
class ModelBundle:
    """A model bundle that was found whole.

    Attributes:
        path: its folder.
        name: short name, for displays and tables.
        architecture: options of :class:`fer_batch.architecture.Architecture`.
        labels: the seven classes in the order of the outputs, equal to ``EMOTIONS``.
        labelling: whose judgement the probabilities follow, for example ``FER2013``.
        input_size: side of the square crop that the model takes, in pixels.
        channels: 1 for grey crops, 3 for RGB.
        mean: subtracted from the pixels (0..255) by the network.
        scale: divides what is left.
        template: (5, 2) float32, where the detector's five landmarks (order of ``LANDMARKS``) lie in a crop that the
            model is at home with, as fractions of its side, x then y.
        temperature: divides the logits before the softmax, so that probabilities match frequencies.
        sha256: of ``model.json``, which names the hash of every other file: it identifies the whole bundle.
        figures: what the model scored, on which split, with n and intervals.
        training: data, split, seed and recipe it came from.
        provenance: origin and licence status of data and weights, and limits of use.
        card: the model card, Markdown.
        int8: of its int8 model; None where it has none.
    """

    path: Path
    name: str
    architecture: dict[str, Any]
    labels: tuple[str, ...]
    labelling: str
    input_size: int
    channels: int
    mean: float
    scale: float
    template: npt.NDArray[np.float32]
    temperature: float
    sha256: str
    figures: dict[str, Any]
    training: dict[str, Any]
    provenance: dict[str, Any]
    card: str
    int8: Int8Part | None = None

    @classmethod
    def load(cls, model: str | Path | None = None) -> ModelBundle:
        """Reads and checks a bundle.

        Args:
            model: its folder, or the name of a model that ships with the package; the default one if None.

        Raises:
            BundleError: something is missing, damaged or of a kind that this version cannot use; the message names
                the file and says what to do.
        """
        reader = BundleFolder(locate(model))
        return cls(**reader.read())

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The tensors by name (``layer/weight``), as float32.

        Raises:
            BundleError: the file changed since the bundle was loaded.
        """
        reader = BundleFolder(self.path)
        tensors = reader.tensors(self._read_again(reader, WEIGHTS), Architecture.from_options(self.architecture))
        return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}

    def int8_content(self) -> bytes:
        """The int8 model, a TFLite file, its hash checked.

        Raises:
            BundleError: there is none, or the file changed since the bundle was loaded.
        """
        reader = BundleFolder(self.path)
        if self.int8 is None:
            raise reader.error(DESCRIPTION, "names no int8 model", "make one: fer-batch export-model --add-int8")
        return self._read_again(reader, INT8)

    def figures_in(self, precision: str) -> dict[str, Any]:
        """What the model scored in a precision; half precision counts as float32."""
        return self.int8.figures if precision == "int8" and self.int8 is not None else self.figures

    def temperature_in(self, precision: str) -> float:
        """What divides the logits in a precision."""
        return self.int8.temperature if precision == "int8" and self.int8 is not None else self.temperature

    def _read_again(self, reader: BundleFolder, name: str) -> bytes:
        described = reader.description()
        if reader.sha256 != self.sha256:
            raise reader.error(DESCRIPTION, "was replaced since the bundle was loaded", "start again")
        return reader.file(described, name)


def write_bundle(
    path: Path,
    *,
    name: str,
    architecture: Architecture,
    input_size: int,
    channels: int,
    mean: float,
    scale: float,
    template: npt.NDArray[np.floating[Any]],
    temperature: float,
    weights: Mapping[str, npt.NDArray[np.floating[Any]]],
    card: str,
    labelling: str = "FER2013",
    figures: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    int8: tuple[Int8Part, bytes] | None = None,
    overwrite: bool = False,
) -> ModelBundle:
    """Writes a bundle whole or not at all, and reads it back.

    Args:
        path: the folder to make.
        name: short name.
        architecture: of the network that the weights belong to.
        input_size: side of the crops in pixels, 16 to 1024.
        channels: 1 for grey, 3 for RGB.
        mean: subtracted from the pixels.
        scale: divides what is left.
        template: (5, 2) landmarks as fractions of the crop.
        temperature: divides the logits.
        weights: every tensor of the architecture by name, any float type; stored as float16.
        card: the model card, Markdown.
        labelling: whose labels the probabilities follow.
        figures: what the model scored; anything JSON can hold, as the two below.
        training: data, split, seed, recipe.
        provenance: origin and licence status.
        int8: an int8 model, what is said of it and the TFLite file's content.
        overwrite: replaces a bundle that is there already.

    Raises:
        BundleError: the folder exists already, or what was given does not make a usable bundle.
    """
    path = Path(path)
    if path.exists() and not (overwrite and (path / DESCRIPTION).exists()):
        remedy = "name another folder" if not overwrite else "it is no model bundle, so it is not replaced"
        raise BundleError(f"{path} exists already: {remedy}")
    with np.errstate(over="ignore"):  # what overflows is found and refused below
        halves = {key: np.ascontiguousarray(value, dtype=np.float16) for key, value in weights.items()}
    for key, half in halves.items():
        if not np.isfinite(half).all():
            raise BundleError(f"tensor {key} has values that float16 cannot hold; the model did not train soundly")
    files = {WEIGHTS: save_tensors(halves), CARD: card.encode()}
    if int8 is not None:
        files[INT8] = int8[1]
    description = {
        "format": FORMAT,
        "name": name,
        "architecture": architecture.options(),
        "labels": list(EMOTIONS),
        "labelling": labelling,
        "input": {"size": input_size, "channels": channels, "mean": mean, "scale": scale},
        "template": np.asarray(template, np.float64).round(5).tolist(),
        "temperature": temperature,
        "figures": dict(figures or {}),
        "training": dict(training or {}),
        "provenance": dict(provenance or {}),
        **({} if int8 is None else {"int8": asdict(int8[0])}),
        "files": {
            file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for file, data in files.items()
        },
    }
    files[DESCRIPTION] = (json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.mkdir(parents=True)
    try:
        for file, data in files.items():
            with (fresh / file).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        ModelBundle.load(fresh)
        _put_in_place(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return ModelBundle.load(path)


def rewrite_bundle(bundle: ModelBundle, path: Path, **changes: Any) -> ModelBundle:
    """Writes a bundle that is there to `path`, with some of :func:`write_bundle`'s arguments changed.

    Raises:
        BundleError: see :func:`write_bundle`.
    """
    names = ("name", "labelling", "input_size", "channels", "mean", "scale", "template", "temperature", "card",
             "figures", "training", "provenance")  # fmt: skip
    kept: dict[str, Any] = {name: getattr(bundle, name) for name in names}
    kept |= {"architecture": Architecture.from_options(bundle.architecture), "weights": bundle.weights()}
    if bundle.int8 is not None:
        kept["int8"] = (bundle.int8, bundle.int8_content())
    return write_bundle(path, **{**kept, **changes})


def _put_in_place(fresh: Path, path: Path) -> None:
    """Renames a finished folder to its name. A folder cannot be renamed over another, so the old one steps aside."""
    if not path.exists():
        fresh.rename(path)
        return
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)
