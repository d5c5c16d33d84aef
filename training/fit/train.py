"""The training loop: stages of a recipe, a checkpoint after every epoch, the same result with or without a stop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS
from training.data.faces import VOTES, FaceSet
from training.evaluation.metrics import log_loss
from training.fit import checkpoint
from training.fit.augment import EpochStream
from training.fit.growth import Weights
from training.fit.history import EpochRecord, write_history
from training.fit.mixup import mix
from training.fit.recipe import Recipe, learning_rate
from training.fit.stage import FERPLUS, StageRun, part
from training.fit.teachers import Teachers

Step = Callable[[int, int], None]
"""Told after every step: steps done in the epoch, and steps it has."""


class Trainer:
    """Trains by a recipe.

    Args:
        recipe: all hyperparameters.
        training: pictures to learn from; blank ones are left out.
        validation: pictures that the history's validation columns are about, that end a stage early where the recipe
            has patience, and that choose the epoch where it keeps the best.
        folder: where checkpoint and history are kept; None keeps neither.
        start: weights by name that the first stage begins with; what they lack begins at random.
        teachers: models whose answers are learnt where a stage gives them weight.

    Where TensorFlow sees several GPUs, each takes an equal part of every batch (Keras' way with TensorFlow:
    ``tf.distribute.MirroredStrategy``).

    Raises:
        RefusedError: the folder holds a run with another recipe; the start's weights do not fit the network; or a
            batch cannot be divided among the GPUs.
    """

    def __init__(
        self,
        recipe: Recipe,
        training: FaceSet,
        validation: FaceSet,
        folder: Path | None = None,
        *,
        start: Mapping[str, npt.NDArray[np.float32]] | None = None,
        teachers: Sequence[ModelBundle] = (),
    ) -> None:
        self.recipe, self.validation, self.folder, self._start = recipe, validation, folder, start
        blank = training.blank()
        self.training = training.take(~blank) if blank.any() else training
        self.blank = int(blank.sum())
        self._weights = class_weights(self.training.labels, recipe.class_weight)
        self._strategy = strategy()
        self._teachers: Teachers | None = None
        if teachers:
            with self._strategy.scope():
                self._teachers = Teachers(teachers, temperature=recipe.teacher_temperature, precision=recipe.precision)
        self.history: list[EpochRecord] = []
        self.stage, self.epoch = 0, 0
        self._best: Weights | None = None
        self._live: StageRun | None = None
        self._resumed: checkpoint.Checkpoint | None = checkpoint.load(folder) if folder else None
        if self._resumed:
            self._check_recipe(self._resumed)
            self.stage, self.epoch = self._resumed.stage, self._resumed.epoch
            self.history = [EpochRecord(**row) for row in self._resumed.progress["history"]]
            self._best = part(self._resumed.arrays, "best/") or None

    @property
    def done(self) -> bool:
        """Whether all stages are complete."""
        return self.stage >= len(self.recipe.stages)

    @property
    def images_seen(self) -> int:
        """Pictures shown so far, repetitions counted."""
        return self.history[-1].images_seen if self.history else 0

    @property
    def seconds(self) -> float:
        """Wall-clock time of all epochs so far, validation included."""
        return sum(record.seconds for record in self.history)

    def run(
        self,
        *,
        epochs: int | None = None,
        report: Callable[[EpochRecord], None] | None = None,
        step: Step | None = None,
    ) -> Weights:
        """Trains to the recipe's end, or for so many epochs at most.

        Args:
            epochs: how many at most.
            report: told after every epoch.
            step: told after every step.

        Returns:
            As :meth:`weights`.
        """
        left = math.inf if epochs is None else epochs
        while not self.done and left > 0:
            record = self._train_epoch(step)
            left -= 1
            if self.folder and self._live:
                self._save(self._live, self.folder)
            if report:
                report(record)
        return self.weights()

    def weights(self) -> Weights:
        """The averaged weights by name, without the auxiliary output: of the last epoch, or of the best one."""
        if self._best is not None:
            average: Mapping[str, npt.NDArray[Any]] = self._best
        elif self.done and self._resumed:
            average = part(self._resumed.arrays, "average/average/")
        else:
            average = self._ready(min(self.stage, len(self.recipe.stages) - 1)).average.arrays()
        return {name: value for name, value in average.items() if not name.startswith(f"{FERPLUS}/")}

    def _check_recipe(self, found: checkpoint.Checkpoint) -> None:
        """Refuses to go on by another recipe; only stages that have not begun may differ."""
        asked = json.loads(json.dumps(self.recipe.options()))
        there = dict(found.recipe)
        begun = found.stage + (found.epoch > 0)
        there["stages"], asked["stages"] = there["stages"][:begun], asked["stages"][:begun]
        for key in sorted(set(there) | set(asked)):
            if asked.get(key) != there.get(key):
                raise RefusedError(
                    f"{self.folder} holds a run with another recipe: {key} is {there.get(key)!r} there, "
                    f"{asked.get(key)!r} now. Continue it with the same options, or name another --checkpoints folder."
                )

    def _ready(self, stage: int) -> StageRun:
        """The network of a stage with its state, built when the stage begins or is resumed."""
        if self._live and self._live.index == stage:
            return self._live
        before = self._live
        self._live = None
        try:
            live = StageRun(self.recipe, stage, self._teachers, self._strategy)
        except ValueError as error:
            raise RefusedError(f"{error}; choose another --batch") from error
        if self._resumed:
            if self._resumed.epoch > 0:
                live.load(self._resumed.arrays)
            else:
                live.begin(part(self._resumed.arrays, "weights/"))
            self._resumed = None
        elif before:
            live.begin(before.weight_arrays())
        elif self._start is not None:
            try:
                live.begin(self._start)
            except ValueError as error:
                raise RefusedError(f"the weights to start from do not fit the recipe's network: {error}") from error
        self._live = live
        return live

    def _train_epoch(self, step: Step | None) -> EpochRecord:
        stage = self.recipe.stages[self.stage]
        live = self._ready(self.stage)
        started = time.monotonic()
        data = self.training
        votes = np.zeros((len(data), len(VOTES)), np.float32) if data.votes is None else data.votes
        seed = [self.recipe.seed, self.stage, self.epoch]
        stream = EpochStream(
            data.images,
            size=stage.input_size,
            batch=stage.batch,
            how=self.recipe.augmentation,
            seed=seed,
            labels=data.labels,
            alignments=data.alignments,
        )
        blending = np.random.default_rng([*seed, 1])
        count = len(stream)
        rate = 0.0
        with stream:
            for index, batch in enumerate(stream):
                rate = learning_rate(stage, self.epoch * count + index, stage.epochs * count)
                mixed = mix(batch.images, self._targets(batch.rows), votes[batch.rows], stage.mixup, blending)
                live.step(mixed.images, mixed.targets, mixed.votes, rate)
                if (self.epoch * count + index + 1) % self.recipe.ema_every == 0:
                    live.update_average()
                if step:
                    step(index + 1, count)
        loss, label_loss, accuracy = live.read_meters(count)
        logits = live.evaluate(self.validation.images)
        record = EpochRecord(
            stage=self.stage,
            epoch=self.epoch,
            depths=" ".join(map(str, stage.depths)),
            input_size=stage.input_size,
            images_seen=self.images_seen + count * stage.batch,
            rate=rate,
            loss=loss,
            label_loss=label_loss,
            accuracy=accuracy,
            valid_accuracy=float((logits.argmax(axis=1) == self.validation.labels).mean()),
            valid_loss=log_loss(logits, self.validation.labels),
            seconds=time.monotonic() - started,
        )
        self._keep_best(record, live)
        self.history.append(record)
        self.epoch += 1
        if self.epoch == stage.epochs or self._out_of_patience():
            self.stage, self.epoch = self.stage + 1, 0
        return record

    def _targets(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """What the labels of some pictures ask for: smoothed, and weighted by class."""
        smoothing = self.recipe.label_smoothing
        labels = self.training.labels[rows]
        targets = np.full((len(rows), len(EMOTIONS)), smoothing / len(EMOTIONS), np.float32)
        targets[np.arange(len(rows)), labels] += 1 - smoothing
        return targets * self._weights[labels, None]

    def _keep_best(self, record: EpochRecord, live: StageRun) -> None:
        """Remembers the weights of the best epoch so far. The last depth alone counts: it is what is exported."""
        final = self.recipe.stages[record.stage].depths == self.recipe.stages[-1].depths
        if self.recipe.keep != "best" or not final:
            return
        rivals = [past.valid_accuracy for past in self.history if past.depths == record.depths]
        if not rivals or record.valid_accuracy > max(rivals):
            self._best = live.average.arrays()

    def _out_of_patience(self) -> bool:
        """Whether this stage's validation loss has not fallen for as many epochs as the recipe waits."""
        if not self.recipe.patience:
            return False
        losses = [record.valid_loss for record in self.history if record.stage == self.stage]
        return len(losses) - 1 - int(np.argmin(losses)) >= self.recipe.patience

    def _save(self, live: StageRun, folder: Path) -> None:
        arrays = live.state()
        if self._best is not None:
            arrays |= {f"best/{name}": value for name, value in self._best.items()}
        progress = {"history": [asdict(record) for record in self.history]}
        checkpoint.save(checkpoint.Checkpoint(self.stage, self.epoch, self.recipe.options(), progress, arrays), folder)
        write_history(self.history, folder)


def strategy() -> tf.distribute.Strategy:
    """All GPUs if there are several, otherwise the one device that TensorFlow prefers."""
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def class_weights(labels: npt.NDArray[np.int64], power: float) -> npt.NDArray[np.float32]:
    """How much a picture of each class counts, (7,): its class's share to the power of minus ``power``.

    Scaled so that the pictures' mean weight is 1; 0 weighs all alike, 1 every class alike.
    """
    counts = np.bincount(labels, minlength=len(EMOTIONS)).astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -power, 0.0)
    scaled: npt.NDArray[np.float32] = (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
    return scaled
