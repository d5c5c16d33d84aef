"""The recipes to start from, and why each number is what it is. EXPERIMENTS.md has what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from fer_batch.errors import RefusedError
from training.fit.recipe import Augmentation, Recipe, Stage, spread_epochs

SHALLOW: Final = (1, 1, 1, 1)
MIDDLE: Final = (2, 2, 2, 2)
RESNET50: Final = (3, 4, 6, 3)

SCRATCH: Final = Recipe(
    # A ResNet50 without pretrained weights. Small pictures and few blocks come first: 48 px doubled to 96 is the
    # smallest size that does not starve a stem which divides by four, but the shallow network sees five times as many
    # pictures a second at 64. Blocks that begin as the identity then bring it to full depth. With teachers, four
    # fifths of the loss compare with their answers, which say more about a picture than its one label; the last stage
    # leans on the labels again.
    stages=(
        Stage(SHALLOW, 64, epochs=10, peak=2e-3, final=1e-3, teacher_weight=0.8),
        Stage(MIDDLE, 80, epochs=6, peak=1.5e-3, final=8e-4, teacher_weight=0.8),
        Stage(RESNET50, 96, epochs=20, peak=1.2e-3, final=2e-4, teacher_weight=0.8),
        Stage(RESNET50, 96, epochs=5, peak=2e-4, final=1e-6, teacher_weight=0.4, auxiliary_weight=0.5),
    ),
)

COMPACT: Final = Recipe(
    # The model for machines without a GPU: a VGG of eight 3x3 convolutions that looks at every pixel of the 48 px
    # picture. 40 px first, as they cost two thirds. The one that ships came from three shorter runs of nearly these
    # numbers, see EXPERIMENTS.md; nineteen epochs are enough for it to begin to overfit, hence the erasing.
    family="vgg",
    width=64,
    head_units=0,  # the pooled features go straight to the classes
    dropout=0.4,
    augmentation=Augmentation(erase=0.2),
    stages=(
        Stage(MIDDLE, 40, epochs=11, peak=3e-3, final=1.6e-3, teacher_weight=0.8),
        Stage(MIDDLE, 48, epochs=8, peak=1.6e-3, final=1e-5, warmup_steps=50, teacher_weight=0.5),
    ),
)

TRANSFER: Final = Recipe(
    # ImageNet's weights, the head first, then the backbone's last 50 layers: the usual way where the weights can be
    # had. In layers that do not learn, BatchNormalization keeps ImageNet's statistics, in training too: batches of
    # faces must not wash them out. In the layers that learn, it learns and follows the batches.
    weights="imagenet",
    mean=117.4,  # mean of the three channel means that the weights were made with; see training.fit.start
    scale=1.0,
    head_units=256,
    dropout=0.5,
    stages=(
        # Only 0.5 million weights learn here, so the rate may be high.
        Stage(RESNET50, 224, epochs=10, peak=1e-3, final=1e-4, warmup_steps=100, batch=32, unfrozen=0),
        # A tenth of it, so that what ImageNet taught is bent and not broken.
        Stage(RESNET50, 224, epochs=20, peak=1e-4, final=1e-6, warmup_steps=300, batch=32, unfrozen=50),
    ),
    augmentation=Augmentation(rotation=10.0, scale=0.1, shift=0.05, contrast=0.2, brightness=15.0),
    optimiser="adamw",  # Muon moves every direction alike, which is not wanted of weights that are good already
    weight_decay=0.01,
    ema_decay=0.99,  # the head alone settles within an epoch
    patience=5,
    keep="best",
)

PRESETS: Final = {"scratch": SCRATCH, "compact": COMPACT, "transfer": TRANSFER}
"""By the name that ``fer-batch train --preset`` takes."""


def adapted(
    preset: str,
    *,
    epochs: int | None = None,
    stage: dict[str, Any] | None = None,
    augmentation: dict[str, Any] | None = None,
    whole: dict[str, Any] | None = None,
) -> Recipe:
    """A preset's recipe with what the command line changes; None changes nothing.

    Args:
        preset: its name.
        epochs: in all.
        stage: fields of every stage.
        augmentation: fields of the augmentation.
        whole: fields of the recipe.

    Raises:
        RefusedError: there is no such preset, or a value is out of range.
    """
    if preset not in PRESETS:
        raise RefusedError(f"--preset {preset}: there are {', '.join(PRESETS)}")
    recipe = PRESETS[preset]
    stages = spread_epochs(recipe.stages, epochs) if epochs else recipe.stages
    changes = _given(stage)
    try:
        recipe = replace(
            recipe,
            stages=tuple(replace(each, **changes) for each in stages),
            augmentation=replace(recipe.augmentation, **_given(augmentation)),
            **_given(whole),
        )
        recipe.architecture()
    except ValueError as error:
        raise RefusedError(f"{error}; see fer-batch train --help") from error
    return recipe


def _given(values: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if value is not None}
