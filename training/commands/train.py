"""``fer-batch train``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_batch.errors import RefusedError
from training.commands.evaluate import show
from training.commands.options import TRAINING, VALIDATION

if TYPE_CHECKING:
    from training.recipe import Recipe, Stage
    from training.train import EpochRecord


def train(
    data: Annotated[
        Path, typer.Argument(help="FER2013 as CSV, plain or .gz, with the splits Training and PublicTest.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the model bundle to.")],
    ferplus: Annotated[
        Path | None, typer.Option(help="FER+ votes for the same rows (fer2013new.csv); a cleaner second target.")
    ] = None,
    checkpoints: Annotated[
        Path, typer.Option(help="Folder for checkpoint, history and parsed data. The same command continues from it.")
    ] = Path("checkpoints"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs in all, shared among the recipe's stages as it shares its own.")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(help="Residual blocks a stage, such as 1,1,1,1, instead of growing to 3,4,6,3.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels of the first stage; ResNet50 has 64.")] = None,
    input_size: Annotated[
        int | None, typer.Option(min=32, max=512, help="Side of the pictures in pixels, the same in every stage.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Pictures a training step.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="mixed_bfloat16, float32 (faster on CPUs without bfloat16 units) or mixed_float16."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every random choice.")] = None,
    name: Annotated[str, typer.Option(help="Short name of the model.")] = "resnet50-fer2013",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model bundle that is there.")] = False,
) -> None:
    """Train a ResNet50 on FER2013 and write a model bundle.

    Takes hours without a GPU. It may be stopped at any time: the same command goes on from the last epoch.
    """
    recipe = _recipe(epochs, depths, width, input_size, batch, precision, seed)
    if out.exists() and not overwrite:
        raise RefusedError(f"--out {out} exists already; name another folder or add --overwrite")

    from fer_batch.network import load_keras
    from training.card import Origin
    from training.data import read_fer2013, split_named

    splits = read_fer2013(data, ferplus=ferplus, cache=checkpoints / "cache")
    training, validation = (split_named(splits, split, data) for split in (TRAINING, VALIDATION))
    load_keras()
    from training.export import export_bundle
    from training.template import landmark_template
    from training.train import Trainer

    template = landmark_template(training.images, seed=recipe.seed)
    trainer = Trainer(recipe, training, validation, checkpoints)
    _say(f"{len(training) - trainer.blank} pictures to learn from ({trainer.blank} blank ones left out)")
    weights = trainer.run(report=lambda record: _say(_line(record, recipe)))
    origin = Origin(
        name=name,
        title=f"{name}: apparent expression from a face crop",
        data="FER2013",
        pictures=len(training) - trainer.blank,
        blank=trainer.blank,
        votes=training.votes is not None,
        images_seen=trainer.images_seen,
        hours=round(trainer.seconds / 3600, 2),
    )
    bundle, evaluation = export_bundle(
        out,
        weights,
        recipe=recipe,
        input_size=recipe.stages[-1].input_size,
        validation=validation,
        template=template,
        origin=origin,
        overwrite=overwrite,
    )
    show(evaluation, bundle.name, VALIDATION)
    _say(f"model bundle: {out}")


def _recipe(
    epochs: int | None,
    depths: str | None,
    width: int | None,
    input_size: int | None,
    batch: int | None,
    precision: str | None,
    seed: int | None,
) -> Recipe:
    """The standard recipe with what the command line changes."""
    from dataclasses import replace

    from training.recipe import Recipe, spread_epochs

    recipe = Recipe()
    stages = spread_epochs(recipe.stages, epochs) if epochs else recipe.stages
    changes: dict[str, object] = {"input_size": input_size, "batch": batch}
    if depths is not None:
        try:
            changes["depths"] = tuple(int(part) for part in depths.replace(",", " ").split())
        except ValueError as error:
            raise RefusedError(f"--depths {depths}: give four numbers such as 3,4,6,3") from error
    changes = {key: value for key, value in changes.items() if value is not None}
    stages = tuple(replace(stage, **changes) for stage in stages)  # type: ignore[arg-type]
    wider = {"width": width, "precision": precision, "seed": seed}
    try:
        recipe = replace(recipe, stages=stages, **{k: v for k, v in wider.items() if v is not None})  # type: ignore[arg-type]
        recipe.architecture()
    except ValueError as error:
        raise RefusedError(f"{error}; see fer-batch train --help") from error
    return recipe


def _line(record: EpochRecord, recipe: Recipe) -> str:
    """One epoch in words, with the time that is left if pictures go on costing what they cost now."""
    left = sum(_work(stage) for stage in recipe.stages[record.stage + 1 :])
    stage = recipe.stages[record.stage]
    share = _work(stage) / stage.epochs
    left += share * (stage.epochs - record.epoch - 1)
    minutes = left / share * record.seconds / 60
    return (
        f"stage {record.stage + 1}/{len(recipe.stages)} epoch {record.epoch + 1}/{stage.epochs}: "
        f"loss {record.loss:.3f}, validation accuracy {100 * record.valid_accuracy:.1f} %, "
        f"{record.seconds:.0f} s, about {minutes:.0f} min left"
    )


def _work(stage: Stage) -> float:
    """Relative cost of a stage, from measured speeds: proportional to pixels; full depth costs 2.5 shallow ones."""
    return stage.epochs * stage.input_size**2 * (1 + 1.5 * (sum(stage.depths) - 4) / 12)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
