"""Training learns, repeats under its seed, and goes on after a stop as if there had been none."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest

from fer_batch.architecture import weight_shapes
from fer_batch.bundle import write_bundle
from fer_batch.errors import RefusedError
from fer_batch.network import build_network, named_weights
from tests.tiny import TEMPLATE
from tests.training.faces import pictures
from training.data.faces import FaceSet
from training.fit import checkpoint
from training.fit.augment import resize
from training.fit.history import EpochRecord
from training.fit.presets import SCRATCH
from training.fit.recipe import Augmentation, Recipe, Stage, learning_rate, spread_epochs
from training.fit.train import Trainer, class_weights

SMALL = Stage(depths=(1, 1, 1, 1), input_size=32, epochs=2, peak=3e-3, final=1e-3, warmup_steps=4, batch=16)

RECIPE = Recipe(
    stages=(SMALL, dataclasses.replace(SMALL, depths=(1, 2, 1, 1), epochs=1, auxiliary_weight=0.3)),
    augmentation=Augmentation(flip=0.5, rotation=2, scale=0.02, shift=0.01, erase=0.2),
    width=8,
    head_units=16,
    ema_decay=0.9,
    ema_every=2,
    precision="float32",
    keep="best",
)
"""Two stages with growth between them, a second or two in all."""

TRAINING, VALIDATION = pictures(160), pictures(35, seed=1)


def test_stop_and_resume_equals_no_stop(tmp_path: Path) -> None:
    straight: list[EpochRecord] = []
    whole = Trainer(RECIPE, TRAINING, VALIDATION, tmp_path / "whole").run(report=straight.append)
    pieces: list[EpochRecord] = []
    # Stops within the first stage, between the stages, and at the end.
    for _ in range(3):
        trainer = Trainer(RECIPE, TRAINING, VALIDATION, tmp_path / "pieces")
        trainer.run(epochs=1, report=pieces.append)
    assert trainer.done
    again = Trainer(RECIPE, TRAINING, VALIDATION, tmp_path / "pieces")
    assert again.done
    resumed = again.run()
    assert set(whole) == set(resumed) == set(weight_shapes(RECIPE.architecture()))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    for one, other in zip(straight, pieces, strict=True):
        assert dataclasses.replace(one, seconds=0) == dataclasses.replace(other, seconds=0)
    assert again.images_seen == 3 * 160
    assert pyarrow.parquet.read_table(tmp_path / "pieces" / "history.parquet").to_pylist() == [
        dataclasses.asdict(record) for record in pieces
    ]
    with (tmp_path / "pieces" / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"], row["depths"]) for row in history] == [
        ("0", "0", "1 1 1 1"),
        ("0", "1", "1 1 1 1"),
        ("1", "0", "1 2 1 1"),
    ]


def test_it_learns() -> None:
    stage = dataclasses.replace(SMALL, epochs=6, peak=5e-3)
    recipe = dataclasses.replace(RECIPE, stages=(stage,))
    records: list[EpochRecord] = []
    Trainer(recipe, pictures(320), VALIDATION).run(report=records.append)
    assert records[-1].valid_accuracy > 0.8  # a seventh would be chance
    assert records[-1].loss < records[0].loss


def test_bfloat16_trains_soundly() -> None:
    recipe = dataclasses.replace(RECIPE, stages=(SMALL,), precision="mixed_bfloat16")
    records: list[EpochRecord] = []
    weights = Trainer(recipe, TRAINING, VALIDATION).run(report=records.append)
    assert records[1].loss < records[0].loss
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in weights.values())


def test_without_votes_there_is_no_auxiliary_loss() -> None:
    records: list[EpochRecord] = []
    bare = dataclasses.replace(TRAINING, votes=None)
    Trainer(dataclasses.replace(RECIPE, stages=(SMALL,)), bare, VALIDATION).run(epochs=1, report=records.append)
    assert records[0].loss == pytest.approx(records[0].label_loss, rel=1e-5)


def test_blank_pictures_are_left_out() -> None:
    images = TRAINING.images.copy()
    images[[3, 77]] = 128
    trainer = Trainer(RECIPE, dataclasses.replace(TRAINING, images=images), VALIDATION)
    assert trainer.blank == 2
    assert len(trainer.training) == 158
    assert 3 not in trainer.training.rows


def test_another_recipe_is_refused_where_it_would_matter(tmp_path: Path) -> None:
    progress: dict[str, list[str]] = {"history": []}
    checkpoint.save(checkpoint.Checkpoint(0, 1, RECIPE.options(), progress, {"w": np.zeros(1)}), tmp_path)
    with pytest.raises(RefusedError, match=r"another recipe: weight_decay is 0\.03 there, 0\.5 now"):
        Trainer(dataclasses.replace(RECIPE, weight_decay=0.5), TRAINING, VALIDATION, tmp_path)
    # A stage that has not begun may still be changed.
    later = (RECIPE.stages[0], dataclasses.replace(RECIPE.stages[1], epochs=7))
    Trainer(dataclasses.replace(RECIPE, stages=later), TRAINING, VALIDATION, tmp_path)
    sooner = (dataclasses.replace(RECIPE.stages[0], epochs=7), RECIPE.stages[1])
    with pytest.raises(RefusedError, match="stages is"):
        Trainer(dataclasses.replace(RECIPE, stages=sooner), TRAINING, VALIDATION, tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / checkpoint.FILE).write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(RefusedError, match="not a checkpoint of this version"):
        Trainer(RECIPE, TRAINING, VALIDATION, tmp_path)


def test_the_schedule() -> None:
    stage = dataclasses.replace(SMALL, peak=1.0, final=0.1, warmup_steps=10)
    rates = [learning_rate(stage, step, 110) for step in range(111)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_epochs_are_spread_over_the_stages() -> None:
    stages = SCRATCH.stages
    for total in range(1, 60):
        spread = spread_epochs(stages, total)
        assert sum(stage.epochs for stage in spread) == total
        assert spread[-1].depths == stages[-1].depths
        assert all(stage.epochs >= 1 for stage in spread)


def test_impossible_recipes() -> None:
    with pytest.raises(ValueError, match="at least one stage"):
        Recipe(stages=())
    with pytest.raises(ValueError, match="grown, not shrunk"):
        Recipe(stages=RECIPE.stages[::-1])
    with pytest.raises(ValueError, match="precision"):
        dataclasses.replace(RECIPE, precision="int8")
    with pytest.raises(ValueError, match="optimiser must be adamw, muon"):
        dataclasses.replace(RECIPE, optimiser="sgd")
    with pytest.raises(ValueError, match="only a ResNet can be grown"):
        dataclasses.replace(RECIPE, family="vgg")


def test_the_best_epoch_is_kept_and_an_idle_stage_ends_early() -> None:
    # A rate this high from the second epoch on ruins what the first one learnt.
    steps = 160 // 16
    stage = dataclasses.replace(SMALL, epochs=9, peak=0.0, final=0.0)
    recipe = dataclasses.replace(RECIPE, stages=(stage,), patience=2)
    records: list[EpochRecord] = []
    trainer = Trainer(recipe, TRAINING, VALIDATION)
    trainer.run(report=records.append)
    # Nothing is learnt at rate zero, so no epoch after the BatchNormalization's first ones lowers the loss for long.
    assert trainer.done
    losses = [record.valid_loss for record in records]
    assert len(records) < 9
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert trainer.images_seen == len(records) * steps * 16
    best = max(records, key=lambda record: record.valid_accuracy)
    logits = _logits(recipe, trainer.weights(), VALIDATION)
    assert (logits.argmax(axis=1) == VALIDATION.labels).mean() == pytest.approx(best.valid_accuracy)


def test_class_weights() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    np.testing.assert_allclose(class_weights(labels, 0)[:3], 1)
    every = class_weights(labels, 1)
    np.testing.assert_allclose(every[:3], [10 / 18, 10 / 9, 10 / 3], rtol=1e-6)
    assert every[3:].max() == 0  # a class without pictures
    half = class_weights(labels, 0.5)
    assert half[2] / half[0] == pytest.approx(6**0.5)
    assert half[labels].mean() == pytest.approx(1)


def test_a_student_learns_from_its_teacher_alone(tmp_path: Path) -> None:
    """With the labels shuffled, what it knows in the end it can only have from the teacher."""
    stage = dataclasses.replace(SMALL, epochs=6, peak=5e-3, auxiliary_weight=0.0)
    recipe = dataclasses.replace(RECIPE, stages=(stage,), keep="last")
    data = pictures(320)
    taught = Trainer(recipe, data, VALIDATION).run()
    teacher = write_bundle(
        tmp_path / "teacher", name="teacher", architecture=recipe.architecture(), input_size=32, channels=1,
        mean=recipe.mean, scale=recipe.scale, template=TEMPLATE, temperature=1.0, weights=taught, card="",
    )  # fmt: skip
    shuffled = dataclasses.replace(data, labels=np.random.default_rng(0).permutation(data.labels), votes=None)
    stage = dataclasses.replace(stage, teacher_weight=1.0, input_size=48)
    recipe = dataclasses.replace(recipe, stages=(stage,), family="vgg", teachers=("teacher",))
    records: list[EpochRecord] = []
    Trainer(recipe, shuffled, VALIDATION, teachers=[teacher]).run(report=records.append)
    assert records[-1].valid_accuracy > 0.7  # a seventh would be chance


def test_frozen_layers_stay_as_they_were_to_the_last_bit() -> None:
    frozen = dataclasses.replace(SMALL, depths=(1, 1, 1, 2), epochs=1, unfrozen=0)
    later = dataclasses.replace(frozen, unfrozen=4)  # the last block's last convolution, its norm, the sum, the ReLU
    for stage, moved in ((frozen, ("head", "logits")), (later, ("head", "logits", "conv5_block2_3"))):
        recipe = dataclasses.replace(RECIPE, stages=(stage,))
        before = Trainer(recipe, TRAINING, VALIDATION).weights()
        after = Trainer(recipe, TRAINING, VALIDATION).run()
        changed = {name for name, value in after.items() if not np.array_equal(value, before[name])}
        assert changed
        assert all(name.startswith(moved) for name in changed)
        for prefix in moved:
            assert any(name.startswith(prefix) for name in changed)


def _logits(recipe: Recipe, weights: Mapping[str, npt.NDArray[np.float32]], data: FaceSet) -> npt.NDArray[np.float32]:
    network = build_network(recipe.architecture(), input_size=32, mean=recipe.mean, scale=recipe.scale)
    for name, weight in named_weights(network).items():
        weight.assign(weights[name])
    return np.asarray(network(resize(data.images, 32), training=False))
