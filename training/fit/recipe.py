"""Every hyperparameter of a training run, in one place."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Final

from fer_batch.architecture import Architecture, Family

CHOICES: Final = {
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "optimiser": ("adamw", "muon"),
    "keep": ("last", "best"),
}
"""What the recipe's words may be."""


@dataclass(frozen=True)
class Augmentation:
    """How a picture is varied each time it is shown. Ranges are symmetric about 'unchanged' and drawn uniformly."""

    flip: float = 0.5  # probability of a mirror image
    rotation: float = 12.0  # degrees to either side
    scale: float = 0.12  # enlarged or shrunk by up to this share: covers the detector's own scatter
    shift: float = 0.07  # share of the picture's side, in x and y
    contrast: float = 0.3  # contrast multiplied by 1 -/+ this
    brightness: float = 25.0  # grey values added or taken away
    erase: float = 0.0  # probability that a rectangle is replaced by a flat grey; pays when the network overfits
    erase_area: tuple[float, float] = (0.02, 0.12)  # its share of the picture
    aligned: float = 0.5  # share of the pictures laid at the crop template first, as the engine cuts its crops
    detail: float = 0.7  # fine detail multiplied by e^-this to e^this: crops from video are duller or sharper
    balance: float = 0.0  # 0: each picture once an epoch; 1: every class equally often


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one depth and one picture size, with its own learning-rate schedule."""

    depths: tuple[int, int, int, int]
    input_size: int  # pixels; the 48 px pictures are enlarged to it
    epochs: int
    peak: float  # learning rate after the warm-up
    final: float  # learning rate at the stage's end, reached along a half cosine
    warmup_steps: int = 300  # linear from zero; also steadies the network after it was grown
    batch: int = 64
    auxiliary_weight: float = 0.7  # weight of the loss on FER+ votes; without votes it does not count
    teacher_weight: float = 0.0  # share of the main loss that goes to the teachers' answers instead of the labels, 0..1
    mixup: float = 0.0  # both parameters of the Beta distribution of MixUp (Zhang et al. 2018); 0 mixes nothing
    unfrozen: int | None = None  # how many of the backbone's last layers learn; None is all, 0 the head alone


@dataclass(frozen=True)
class Recipe:
    """A whole run: every hyperparameter there is. :mod:`training.fit.presets` has the ones to start from."""

    stages: tuple[Stage, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    family: Family = "resnet"  # see Architecture, as for the five below
    width: int = 64
    stem: str = "imagenet"
    se: bool = False
    head_units: int = 256
    dropout: float = 0.3
    mean: float = 129.5  # grey value subtracted from the pixels; about the training images' mean
    scale: float = 65.0  # about their standard deviation
    weights: str = "none"  # what the first stage begins with: none, imagenet, or the sha256 of what was given
    teachers: tuple[str, ...] = ()  # names of the models whose answers are learnt beside the labels
    teacher_temperature: float = 2.0  # softens both answers before they are compared (Hinton et al. 2015)
    optimiser: str = "muon"  # or adamw; see training.fit.optimiser
    momentum: float = 0.95  # of Muon
    weight_decay: float = 0.03  # on kernels alone, not on gains and offsets
    beta1: float = 0.9  # of AdamW, which Muon uses for what is no convolution
    beta2: float = 0.999
    label_smoothing: float = 0.1
    class_weight: float = 0.0  # a picture counts by (its class's share)^-this: 0 alike, 1 every class alike
    ema_decay: float = 0.998  # of the moving average of the weights, which is what is evaluated and exported
    ema_every: int = 4  # steps between its updates
    patience: int = 0  # epochs without a lower validation loss after which a stage ends early; 0 never
    keep: str = "last"  # which epoch's averaged weights are the result: the last, or the best by validation accuracy
    seed: int = 20130
    precision: str = "mixed_bfloat16"  # or float32, mixed_float16

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {', '.join(allowed)}, not {getattr(self, name)!r}")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if any(a < b for a, b in zip(after.depths, before.depths, strict=True)):
                raise ValueError(f"a network can be grown, not shrunk: {before.depths} to {after.depths}")
            if self.family == "vgg" and before.depths != after.depths:
                raise ValueError("only a ResNet can be grown: a new convolution of a VGG is no identity")

    def architecture(self, stage: int = -1) -> Architecture:
        """The network that a stage trains; by default the last one."""
        return Architecture(
            depths=self.stages[stage].depths,
            family=self.family,
            width=self.width,
            stem=self.stem,
            se=self.se,
            head_units=self.head_units,
            dropout=self.dropout,
        )

    def options(self) -> dict[str, Any]:
        """The recipe as JSON can hold it, for checkpoints and model cards."""
        return dataclasses.asdict(self)


def learning_rate(stage: Stage, step: int, total: int) -> float:
    """The rate at a step of a stage of ``total`` steps: linear warm-up, then half a cosine to the final value."""
    warmup = min(stage.warmup_steps, total // 2)
    if step < warmup:
        return stage.peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return stage.final + (stage.peak - stage.final) * 0.5 * (1 + math.cos(math.pi * share))


def spread_epochs(stages: tuple[Stage, ...], total: int) -> tuple[Stage, ...]:
    """The stages with ``total`` epochs between them, each one's share about what it was.

    With fewer epochs than stages only the last stages remain, so that the network still reaches its full depth.
    """
    if total < len(stages):
        return tuple(dataclasses.replace(stage, epochs=1) for stage in stages[-total:])
    before = sum(stage.epochs for stage in stages)
    shares = [max(1, round(total * stage.epochs / before)) for stage in stages]
    while (extra := sum(shares) - total) != 0:
        # Rounding errors go to the largest stage, where they matter least.
        shares[shares.index(max(shares))] -= 1 if extra > 0 else -1
    return tuple(dataclasses.replace(stage, epochs=share) for stage, share in zip(stages, shares, strict=True))
