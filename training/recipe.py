"""Every hyperparameter of a training run, in one place."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from fer_batch.architecture import Architecture, Family


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


@dataclass(frozen=True)
class Recipe:
    """A whole run. The defaults make the model that ships: a ResNet50 from scratch on a machine without a GPU.

    Small pictures come first, then larger ones: 48 px doubled to 96 is the smallest size that does not starve a stem
    which divides by four. The shallow network sees several times as many pictures a second; blocks that begin as the
    identity then bring it to full depth. EXPERIMENTS.md has what each stage cost and brought.
    """

    stages: tuple[Stage, ...] = (
        Stage(depths=(1, 1, 1, 1), input_size=64, epochs=10, peak=1.2e-3, final=8e-4),
        Stage(depths=(1, 1, 1, 1), input_size=96, epochs=6, peak=8e-4, final=5e-4),
        Stage(depths=(2, 2, 2, 2), input_size=96, epochs=4, peak=6e-4, final=3.5e-4),
        Stage(depths=(3, 4, 6, 3), input_size=96, epochs=4, peak=3.5e-4, final=1e-6, auxiliary_weight=0.5),
    )
    augmentation: Augmentation = field(default_factory=Augmentation)
    family: Family = "resnet"  # see Architecture
    width: int = 64  # channels of the first stage
    stem: str = "imagenet"  # see Architecture
    se: bool = False  # squeeze-and-excitation
    head_units: int = 256
    dropout: float = 0.3
    mean: float = 129.5  # grey value subtracted from the pixels; about the training images' mean
    scale: float = 65.0  # about their standard deviation
    weight_decay: float = 0.03  # of AdamW; on kernels alone, not on gains and offsets
    beta1: float = 0.9
    beta2: float = 0.999
    label_smoothing: float = 0.1
    ema_decay: float = 0.998  # of the moving average of the weights, which is what is evaluated and exported
    ema_every: int = 4  # steps between its updates
    seed: int = 20130
    precision: str = "mixed_bfloat16"  # or float32, mixed_float16

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        if self.precision not in ("float32", "mixed_bfloat16", "mixed_float16"):
            raise ValueError(f"precision must be float32, mixed_bfloat16 or mixed_float16, not {self.precision!r}")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if any(a < b for a, b in zip(after.depths, before.depths, strict=True)):
                raise ValueError(f"a network can be grown, not shrunk: {before.depths} to {after.depths}")

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
