"""A bundle is read whole or refused with the file and the remedy named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.bundle import ModelBundle, shipped, write_bundle
from fer_batch.bundle_folder import CARD, DESCRIPTION, WEIGHTS
from fer_batch.errors import BundleError
from fer_batch.schema import EMOTIONS
from tests.tiny import ARCHITECTURE, TEMPLATE, write_tiny_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound tiny bundle, to be damaged."""
    return write_tiny_bundle(tmp_path / "model").path


def describe(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edits ``model.json``."""
    file = folder / DESCRIPTION
    described = json.loads(file.read_text())
    change(described)
    file.write_text(json.dumps(described))


def replace_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Writes other tensors, with the right hash: what is wrong lies in the tensors themselves."""
    import hashlib

    tensors: dict[str, Any] = {k: v.astype(np.float16) for k, v in ModelBundle.load(folder).weights().items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    describe(folder, lambda d: d["files"][WEIGHTS].update(sha256=digest))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = write_tiny_bundle(tmp_path / "model", input_size=64)
    bundle = ModelBundle.load(tmp_path / "model")
    assert bundle.labels == EMOTIONS
    assert bundle.labelling == "FER2013"
    assert Architecture.from_options(bundle.architecture) == ARCHITECTURE
    assert (bundle.input_size, bundle.channels, bundle.mean, bundle.scale) == (64, 1, 127.5, 64.0)
    assert bundle.template.dtype == np.float32
    np.testing.assert_allclose(bundle.template, TEMPLATE, atol=1e-5)
    assert not bundle.template.flags.writeable
    assert bundle.card == "A tiny random model for tests."
    weights = bundle.weights()
    assert {name: value.shape for name, value in weights.items()} == weight_shapes(ARCHITECTURE)
    assert all(value.dtype == np.float32 for value in weights.values())
    assert written.sha256 == bundle.sha256


def test_the_hash_is_stable_and_covers_the_weights(tmp_path: Path) -> None:
    first, again, other = (write_tiny_bundle(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256


def test_loading_does_not_import_tensorflow(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fer_batch.bundle import ModelBundle; "
        "ModelBundle.load(Path(sys.argv[1])).weights(); print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere.*does not exist"):
        ModelBundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, CARD])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} cannot be read \(No such file"):
        ModelBundle.load(folder)


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_changed_byte(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} is damaged or was changed.*copy the bundle again"):
        ModelBundle.load(folder)


def test_a_file_cut_short_says_so(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:1000])
    with pytest.raises(BundleError, match=rf"1000 bytes instead of {len(data)}"):
        ModelBundle.load(folder)


def test_not_json(folder: Path) -> None:
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(BundleError, match=r"model\.json is not JSON"):
        ModelBundle.load(folder)


def _reverse_labels(described: dict[str, Any]) -> None:
    described["labels"].reverse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=99), "has format 99, this version reads 1"),
        (_reverse_labels, r"lists the labels \['neutral'.*use a model made for these labels"),
        (lambda d: d.pop("labels"), "'labels' is missing and must be list"),
        (lambda d: d.update(name=3), "'name' is int and must be str"),
        (lambda d: d["files"].pop(WEIGHTS), f"gives no sha256 for {WEIGHTS}"),
        (lambda d: d["architecture"].update(wings=2), "unknown architecture option 'wings'"),
        (lambda d: d["architecture"].update(depths=[3, 4]), "four counts of at least one block"),
        (lambda d: d["architecture"].update(width="wide"), "describes no known architecture"),
        (lambda d: d["architecture"].update(depths=[1, 1, 2, 1]), f"{WEIGHTS} lacks tensor 'conv4_block2"),
        (lambda d: d["input"].update(size=3), "crops of 3 px"),
        (lambda d: d["input"].update(channels=2), "2 channels"),
        (lambda d: d["input"].update(scale=0), "scale 0, which must be above zero"),
        (lambda d: d["input"].update(mean="grey"), "mean 'grey', which must be a finite number"),
        (lambda d: d.update(temperature=-1.0), "temperature -1.0, which must be above zero"),
        (lambda d: d["template"].pop(), r"template of shape \(4, 2\)"),
        (lambda d: d["template"][0].pop(), "template that is no table of numbers"),
        (lambda d: d["template"].__setitem__(0, [1.5, 0.4]), "within 0 and 1"),
    ],
)
def test_a_wrong_description(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    describe(folder, change)
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(folder)
    assert str(folder) in str(caught.value)


def test_a_tensor_too_many(folder: Path) -> None:
    replace_weights(folder, lambda t: t.update(extra=np.zeros(1, np.float16)))
    with pytest.raises(BundleError, match="has the unknown tensor 'extra'"):
        ModelBundle.load(folder)


def test_a_tensor_of_another_shape(folder: Path) -> None:
    replace_weights(folder, lambda t: t.update({"logits/bias": np.zeros(8, np.float16)}))
    with pytest.raises(BundleError, match=r"'logits/bias' as float16 \(8,\) instead of float16 \(7,\)"):
        ModelBundle.load(folder)


def test_a_tensor_of_another_dtype(folder: Path) -> None:
    replace_weights(folder, lambda t: t.update({"logits/bias": np.zeros(7, np.float32)}))
    with pytest.raises(BundleError, match="float32"):
        ModelBundle.load(folder)


def test_weights_that_are_no_tensors(folder: Path) -> None:
    import hashlib

    (folder / WEIGHTS).write_bytes(b"cbuiltins\neval\n")
    digest = hashlib.sha256(b"cbuiltins\neval\n").hexdigest()
    describe(folder, lambda d: d["files"][WEIGHTS].update(sha256=digest))
    with pytest.raises(BundleError, match="is not a safetensors file"):
        ModelBundle.load(folder)


def test_a_bundle_replaced_after_loading_is_noticed(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    write_tiny_bundle(tmp_path / "model", seed=1)
    with pytest.raises(BundleError, match="was replaced since"):
        bundle.weights()


def _write(path: Path, **changes: Any) -> ModelBundle:
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(ARCHITECTURE).items()}
    options: dict[str, Any] = {
        "name": "zero", "architecture": ARCHITECTURE, "input_size": 48, "channels": 1, "mean": 0.0, "scale": 1.0,
        "template": TEMPLATE, "temperature": 1.0, "weights": weights, "card": "",
    }  # fmt: skip
    return write_bundle(path, **{**options, **changes})


def test_a_folder_that_exists_is_not_overwritten(tmp_path: Path, folder: Path) -> None:
    before = ModelBundle.load(folder).sha256
    with pytest.raises(BundleError, match="exists already: name another folder"):
        _write(folder)
    assert ModelBundle.load(folder).sha256 == before
    assert _write(folder, overwrite=True).name == "zero"
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="no model bundle, so it is not replaced"):
        _write(tmp_path / "mine", overwrite=True)


def test_a_bundle_that_would_be_refused_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="temperature"):
        _write(tmp_path / "model", temperature=0.0)
    weights = {name: np.full(shape, 1e6) for name, shape in weight_shapes(ARCHITECTURE).items()}
    with pytest.raises(BundleError, match="float16 cannot hold"):
        _write(tmp_path / "model", weights=weights)
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_the_most_accurate_of_the_models_that_ship() -> None:
    accuracy = {name: ModelBundle.load(name).figures["accuracy"] for name in shipped()}
    assert ModelBundle.load().path.name == shipped()[0]
    assert accuracy[shipped()[0]] == max(accuracy.values())


@pytest.mark.parametrize(("name", "family"), [("resnet50", "resnet"), ("compact", "vgg")])
def test_the_shipped_bundles_are_sound(name: str, family: str) -> None:
    bundle = ModelBundle.load(name)
    architecture = Architecture.from_options(bundle.architecture)
    assert architecture.family == family
    assert family == "vgg" or architecture.depths == (3, 4, 6, 3)
    figures = bundle.figures
    assert figures["split"] == "PublicTest"
    assert figures["n"] == sum(entry["n"] for entry in figures["classes"].values()) == 3589
    confusion = np.array(figures["confusion"])
    assert figures["accuracy"] == round(float(np.trace(confusion) / confusion.sum()), 4)
    low, high = figures["accuracy_95"]
    assert low < figures["accuracy"] < high
    for index, emotion in enumerate(EMOTIONS):
        assert figures["recall"][emotion] == round(float(confusion[index, index] / confusion[index].sum()), 4)
    # The card says what the description says.
    assert f"accuracy {100 * figures['accuracy']:.1f} %" in bundle.card
    for word in ("FER2013 only", "apparent", "commercial", "Not for"):
        assert word in bundle.card
