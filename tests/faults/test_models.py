"""A model from elsewhere: refused with the reason before any work, and nothing in it is ever carried out.

tests/test_bundle.py holds what a bundle must say; here it is hostile, or something else altogether.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import fer_batch
from fer_batch.architecture import weight_shapes
from fer_batch.bundle import ModelBundle
from fer_batch.bundle_folder import CARD, DESCRIPTION, WEIGHTS
from fer_batch.errors import BundleError, RefusedError
from tests.clips import Clips
from tests.tiny import ARCHITECTURE, write_tiny_bundle

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound tiny bundle."""
    return write_tiny_bundle(tmp_path / "model").path


def describe(folder: Path, change: Change) -> None:
    file = folder / DESCRIPTION
    described = json.loads(file.read_text())
    change(described)
    file.write_text(json.dumps(described))


def put_weights(folder: Path, content: bytes) -> None:
    """Other weights, with the right hash."""
    (folder / WEIGHTS).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    describe(folder, lambda described: described["files"].update({WEIGHTS: entry}))


class Trap:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Trap(mark))


def torch_file(mark: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(mark))
    return content.getvalue()


def keras_file(mark: Path) -> bytes:
    content = io.BytesIO()
    config = {"class_name": "Lambda", "config": {"function": f"lambda x: open({str(mark)!r}, 'w')"}}
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    return content.getvalue()


def h5_file(mark: Path) -> bytes:
    import h5py

    content = io.BytesIO()
    config = {"class_name": "Lambda", "config": {"function": f"open({str(mark)!r}, 'w')"}}
    with h5py.File(content, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    return content.getvalue()


def numpy_file(mark: Path) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([Trap(mark)], object), allow_pickle=True)
    return content.getvalue()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (pickled, "a pickle"),
        (torch_file, "a zip archive"),
        (keras_file, "a zip archive"),
        (h5_file, "an HDF5 file"),
        (numpy_file, "a NumPy file"),
        (lambda _: b"cbuiltins\neval\n", "is not a safetensors file"),
        (lambda _: (2**62).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
        (lambda _: b"", "is not a safetensors file"),
    ],
    ids=["pickle", "torch", "keras", "h5", "npy", "protocol 0", "huge header", "empty"],
)
def test_anything_but_plain_tensors(folder: Path, tmp_path: Path, make: Callable[[Path], bytes], kind: str) -> None:
    mark = tmp_path / "mark"
    content = make(mark)
    put_weights(folder, content)
    with pytest.raises(BundleError, match=f"{WEIGHTS} is not a safetensors file") as caught:
        ModelBundle.load(folder)
    assert kind in str(caught.value)
    assert not mark.exists()
    if kind == "a pickle":
        pickle.loads(content)  # noqa: S301 - the trap would have been seen
        assert mark.exists()


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.tflite", "model.pt"])
def test_a_file_instead_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(BundleError, match=r"is a file; give a bundle's folder"):
        ModelBundle.load(tmp_path / name)


def test_no_file_but_its_own_is_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for models")
    digest = {"sha256": hashlib.sha256(secret.read_bytes()).hexdigest(), "bytes": secret.stat().st_size}
    names = ("../secret", str(secret), "a/../../secret", "evil.py")
    describe(folder, lambda described: described["files"].update(dict.fromkeys(names, digest)))
    (folder / "evil.py").write_text("raise SystemExit")
    opened: list[Path] = []
    read = Path.read_bytes

    def noted(path: Path) -> bytes:
        opened.append(path.resolve())
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    ModelBundle.load(folder).weights()
    assert set(opened) == {folder.resolve() / name for name in (DESCRIPTION, WEIGHTS, CARD)}


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, CARD])
def test_what_never_ends_is_not_read(folder: Path, name: str) -> None:
    file = folder / name
    for make in (os.mkfifo, lambda file: file.symlink_to("/dev/zero"), os.mkdir):
        file.unlink()
        make(file)
        with pytest.raises(BundleError, match=f"{name} is no plain file"):
            ModelBundle.load(folder)


def test_what_is_too_large_is_not_read(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(2_000_000_000)  # a sparse file
    with pytest.raises(BundleError, match="2000000000 bytes, more than any model here"):
        ModelBundle.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(labels=sorted(d["labels"], reverse=True)), "lists the labels"),
        (lambda d: d.update(labels=d["labels"][:6]), "lists the labels"),
        (lambda d: d.update(labels=[[]] * 7), "lists the labels"),
        (lambda d: d.update(temperature=10**400), "must be a finite number"),
        (lambda d: d.update(temperature=float("nan")), "must be a finite number"),
        (lambda d: d.update(temperature=True), "must be a finite number"),
        (lambda d: d["input"].update(scale=float("inf")), "must be a finite number"),
        (lambda d: d["input"].update(channels=True), "'channels' is bool and must be int"),
        (lambda d: d["input"].update(size=10**9), "crops of 1000000000 px"),
        (lambda d: d["template"].__setitem__(0, [10**400, 0.5]), "no table of numbers"),
        (lambda d: d["template"].__setitem__(0, [float("nan"), 0.5]), "within 0 and 1"),
        (lambda d: d["architecture"].update(depths=[10**9] * 4), "four counts of at least one block"),
        (lambda d: d["architecture"].update(width=10**6), "instead of float16"),
        (lambda d: d.update(architecture=[]), "'architecture' is list"),
        (lambda d: d.update(files={WEIGHTS: "hash"}), "gives no sha256"),
        (lambda d: d["files"][WEIGHTS].update(sha256="0" * 64), "is damaged or was changed"),
    ],
)
def test_a_description_that_makes_no_sense(folder: Path, change: Change, message: str) -> None:
    describe(folder, change)
    with pytest.raises(BundleError, match=message):
        ModelBundle.load(folder)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff\xfe", b"[]", b"null"])
def test_a_description_that_is_none(folder: Path, content: bytes) -> None:
    (folder / DESCRIPTION).write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.json (is not JSON|has format None)"):
        ModelBundle.load(folder)


def test_weights_that_are_no_numbers(folder: Path) -> None:
    tensors = {name: np.full(shape, np.nan, np.float16) for name, shape in weight_shapes(ARCHITECTURE).items()}
    put_weights(folder, save(tensors))
    with pytest.raises(BundleError, match="that are no numbers"):
        ModelBundle.load(folder)


def test_a_run_is_refused_before_anything_is_written(folder: Path, clips: Clips, tmp_path: Path) -> None:
    put_weights(folder, pickled(tmp_path / "mark"))
    with pytest.raises(RefusedError, match="a pickle, which may hold code and is never opened"):
        fer_batch.run(clips.one_face.path, tmp_path / "out", model=folder)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "mark").exists()
