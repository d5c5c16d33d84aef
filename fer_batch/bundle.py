"""A model with all that is needed to use it rightly: a folder that is checked whole before anything trusts it.

The folder holds ``model.json`` (what the model is, how pictures must reach it, what it scored, and the sha256 of every
other file), ``weights.safetensors`` (plain float16 tensors: no pickle, no stored code) and ``README.md``, the model
card; and, where the model was quantised, ``model.int8.tflite``. Nothing here imports TensorFlow, so that a driver can
check a model in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.errors import BundleError
from fer_batch.schema import EMOTIONS, LANDMARKS

FORMAT: Final = 1
"""Version of the folder's layout, raised when an older reader would misread it."""

DESCRIPTION: Final = "model.json"
WEIGHTS: Final = "weights.safetensors"
CARD: Final = "README.md"
INT8: Final = "model.int8.tflite"

MODELS: Final = Path(__file__).parent / "models"
"""The models that ship with the package, a folder each."""

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


@dataclass(frozen=True)
class Int8Part:
    """What a bundle says of its int8 model.

    Attributes:
        temperature: divides its logits before the softmax.
        figures: what it scored, as the bundle's own figures are of float32, and how the two differ.
        calibration: the faces from which the ranges of its activations were learnt.
    """

    temperature: float
    figures: dict[str, Any]
    calibration: dict[str, Any]


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
        reader = _Reader(locate(model))
        return cls(**reader.read())

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The tensors by name (``layer/weight``), as float32.

        Raises:
            BundleError: the file changed since the bundle was loaded.
        """
        reader = _Reader(self.path)
        tensors = reader.tensors(self._read_again(reader, WEIGHTS), Architecture.from_options(self.architecture))
        return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}

    def int8_content(self) -> bytes:
        """The int8 model, a TFLite file, its hash checked.

        Raises:
            BundleError: there is none, or the file changed since the bundle was loaded.
        """
        reader = _Reader(self.path)
        if self.int8 is None:
            raise reader.error(DESCRIPTION, "names no int8 model", "make one: fer-batch export-model --add-int8")
        return self._read_again(reader, INT8)

    def figures_in(self, precision: str) -> dict[str, Any]:
        """What the model scored in a precision; half precision counts as float32."""
        return self.int8.figures if precision == "int8" and self.int8 is not None else self.figures

    def temperature_in(self, precision: str) -> float:
        """What divides the logits in a precision."""
        return self.int8.temperature if precision == "int8" and self.int8 is not None else self.temperature

    def _read_again(self, reader: _Reader, name: str) -> bytes:
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


class _Reader:
    """Reads a bundle's parts, each checked, with errors that all name the file and the remedy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""

    def error(self, file: str, what: str, remedy: str | None = None) -> BundleError:
        if remedy is None:
            ours = self.path.resolve().is_relative_to(MODELS.resolve())
            remedy = "install fer-batch again" if ours else "copy the bundle again or train a new one (fer-batch train)"
        return BundleError(f"model bundle {self.path}: {file} {what}; {remedy}")

    def read(self) -> dict[str, Any]:
        """All fields of a :class:`ModelBundle`."""
        described = self.description()
        card = self.file(described, CARD)
        architecture = self.architecture(described)
        self.tensors(self.file(described, WEIGHTS), architecture)
        entry = self._entry(described, "input", dict)
        size, channels = self._entry(entry, "size", int), self._entry(entry, "channels", int)
        if not 16 <= size <= 1024 or channels not in (1, 3):
            raise self.error(
                DESCRIPTION, f"asks for crops of {size} px and {channels} channels, not 16 to 1024 and 1 or 3"
            )
        labels = self._entry(described, "labels", list)
        if tuple(labels) != EMOTIONS:
            raise self.error(
                DESCRIPTION,
                f"lists the labels {labels!r}, this version's order is {list(EMOTIONS)!r}",
                "use a model made for these labels",
            )
        return {
            "path": self.path,
            "name": self._entry(described, "name", str),
            "architecture": architecture.options(),
            "labels": tuple(labels),
            "labelling": self._entry(described, "labelling", str),
            "input_size": size,
            "channels": channels,
            "mean": self._number(entry, "mean"),
            "scale": self._number(entry, "scale", positive=True),
            "template": self.template(described),
            "temperature": self._number(described, "temperature", positive=True),
            "sha256": self.sha256,
            "figures": self._entry(described, "figures", dict),
            "training": self._entry(described, "training", dict),
            "provenance": self._entry(described, "provenance", dict),
            "card": card.decode("utf-8", errors="replace"),
            "int8": self.int8(described),
        }

    def description(self) -> dict[str, Any]:
        """``model.json``, whose own hash becomes the bundle's."""
        if not self.path.is_dir():
            raise self.error("the folder", "does not exist")
        data = self._bytes(DESCRIPTION)
        try:
            described = json.loads(data)
        except ValueError as error:
            raise self.error(DESCRIPTION, f"is not JSON ({error})") from error
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            found = described.get("format") if isinstance(described, dict) else None
            remedy = "use a bundle and a fer-batch of the same age"
            raise self.error(DESCRIPTION, f"has format {found!r}, this version reads {FORMAT}", remedy)
        self.sha256 = hashlib.sha256(data).hexdigest()
        return described

    def file(self, described: Mapping[str, Any], name: str) -> bytes:
        """A file's content, compared with the hash that ``model.json`` gives."""
        entry = self._entry(described, "files", dict).get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise self.error(DESCRIPTION, f"gives no sha256 for {name}")
        data = self._bytes(name)
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            size = f", {len(data)} bytes instead of {entry['bytes']}" if entry.get("bytes") != len(data) else ""
            raise self.error(name, f"is damaged or was changed (sha256 differs from model.json's{size})")
        return data

    def architecture(self, described: Mapping[str, Any]) -> Architecture:
        """The network's options, known ones only."""
        try:
            return Architecture.from_options(self._entry(described, "architecture", dict))
        except (ValueError, TypeError) as error:
            raise self.error(DESCRIPTION, f"describes no known architecture: {error}") from error

    def tensors(self, data: bytes, architecture: Architecture) -> dict[str, npt.NDArray[np.float16]]:
        """The weights, exactly those that the architecture has."""
        try:
            tensors = load_tensors(data)
        except SafetensorError as error:
            raise self.error(WEIGHTS, f"is not a safetensors file ({error})") from error
        expected = weight_shapes(architecture)
        for name in sorted(set(expected) ^ set(tensors)):
            what = "lacks" if name in expected else "has the unknown"
            raise self.error(WEIGHTS, f"{what} tensor {name!r}, so it does not fit the architecture in {DESCRIPTION}")
        for name, tensor in tensors.items():
            if tensor.dtype != np.float16 or tensor.shape != expected[name]:
                what = f"has tensor {name!r} as {tensor.dtype} {tensor.shape} instead of float16 {expected[name]}"
                raise self.error(WEIGHTS, what)
        return tensors

    def int8(self, described: Mapping[str, Any]) -> Int8Part | None:
        """What is said of the int8 model, whose file must then be whole."""
        if "int8" not in described:
            return None
        entry = self._entry(described, "int8", dict)
        self.file(described, INT8)
        return Int8Part(
            temperature=self._number(entry, "temperature", positive=True),
            figures=self._entry(entry, "figures", dict),
            calibration=self._entry(entry, "calibration", dict),
        )

    def template(self, described: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """The crop template as a read-only array."""
        try:
            template = np.array(self._entry(described, "template", list), dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise self.error(DESCRIPTION, f"has a template that is no table of numbers ({error})") from error
        shape = (len(LANDMARKS), 2)
        if template.shape != shape or not ((template > 0) & (template < 1)).all():
            raise self.error(
                DESCRIPTION, f"has a template of shape {template.shape}; it must be {shape} within 0 and 1"
            )
        template.setflags(write=False)
        return template

    def _bytes(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self.error(name, f"cannot be read ({error.strerror or error})") from error

    def _entry(self, described: Mapping[str, Any], key: str, kind: type) -> Any:
        value = described.get(key)
        if not isinstance(value, kind):
            found = "is missing" if value is None else f"is {type(value).__name__}"
            raise self.error(DESCRIPTION, f"is incomplete: {key!r} {found} and must be {kind.__name__}")
        return value

    def _number(self, described: Mapping[str, Any], key: str, *, positive: bool = False) -> float:
        value = described.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(DESCRIPTION, f"has {key} {value!r}, which must be a finite number")
        if positive and value <= 0:
            raise self.error(DESCRIPTION, f"has {key} {value!r}, which must be above zero")
        return float(value)
