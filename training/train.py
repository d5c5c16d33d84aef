"""The training loop: stages of a recipe, a checkpoint after every epoch, the same result with or without a stop."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fer_batch.errors import RefusedError
from training import checkpoint
from training.augment import EpochStream
from training.data import VOTES, FaceSet
from training.growth import Weights
from training.metrics import log_loss
from training.recipe import Recipe, learning_rate
from training.stage import FERPLUS, StageRun, part


@dataclass(frozen=True)
class EpochRecord:
    """One row of the history: what an epoch cost and brought. Losses are means over the epoch."""

    stage: int
    epoch: int
    depths: str
    input_size: int
    images_seen: int
    rate: float
    loss: float
    label_loss: float
    accuracy: float  # on the augmented training pictures, raw weights
    valid_accuracy: float  # averaged weights
    valid_loss: float
    seconds: float


class Trainer:
    """Trains by a recipe.

    Args:
        recipe: all hyperparameters.
        training: pictures to learn from; blank ones are left out.
        validation: pictures that the history's validation columns are about; they decide nothing here.
        folder: where checkpoint and history are kept; None keeps neither.

    Raises:
        RefusedError: the folder holds a run with another recipe.
    """

    def __init__(self, recipe: Recipe, training: FaceSet, validation: FaceSet, folder: Path | None = None) -> None:
        self.recipe, self.validation, self.folder = recipe, validation, folder
        blank = training.blank()
        self.training = training.take(~blank) if blank.any() else training
        self.blank = int(blank.sum())
        self.images_seen, self.seconds = 0, 0.0
        self.stage, self.epoch = 0, 0
        self._live: StageRun | None = None
        self._resumed: checkpoint.Checkpoint | None = checkpoint.load(folder) if folder else None
        if self._resumed:
            self._check_recipe(self._resumed)
            self.stage, self.epoch = self._resumed.stage, self._resumed.epoch
            self.images_seen = int(self._resumed.progress["images_seen"])
            self.seconds = float(self._resumed.progress["seconds"])

    @property
    def done(self) -> bool:
        """Whether all stages are complete."""
        return self.stage >= len(self.recipe.stages)

    def run(self, *, epochs: int | None = None, report: Callable[[EpochRecord], None] | None = None) -> Weights:
        """Trains to the recipe's end, or for so many epochs at most.

        Returns:
            The averaged weights by name, without the auxiliary output.
        """
        left = math.inf if epochs is None else epochs
        while not self.done and left > 0:
            record = self._train_epoch()
            left -= 1
            if self.folder and self._live:
                self._save(record, self._live, self.folder)
            if report:
                report(record)
        return self.weights()

    def weights(self) -> Weights:
        """The averaged weights by name, without the auxiliary output."""
        if self.done and self._resumed:
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
        for key, value in there.items():
            if asked.get(key) != value:
                raise RefusedError(
                    f"{self.folder} holds a run with another recipe: {key} is {value!r} there, {asked.get(key)!r} now. "
                    "Continue it with the same options, or name another folder."
                )

    def _ready(self, stage: int) -> StageRun:
        """The network of a stage with its state, built when the stage begins or is resumed."""
        if self._live and self._live.index == stage:
            return self._live
        before = self._live
        self._live = None
        live = StageRun(self.recipe, stage)
        if self._resumed:
            if self._resumed.epoch > 0:
                live.load(self._resumed.arrays)
            else:
                live.begin(part(self._resumed.arrays, "weights/"))
            self._resumed = None
        elif before:
            live.begin(before.weight_arrays())
        self._live = live
        return live

    def _train_epoch(self) -> EpochRecord:
        stage = self.recipe.stages[self.stage]
        live = self._ready(self.stage)
        started = time.monotonic()
        data = self.training
        votes = np.zeros((len(data), len(VOTES)), np.float32) if data.votes is None else data.votes
        stream = EpochStream(
            data.images,
            size=stage.input_size,
            batch=stage.batch,
            how=self.recipe.augmentation,
            seed=[self.recipe.seed, self.stage, self.epoch],
        )
        total = stage.epochs * len(stream)
        step = self.epoch * len(stream)
        rate = 0.0
        with stream:
            for batch in stream:
                rate = learning_rate(stage, step, total)
                live.step(batch.images, data.labels[batch.rows], votes[batch.rows], rate)
                step += 1
                if step % self.recipe.ema_every == 0:
                    live.average.update()
        count = len(stream)
        self.images_seen += count * stage.batch
        loss, label_loss, accuracy = live.read_meters(count)
        logits = live.evaluate(self.validation.images)
        seconds = time.monotonic() - started
        self.seconds += seconds
        record = EpochRecord(
            stage=self.stage,
            epoch=self.epoch,
            depths=" ".join(map(str, stage.depths)),
            input_size=stage.input_size,
            images_seen=self.images_seen,
            rate=rate,
            loss=loss,
            label_loss=label_loss,
            accuracy=accuracy,
            valid_accuracy=float((logits.argmax(axis=1) == self.validation.labels).mean()),
            valid_loss=log_loss(logits, self.validation.labels),
            seconds=seconds,
        )
        self.epoch += 1
        if self.epoch == stage.epochs:
            self.stage, self.epoch = self.stage + 1, 0
        return record

    def _save(self, record: EpochRecord, live: StageRun, folder: Path) -> None:
        progress = {"images_seen": self.images_seen, "seconds": self.seconds}
        state = checkpoint.Checkpoint(self.stage, self.epoch, self.recipe.options(), progress, live.state())
        checkpoint.save(state, folder)
        history = folder / "history.csv"
        fresh = not history.exists()
        with history.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(record)))
            if fresh:
                writer.writeheader()
            writer.writerow(asdict(record))
