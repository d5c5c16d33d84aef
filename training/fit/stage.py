"""One stage of training: the network, what its steps update, and the steps themselves, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fer_batch.architecture import LOGITS
from fer_batch.network import build_network, named_weights
from training.data.faces import VOTES
from training.fit.augment import resize
from training.fit.growth import Weights, grow
from training.fit.layers import FusedBatchNormalization, MatrixConv2D
from training.fit.optimiser import AdamW, MovingAverage, Muon, Optimiser
from training.fit.recipe import Recipe
from training.fit.teachers import Teachers

Floats = npt.NDArray[np.float32]

FERPLUS: Final = "ferplus"
"""Name of the auxiliary output that learns the annotators' votes; not part of what is exported."""

EVALUATION_BATCH: Final = 64
"""Pictures scored at once during training."""


class StageRun:
    """A stage in progress: network, optimiser and moving average.

    Args:
        recipe: the run's hyperparameters.
        index: which of its stages.
        teachers: asked about every batch where the stage gives them weight.
        strategy: over which devices a batch is divided; TensorFlow's default, one device, if None.

    Raises:
        ValueError: a batch cannot be divided equally among the devices.
    """

    def __init__(
        self,
        recipe: Recipe,
        index: int,
        teachers: Teachers | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.recipe, self.index = recipe, index
        self.stage = recipe.stages[index]
        self.teachers = teachers if self.stage.teacher_weight > 0 else None
        self.strategy = strategy or tf.distribute.get_strategy()
        self.replicas = int(self.strategy.num_replicas_in_sync)
        if self.stage.batch % self.replicas:
            raise ValueError(f"a batch of {self.stage.batch} pictures cannot be divided among {self.replicas} devices")
        keras.backend.clear_session(free_memory=True)
        keras.utils.set_random_seed(recipe.seed + index)
        with self.strategy.scope():
            self.network = self._build()
            self._weights = named_weights(self.network)
            self.optimiser = self._optimiser()
            self.average = MovingAverage(self._weights, recipe.ema_decay)
            self._meters = tf.Variable(tf.zeros(3))
        self._step = tf.function(lambda *batch: self.strategy.run(self._train_step, batch), autograph=False)
        self._update = tf.function(lambda: self.strategy.run(self.average.update), autograph=False)
        self._forward = tf.function(lambda pixels: self.network(pixels, training=False)[LOGITS], autograph=False)

    def begin(self, trained: Mapping[str, npt.NDArray[Any]]) -> None:
        """Starts the stage from another one's weights, grown where this network is deeper."""
        self._assign(grow(trained, self.weight_arrays()))
        self.average.restart()

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Goes on in the middle of the stage."""
        self._assign(part(arrays, "weights/"))
        self.optimiser.load(part(arrays, "optimiser/"))
        self.average.load(part(arrays, "average/"))
        for index, variable in enumerate(self._seeds()):
            variable.assign(arrays[f"seeds/{index}"])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that :meth:`load` wants."""
        out: dict[str, npt.NDArray[Any]] = {f"weights/{k}": v for k, v in self.weight_arrays().items()}
        out |= {f"optimiser/{k}": v for k, v in self.optimiser.state().items()}
        out |= {f"average/{k}": v for k, v in self.average.state().items()}
        return out | {f"seeds/{index}": np.asarray(v.numpy()) for index, v in enumerate(self._seeds())}

    def weight_arrays(self) -> Weights:
        """The weights as they are, not averaged."""
        return {name: weight.numpy() for name, weight in self._weights.items()}

    def step(self, images: npt.NDArray[np.uint8], targets: Floats, votes: Floats, rate: float) -> None:
        """One batch: forward, backward, update.

        Args:
            images: (B, S, S, 1) uint8.
            targets: (B, 7) float32, what the labels ask for; rows that sum to more than 1 count for more.
            votes: (B, 10) float32 shares, zero where there are none.
            rate: learning rate.
        """
        divided = [self._divided(values) for values in (images, targets, votes)]
        self._step(*divided, tf.constant(rate, tf.float32))

    def update_average(self) -> None:
        """Lets the moving average follow the weights."""
        self._update()

    def read_meters(self, steps: int) -> tuple[float, float, float]:
        """Mean loss, loss on the labels and accuracy since the last call."""
        each = [part.numpy() for part in self.strategy.experimental_local_results(self._meters)]
        loss, label_loss, accuracy = (float(v) for v in np.mean(each, axis=0) / max(1, steps))
        self._meters.assign(tf.zeros(3))
        return loss, label_loss, accuracy

    def evaluate(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Logits (N, 7) of the averaged weights on plain pictures."""
        raw = self.weight_arrays()
        self._assign(self.average.arrays())
        out = []
        for start in range(0, len(images), EVALUATION_BATCH):
            pixels = resize(images[start : start + EVALUATION_BATCH], self.stage.input_size)
            padded = np.zeros((EVALUATION_BATCH, *pixels.shape[1:]), np.uint8)
            padded[: len(pixels)] = pixels
            out.append(self._forward(tf.constant(padded)).numpy()[: len(pixels)])
        self._assign(raw)
        return np.concatenate(out)

    def _build(self) -> keras.Model:
        """The network, untrained, in the recipe's precision, what shall not learn frozen."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.recipe.precision)
        try:
            network = build_network(
                self.recipe.architecture(self.index),
                input_size=self.stage.input_size,
                mean=self.recipe.mean,
                scale=self.recipe.scale,
                conv=MatrixConv2D,
                batch_norm=FusedBatchNormalization,
                auxiliary={FERPLUS: len(VOTES)},
            )
        finally:
            keras.config.set_dtype_policy(policy)
        freeze(network, self.stage.unfrozen)
        return network

    def _divided(self, values: npt.NDArray[Any]) -> Any:
        """An equal share of a batch's rows for each device."""
        if self.replicas == 1:
            return tf.constant(values)
        parts = np.split(values, self.replicas)
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def _optimiser(self) -> Optimiser:
        recipe = self.recipe
        trainable = {name: weight for name, weight in self._weights.items() if weight.trainable}
        common = {"beta1": recipe.beta1, "beta2": recipe.beta2, "weight_decay": recipe.weight_decay}
        if recipe.optimiser == "adamw":
            return AdamW(trainable, **common)
        precise = recipe.precision != "mixed_bfloat16"
        return Muon(trainable, momentum=recipe.momentum, precise=precise, **common)

    def _train_step(self, images: Any, targets: Any, votes: Any, rate: Any) -> None:
        softness = self.recipe.teacher_temperature
        share = self.stage.teacher_weight if self.teachers else 0.0
        with tf.GradientTape() as tape:
            out = self.network(images, training=True)
            logits = out[LOGITS]
            label_loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
            # Rows without votes are all zero and so contribute nothing.
            vote_loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(votes, out[FERPLUS]))
            loss = (1 - share) * label_loss + self.stage.auxiliary_weight * vote_loss
            if self.teachers:
                answers = self.teachers(images)
                teacher_loss = tf.nn.softmax_cross_entropy_with_logits(answers, logits / softness)
                # The square keeps the gradient's size independent of the softness (Hinton et al. 2015, section 2).
                loss += share * softness**2 * tf.reduce_mean(teacher_loss)
        gradients = tape.gradient(loss, self.optimiser.variables())
        if self.replicas > 1:
            mean = tf.distribute.ReduceOp.MEAN
            gradients = tf.distribute.get_replica_context().all_reduce(mean, gradients)
        self.optimiser.apply(gradients, rate)
        hits = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), tf.argmax(targets, 1)), tf.float32))
        self._meters.assign_add(tf.stack([loss, label_loss, hits]))

    def _assign(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, weight in self._weights.items():
            weight.assign(arrays[name])

    def _seeds(self) -> list[Any]:
        """States of the random generators inside layers (Dropout)."""
        return [v for v in self.network.variables if v.name == "seed_generator_state"]


def freeze(network: keras.Model, unfrozen: int | None) -> None:
    """Lets only the last layers of the backbone learn, and the head behind it.

    A frozen BatchNormalization uses its stored statistics in training too and leaves them as they are.

    Args:
        network: from :func:`fer_batch.network.build_network`.
        unfrozen: how many of the layers before the pooling learn; None means all.
    """
    if unfrozen is None:
        return
    names = [layer.name for layer in network.layers]
    backbone = network.layers[: names.index("avg_pool")]
    for layer in backbone[: max(0, len(backbone) - unfrozen)]:
        layer.trainable = False


def part(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose name begins with a prefix, under what follows it."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
