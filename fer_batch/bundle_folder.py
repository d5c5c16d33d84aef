"""Read a model bundle's folder without trusting it: every file is checked before anything uses it.

The folder holds ``model.json`` (what the model is, how pictures must reach it, what it scored, and the sha256 of every
other file), ``weights.safetensors`` (plain float16 tensors: no pickle, no stored code) and ``README.md``, the model
card; and, where the model was quantised, ``model.int8.tflite``. Only these four names are ever opened, whatever
``model.json`` says. Nothing here imports TensorFlow, so that a driver can check a model in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.errors import BundleError
from fer_batch.schema import EMOTIONS, LANDMARKS

FORMAT: Final = 1
"""Version of the folder's layout, raised when an older reader would misread it."""

DESCRIPTION: Final = "model.json"
WEIGHTS: Final = "weights.safetensors"
CARD: Final = "README.md"
INT8: Final = "model.int8.tflite"

MAX_BYTES: Final = 1000**3
"""Largest file that is read: a bundle may come from anywhere, and each is held in memory."""

MAX_NUMBER: Final = 1e9
"""Largest number that makes sense in a description."""

_OTHER_KINDS: Final = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (.h5)",
    b"PK\x03\x04": "a zip archive (.keras, .pt or .npz)",
    b"\x80": "a pickle",
    b"\x93NUMPY": "a NumPy file",
}
"""How files begin that others keep weights in."""

MODELS: Final = Path(__file__).parent / "models"
"""The models that ship with the package, a folder each."""


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


class BundleFolder:
    """Reads a bundle's parts, each checked, with errors that all name the file and the remedy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""

    def error(self, file: str, what: str, remedy: str | None = None) -> BundleError:
        """An error about one of the files, with what to do about it."""
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
        if self.path.is_file():
            remedy = "give a bundle's folder; single files, such as .keras, .h5 or .tflite, are for other programs"
            raise self.error("it", "is a file", remedy)
        if not self.path.is_dir():
            raise self.error("the folder", "does not exist")
        data = self._bytes(DESCRIPTION)
        try:
            described = json.loads(data)
        except (ValueError, RecursionError) as error:
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
            kind = next((kind for start, kind in _OTHER_KINDS.items() if data.startswith(start)), "")
            what = f" but {kind}, which may hold code and is never opened" if kind else ""
            raise self.error(WEIGHTS, f"is not a safetensors file{what} ({error})") from error
        expected = weight_shapes(architecture)
        for name in sorted(set(expected) ^ set(tensors)):
            what = "lacks" if name in expected else "has the unknown"
            raise self.error(WEIGHTS, f"{what} tensor {name!r}, so it does not fit the architecture in {DESCRIPTION}")
        for name, tensor in tensors.items():
            if tensor.dtype != np.float16 or tensor.shape != expected[name]:
                what = f"has tensor {name!r} as {tensor.dtype} {tensor.shape} instead of float16 {expected[name]}"
                raise self.error(WEIGHTS, what)
            if not np.isfinite(tensor).all():
                raise self.error(WEIGHTS, f"has values in tensor {name!r} that are no numbers")
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
        except (ValueError, TypeError, OverflowError) as error:
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
            about = (self.path / name).stat()
            if not stat.S_ISREG(about.st_mode):
                raise self.error(name, "is no plain file")
            if about.st_size > MAX_BYTES:
                raise self.error(name, f"has {about.st_size} bytes, more than any model here ({MAX_BYTES})")
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self.error(name, f"cannot be read ({error.strerror or error})") from error

    def _entry(self, described: Mapping[str, Any], key: str, kind: type) -> Any:
        value = described.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            found = "is missing" if value is None else f"is {type(value).__name__}"
            raise self.error(DESCRIPTION, f"is incomplete: {key!r} {found} and must be {kind.__name__}")
        return value

    def _number(self, described: Mapping[str, Any], key: str, *, positive: bool = False) -> float:
        value = described.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
            raise self.error(DESCRIPTION, f"has {key} {value!r}, which must be a finite number")
        if positive and value <= 0:
            raise self.error(DESCRIPTION, f"has {key} {value!r}, which must be above zero")
        return float(value)
