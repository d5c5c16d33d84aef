"""``fer-batch train`` and ``fer-batch evaluate`` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle
from fer_batch.errors import BundleError, RefusedError
from fer_batch.network import build_network, named_weights
from fer_batch.schema import EMOTIONS
from tests.tiny import write_tiny_bundle
from tests.training.faces import pictures, rows, write_csv, write_votes
from training.commands import evaluate, train
from training.commands.options import read_data
from training.data.fer2013 import DataError
from training.evaluation.curves import find_history
from training.evaluation.evaluate import predict
from training.fit.display import TrainingDisplay
from training.fit.history import EpochRecord

app = typer.Typer()
app.command()(train)
app.command()(evaluate)

FIGURES = {"accuracy", "macro_f1", "ece", "n", "recall"}


def invoke(*arguments: object) -> str:
    """Runs a command in this process and returns its standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def _few_faces_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny pictures have no faces in them, so their template is given."""
    from tests.tiny import TEMPLATE

    monkeypatch.setattr("training.data.template.landmark_template", lambda *_, **__: TEMPLATE)


def test_train_then_evaluate(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "fer2013.csv.gz", rows("Training", 64) + rows("PublicTest", 21, seed=1))
    votes = write_votes(tmp_path / "fer2013new.csv", ["Training"] * 64 + ["PublicTest"] * 21)
    out, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    small = ["--depths", "1,1,1,1", "--width", 4, "--input-size", 32, "--batch", 16, "--precision", "float32"]
    common = ["--ferplus", votes, "--checkpoints", checkpoints, "--epochs", 1, "--name", "little", *small]
    invoke("train", data, "--out", out, "--no-int8", *common)
    bundle = ModelBundle.load(out)
    assert bundle.int8 is None
    weights = bundle.weights()
    assert bundle.name == "little"
    assert Architecture.from_options(bundle.architecture).depths == (1, 1, 1, 1)
    assert bundle.input_size == 32
    assert bundle.training["pictures"] == 64
    assert bundle.training["votes"] is True
    assert bundle.training["images_seen"] == 64
    # The evaluation's page finds the curves in the model itself, wherever its checkpoints went.
    carried = find_history(bundle)
    assert carried is not None
    assert carried["images_seen"].tolist() == [64]
    assert bundle.figures["n"] == 21
    assert bundle.figures["without_copies"]["n"] == 21
    assert "21 pictures" in bundle.card
    # What the card claims is what evaluating the bundle gives, also from a file that holds the one split alone.
    alone = write_csv(tmp_path / "public.csv", rows("PublicTest", 21, seed=1))
    printed = json.loads(invoke("evaluate", "--data", alone, "--split", "PublicTest", "--model", out, "--json"))
    assert printed["accuracy"] == bundle.figures["accuracy"]
    assert printed["confusion"] == bundle.figures["confusion"]
    assert printed["ece"] == pytest.approx(bundle.figures["ece"], abs=2e-4)
    # The same command again has nothing left to train; the bundle is not replaced unasked.
    with pytest.raises(RefusedError, match="exists already"):
        invoke("train", data, "--out", out, *common)
    invoke("train", data, "--out", out, "--overwrite", *common)
    again = ModelBundle.load(out)
    assert again.figures == bundle.figures
    assert again.figures_in("int8")["n"] == 21
    assert "In int8, which a CPU runs" in again.card
    assert again.weights().keys() == weights.keys()
    np.testing.assert_array_equal(again.weights()["logits/kernel"], weights["logits/kernel"])


def test_evaluate_prints_one_object_and_nothing_else(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "public.csv", rows("PublicTest", 14))
    model = write_tiny_bundle(tmp_path / "model")
    code = (
        "import sys, typer; from training.commands import evaluate; app = typer.Typer(); app.command()(evaluate); app()"
    )
    arguments = ["--data", data, "--split", "PublicTest", "--model", model.path, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    figures = json.loads(done.stdout)
    assert set(figures) >= FIGURES
    assert figures["n"] == 14
    assert list(figures["recall"]) == list(EMOTIONS)
    assert figures["model"] == "tiny"
    expected = (predict(model, pictures(14)).argmax(axis=1) == pictures(14).labels).mean()
    assert figures["accuracy"] == round(float(expected), 4)


def test_evaluate_for_people(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "public.csv", rows("PublicTest", 14))
    printed = invoke("evaluate", "--data", data, "--model", write_tiny_bundle(tmp_path / "model").path)
    for word in (*EMOTIONS, "accuracy", "macro F1", "calibration error", "n = 14"):
        assert word in printed


def test_refusals(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "public.csv", rows("PublicTest", 2))
    with pytest.raises(RefusedError, match="no rows of the split 'Training'"):
        invoke("train", data, "--out", tmp_path / "model", "--checkpoints", tmp_path / "c")
    with pytest.raises(RefusedError, match="--depths 3,four"):
        invoke("train", data, "--out", tmp_path / "model", "--depths", "3,four")
    with pytest.raises(RefusedError, match="depths must be four counts"):
        invoke("train", data, "--out", tmp_path / "model", "--depths", "3,4")
    with pytest.raises(RefusedError, match="precision must be"):
        invoke("train", data, "--out", tmp_path / "model", "--precision", "int8")
    with pytest.raises(BundleError, match="does not exist"):
        invoke("evaluate", "--data", data, "--model", tmp_path / "nowhere")
    with pytest.raises(RefusedError, match="it holds: PublicTest"):
        invoke("evaluate", "--data", data, "--split", "PrivateTest")


def test_importing_the_commands_is_quick() -> None:
    started = time.monotonic()
    code = (
        "import sys, training.commands; print([m for m in ('tensorflow', 'keras', 'cv2', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 5


def test_the_compact_preset_learns_from_a_teacher(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "fer2013.csv", rows("Training", 64) + rows("PublicTest", 21, seed=1))
    teacher = write_tiny_bundle(tmp_path / "teacher")
    out = tmp_path / "model"
    invoke(
        "train", data, "--out", out, "--preset", "compact", "--teacher", teacher.path, "--epochs", 2, "--width", 4,
        "--batch", 16, "--mixup", 0.2, "--erase", 0.5, "--class-weight", 0.5, "--se", "--precision", "float32",
        "--no-int8", "--checkpoints", tmp_path / "c",
    )  # fmt: skip
    bundle = ModelBundle.load(out)
    assert bundle.name == "compact-fer2013"
    architecture = Architecture.from_options(bundle.architecture)
    assert (architecture.family, architecture.width, architecture.se) == ("vgg", 4, True)
    assert bundle.input_size == 48
    recipe = bundle.training["recipe"]
    assert recipe["teachers"] == ["tiny"]
    assert recipe["augmentation"]["erase"] == 0.5
    assert [stage["mixup"] for stage in recipe["stages"]] == [0.2, 0.2]
    assert bundle.training["images_seen"] == 128


def test_the_transfer_preset_from_a_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's recipe, at a size that a test can afford: head first, then the last 50 layers."""
    data = write_csv(tmp_path / "fer2013.csv", rows("Training", 32) + rows("PublicTest", 14, seed=1))
    first = build_network(Architecture(), input_size=32, mean=117.4, scale=1.0)
    before = {name: weight.numpy() for name, weight in named_weights(first).items()}
    monkeypatch.setattr("training.fit.start._keras_weights", lambda _: before)
    out = tmp_path / "model"
    invoke(
        "train", data, "--out", out, "--preset", "transfer", "--epochs", 2, "--input-size", 32, "--batch", 16,
        "--precision", "float32", "--no-int8", "--checkpoints", tmp_path / "c",
    )  # fmt: skip
    bundle = ModelBundle.load(out)
    assert bundle.training["recipe"]["weights"] == "imagenet"
    assert [stage["unfrozen"] for stage in bundle.training["recipe"]["stages"]] == [0, 50]
    after = bundle.weights()
    # The first stages are ImageNet's to the last bit of a half, moving statistics included; the last stage is not.
    for name in ("conv2_block1_1_conv/kernel", "conv3_block1_1_bn/moving_mean", "conv4_block1_1_conv/kernel"):
        np.testing.assert_array_equal(after[name], before[name].astype(np.float16).astype(np.float32))
    assert not np.array_equal(after["conv5_block3_1_conv/kernel"], before["conv5_block3_1_conv/kernel"])


def test_refusals_of_presets_and_weights(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "fer2013.csv", rows("Training", 4) + rows("PublicTest", 2))
    with pytest.raises(RefusedError, match="--preset huge: there are scratch, compact, transfer"):
        invoke("train", data, "--out", tmp_path / "model", "--preset", "huge")
    with pytest.raises(RefusedError, match="give --out FOLDER to train, or --explore PAGE"):
        invoke("train", data)
    with pytest.raises(BundleError, match="does not exist"):
        invoke("train", data, "--out", tmp_path / "model", "--teacher", tmp_path / "nobody")


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help(command: str) -> None:
    printed = invoke(command, "--help")
    assert "--model" in printed or "--ferplus" in printed


def test_the_shipped_model_on_real_pictures(shared: Path, tmp_path: Path) -> None:
    """The first real validation rows score about what the card says; all of them take a minute, so not here."""
    import gzip
    from itertools import islice

    lines = []
    with gzip.open(shared / "fer2013" / "fer2013.csv.gz", "rt") as file:
        header = next(file)
        for line in islice(file, 28709, 28709 + 300):
            assert line.rstrip().endswith("PublicTest")
            lines.append(line)
    part = tmp_path / "part.csv"
    part.write_text(header + "".join(lines))
    figures = json.loads(invoke("evaluate", "--data", part, "--json"))
    assert figures["n"] == 300
    claimed = ModelBundle.load().figures["accuracy"]
    assert abs(figures["accuracy"] - claimed) < 0.08  # three standard errors of 300 pictures


def test_votes_beside_the_data_that_do_not_fit_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "fer2013.csv", rows("PublicTest", 14))
    votes = write_votes(tmp_path / "fer2013new.csv", ["PublicTest"] * 3)
    assert read_data(data)["PublicTest"].votes is None
    assert "without FER+: " in capsys.readouterr().err
    with pytest.raises(DataError, match="votes for 3 rows of PublicTest"):
        read_data(data, votes)


def test_a_stopped_training_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_csv(tmp_path / "fer2013.csv", rows("Training", 32) + rows("PublicTest", 14, seed=1))
    small = ["--depths", "1,1,1,1", "--width", "4", "--input-size", "32", "--batch", "16", "--precision", "float32"]
    command = [
        "train",
        data,
        "--out",
        tmp_path / "model",
        "--checkpoints",
        tmp_path / "checkpoints",
        "--no-int8",
        *small,
    ]

    def stop(display: TrainingDisplay, record: EpochRecord) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingDisplay, "epoch", stop)
    stopped = CliRunner().invoke(app, [str(each) for each in [*command, "--epochs", 2]])
    assert stopped.exit_code == 130
    assert "stopped, epochs done: 1; the same command goes on from there" in stopped.stderr
