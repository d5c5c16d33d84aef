"""Exports give the bundle's own probabilities, and load where this package is not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from ai_edge_litert.interpreter import Interpreter
from typer.testing import CliRunner

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.bundle import ModelBundle, rewrite_bundle, write_bundle
from fer_batch.bundle_folder import Int8Part
from fer_batch.errors import BundleError, RefusedError
from fer_batch.float_model import scoring_network
from fer_batch.schema import EMOTIONS
from fer_batch.score import Scorer
from tests.tiny import TEMPLATE
from tests.training.faces import pictures, rows, write_csv
from training.commands import export_model as command
from training.data.faces import FaceSet
from training.export.portable import export_model
from training.export.quantise import CALIBRATION, calibration_faces
from training.fit.augment import resize

KERAS_TOLERANCE = 1e-4
INT8_TOLERANCE = 0.1  # of a probability at most, a fifth of it on average

ARCHITECTURES = {
    "resnet": Architecture(depths=(1, 1, 1, 1), width=8, head_units=16),
    "vgg": Architecture(family="vgg", depths=(1, 2, 1, 1), width=8, head_units=0),
    "vgg_se": Architecture(family="vgg", depths=(1, 1, 1, 1), width=8, head_units=0, se=True),
}

app = typer.Typer()
app.command()(command)


def varied(count: int, seed: int = 0) -> FaceSet:
    """Pictures of very different brightness and contrast, so that even a random network tells them apart."""
    faces = pictures(count, seed)
    random = np.random.default_rng(seed)
    gain, lift = random.uniform(0.05, 1.2, (count, 1, 1)), random.uniform(0, 160, (count, 1, 1))
    return replace(faces, images=np.clip(faces.images * gain + lift, 0, 255).astype(np.uint8))


def write(path: Path, family: str) -> ModelBundle:
    """A bundle with random weights, none of them trivial, and a temperature, that tells the varied pictures apart."""
    architecture = ARCHITECTURES[family]
    random = np.random.default_rng(0)
    weights = {}
    for name, shape in weight_shapes(architecture).items():
        kind = name.rsplit("/", 1)[1]
        if kind in ("gamma", "moving_variance"):
            weights[name] = random.uniform(0.7, 1.4, shape)
        elif kind == "kernel":
            weights[name] = random.normal(0, 1.4 / np.sqrt(np.prod(shape[:-1])), shape)
        else:
            weights[name] = random.normal(0, 0.1, shape)

    def written() -> ModelBundle:
        return write_bundle(
            path, name=f"tiny {family}", architecture=architecture, input_size=40, channels=1, mean=129.5, scale=65.0,
            template=TEMPLATE, temperature=0.8, weights=weights, card="For tests.", overwrite=True,
            figures={"split": "PublicTest", "n": 3}, provenance={"licence": "to be cleared"},
        )  # fmt: skip

    logits = np.asarray(scoring_network(written(), "float32")(resize(varied(100).images, 40).astype(np.float32)))
    gain = 1.5 / logits.std(axis=0)
    weights["logits/kernel"] = weights["logits/kernel"] * gain
    weights["logits/bias"] = (weights["logits/bias"] - logits.mean(axis=0)) * gain
    return written()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelBundle]:
    """A bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {family: write(folder / family, family) for family in ARCHITECTURES}


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return resize(varied(24, seed=5).images, 40)


@pytest.fixture(scope="module")
def expected(bundles: dict[str, ModelBundle], crops: np.ndarray) -> dict[str, np.ndarray]:
    """What the engine says of the crops. It must say something, or being near it were no feat."""
    told = {family: Scorer(bundle, batch_sizes=(24,))(crops) for family, bundle in bundles.items()}
    assert all(probabilities.std(axis=0).min() > 0.05 for probabilities in told.values())
    return told


ALONE = """
import sys, numpy, keras
crops = numpy.load("crops.npy").astype("float32")
for path in sys.argv[1:]:
    network = keras.models.load_model(path, safe_mode=True)
    numpy.save(path + ".npy", network.predict(crops, verbose=0))
assert not {"fer_batch", "training", "jobs"} & set(sys.modules)
"""


def test_keras_loads_it_alone(
    bundles: dict[str, ModelBundle], crops: np.ndarray, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    np.save(tmp_path / "crops.npy", crops)
    files = {"resnet.keras": "resnet", "resnet.h5": "resnet", "vgg.keras": "vgg", "vgg_se.h5": "vgg_se"}
    for name, family in files.items():
        out, described = export_model(bundles[family], tmp_path / name)
        assert out == tmp_path / name
        told = json.loads(described.read_text())
        assert told["output"]["labels"] == list(EMOTIONS)
        assert told["input"]["shape"] == ["batch", 40, 40, 1]
        assert told["input"]["dtype"] == "float32"
        assert told["input"]["template"]["nose"] == [0.49, 0.58]
        assert told["bundle_sha256"] == bundles[family].sha256
        assert told["provenance"]["licence"] == "to be cleared"
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, family in files.items():
        scores = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(scores, expected[family], atol=KERAS_TOLERANCE, err_msg=name)


@pytest.mark.parametrize("family", ["resnet", "vgg"])
def test_int8_says_nearly_the_same(
    family: str,
    bundles: dict[str, ModelBundle],
    crops: np.ndarray,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    out, described = export_model(bundles[family], tmp_path / "model.tflite", training=varied(70))
    parts = Interpreter(model_content=out.read_bytes(), num_threads=2)
    scores = run(parts, crops)
    apart = np.abs(scores - expected[family])
    assert apart.max() < INT8_TOLERANCE
    assert apart.mean() < INT8_TOLERANCE / 5
    np.testing.assert_array_equal(run(parts, crops[:5]), scores[:5])  # a batch of another size
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=0.02)
    assert json.loads(described.read_text())["input"]["dtype"] == "uint8"
    given, told = parts.get_input_details()[0], parts.get_output_details()[0]
    assert given["dtype"] == np.uint8
    assert given["quantization"] == (1.0, 0)  # a pixel's value is the quantised value
    assert told["dtype"] == np.float32
    weights = [part for part in parts.get_tensor_details() if part["dtype"] == np.int8 and len(part["shape"]) == 4]
    assert max(len(part["quantization_parameters"]["scales"]) for part in weights) > 1  # a scale for each channel
    # BatchNormalization went into the convolutions: what is left to multiply is the pixels' normalisation.
    names = [each["op_name"] for each in parts._get_ops_details()]
    assert names.count("MUL") == 1
    assert not {"SUB", "RSQRT", "BATCH_NORM"} & set(names)
    # Such a file is for others: in a bundle the engine asks for float32 logits.
    part = Int8Part(1.0, {}, {})
    bundle = rewrite_bundle(bundles[family], tmp_path / "bundle", int8=(part, out.read_bytes()))
    with pytest.raises(BundleError, match=r"it takes uint8 \(-1, 40, 40, 1\) instead of float32"):
        Scorer(bundle, precision="int8")


def run(interpreter: Any, crops: np.ndarray) -> np.ndarray:
    """What a TFLite model says of crops."""
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, crops.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, crops)
    interpreter.invoke()
    told: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return told


def test_calibration_faces_are_real_ones_and_span_all_pixels() -> None:
    faces = pictures(300)
    blank = FaceSet(np.concatenate([faces.images[:9], np.full((91, 48, 48), 7, np.uint8)]), faces.labels[:100], None,
                    faces.rows[:100])  # fmt: skip
    assert len(calibration_faces(blank, 48)) == 9
    chosen = calibration_faces(faces, 40)
    assert chosen.shape == (CALIBRATION, 40, 40, 1)
    assert (chosen.min(), chosen.max()) == (0, 255)
    assert faces.images.max() < 255  # so one was stretched, and only one
    assert int((chosen.max(axis=(1, 2, 3)) == 255).sum()) == 1
    np.testing.assert_array_equal(chosen, calibration_faces(faces, 40))
    np.testing.assert_array_equal(calibration_faces(faces, 40, 3)[..., 2:], chosen)  # a colour model sees grey faces
    with pytest.raises(ValueError, match="all are blank"):
        calibration_faces(blank.take(np.arange(50, 60)), 48)


def test_the_command_writes_and_refuses(bundles: dict[str, ModelBundle], tmp_path: Path) -> None:
    def invoke(*arguments: object) -> str:
        done = CliRunner().invoke(
            app, [str(a) for a in (*arguments, "--model", bundles["vgg"].path)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    out = tmp_path / "model.keras"
    assert invoke(out).split() == [str(out), f"{out}.json"]
    with pytest.raises(RefusedError, match="exists already"):
        invoke(out)
    invoke(out, "--overwrite")
    with pytest.raises(RefusedError, match=r"one of \.keras, \.h5, \.tflite"):
        invoke(tmp_path / "model.onnx")
    with pytest.raises(RefusedError, match="give FER2013 by --data"):
        invoke(tmp_path / "model.tflite")
    with pytest.raises(RefusedError, match="no rows of the split 'Training'"):
        invoke(tmp_path / "model.tflite", "--data", write_csv(tmp_path / "public.csv", rows("PublicTest", 2)))
    with pytest.raises(RefusedError, match="there is no folder"):
        invoke(tmp_path / "nowhere" / "model.keras")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "model.keras.json", "public.csv"]
