"""``fer-batch train``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_batch.errors import RefusedError
from training.commands.evaluate import show, show_int8
from training.commands.options import TRAINING, VALIDATION, read_data

if TYPE_CHECKING:
    from fer_batch.bundle import ModelBundle
    from training.data.faces import FaceSet
    from training.fit.recipe import Recipe


def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="FER2013 with the splits Training and PublicTest: the CSV, plain or .gz, or a folder of pictures "
            "(train/angry, test/angry and so on)."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the model bundle to; not needed with --explore.")
    ] = None,
    explore: Annotated[
        Path | None,
        typer.Option(
            metavar="PAGE",
            help="Write a page about the data (classes, samples, blank pictures, copies); train nothing.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="scratch: ResNet50 from random weights, grown in depth and picture size. transfer: ResNet50 from "
            "ImageNet's weights at 224 px, the head first, then the last 50 layers. compact: a small VGG for CPUs."
        ),
    ] = "scratch",
    ferplus: Annotated[
        Path | None,
        typer.Option(
            help="FER+ votes for the same rows, a cleaner second target.", show_default="fer2013new.csv beside DATA"
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to learn from besides the labels: a bundle's folder, or the name of one that ships. Several: "
            "their mean."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What to begin with: none, imagenet (Keras downloads them), a bundle's folder, or a weights file of "
            "Keras' ResNet50 without its top. The preset decides by default."
        ),
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
    se: Annotated[
        bool, typer.Option("--se", help="Add squeeze-and-excitation attention at the end of each stage.")
    ] = False,
    input_size: Annotated[
        int | None, typer.Option(min=32, max=512, help="Side of the pictures in pixels, the same in every stage.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Pictures a training step.")] = None,
    mixup: Annotated[
        float | None, typer.Option(min=0, help="Parameter of MixUp's Beta distribution, such as 0.2; 0 mixes nothing.")
    ] = None,
    erase: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of pictures of which a rectangle is covered.")
    ] = None,
    class_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="0 weighs every picture alike, 1 every class; between them, by a power."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Epochs without a lower validation loss that end a stage early; 0 never.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="mixed_bfloat16, float32 (faster on CPUs without bfloat16 units) or mixed_float16."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every random choice.")] = None,
    name: Annotated[str | None, typer.Option(help="Short name of the model; PRESET-fer2013 by default.")] = None,
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Put an int8 model, which CPUs run, into the bundle too.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model bundle that is there.")] = False,
) -> None:
    """Train a model on FER2013 and write a model bundle.

    Takes hours without a GPU. It may be stopped at any time: the same command goes on from the last epoch.
    """
    from training.fit.presets import adapted

    recipe = adapted(
        preset,
        epochs=epochs,
        stage={"depths": _depths(depths), "input_size": input_size, "batch": batch, "mixup": mixup},
        augmentation={"erase": erase},
        whole={
            "width": width, "se": se or None, "precision": precision, "seed": seed, "weights": weights,
            "class_weight": class_weight, "patience": patience,
        },
    )  # fmt: skip
    if out is None and explore is None:
        raise RefusedError("nothing to do: give --out FOLDER to train, or --explore PAGE to look at the data")
    if out is not None and out.exists() and not overwrite:
        raise RefusedError(f"--out {out} exists already; name another folder or add --overwrite")

    from fer_batch.bundle import ModelBundle
    from training.data.faces import split_named

    teachers = [ModelBundle.load(each) for each in teacher or ()]
    splits = read_data(data, ferplus, checkpoints / "cache")
    _describe(splits, data, explore)
    if out is None:
        return
    training, validation = (split_named(splits, split, data) for split in (TRAINING, VALIDATION))
    _run(recipe, teachers, training, validation, checkpoints, out, name or f"{preset}-fer2013", int8, overwrite)


def _describe(splits: Mapping[str, FaceSet], data: Path, page: Path | None) -> None:
    """Says what the data are, on a page too where one is asked for."""
    from training.data.report import DataReport

    if page is None:
        report = DataReport.of(splits, str(data))
    else:
        from training.data.explore import explore as write

        report = write(splits, page, source=str(data))
    for line in report.lines():
        _say(line)
    if page is not None:
        _say(f"data page: {page}")


def _run(
    recipe: Recipe,
    teachers: Sequence[ModelBundle],
    training: FaceSet,
    validation: FaceSet,
    checkpoints: Path,
    out: Path,
    name: str,
    int8: bool,
    overwrite: bool,
) -> None:
    """Trains and exports."""
    from dataclasses import replace

    from rich.console import Console

    from fer_batch.network import load_keras

    load_keras()  # before anything else imports TensorFlow, so that its messages stay off the screen
    from training.data.faces import SIDE
    from training.data.landmarks import alignments, find_landmarks
    from training.data.template import landmark_template
    from training.export.bundle import export_bundle
    from training.export.card import Origin
    from training.fit.display import TrainingDisplay
    from training.fit.start import load_start
    from training.fit.train import Trainer

    start = load_start(recipe.weights, mean=recipe.mean)
    recipe = replace(recipe, weights=start.name, teachers=tuple(bundle.name for bundle in teachers))
    _say(f"finding the faces in {len(training)} pictures, or reading where they were found before")
    landmarks = find_landmarks(training.images, cache=checkpoints / "cache")
    template = landmark_template(landmarks)
    training = replace(training, alignments=alignments(landmarks, template, SIDE))
    trainer = Trainer(recipe, training, validation, checkpoints, start=start.weights, teachers=teachers)
    _say(f"{len(training) - trainer.blank} pictures to learn from ({trainer.blank} blank ones left out)")
    if trainer.history:
        _say(f"going on from {checkpoints}, epochs done: {len(trainer.history)}")
    try:
        with TrainingDisplay(recipe, trainer.history, Console(stderr=True)) as display:
            weights = trainer.run(report=display.epoch, step=display.step)
    except KeyboardInterrupt:
        _say(f"stopped, epochs done: {len(trainer.history)}; the same command goes on from there")
        raise
    origin = Origin(
        name=name,
        title=f"{name}: apparent expression from a face crop",
        data="FER2013",
        pictures=len(training) - trainer.blank,
        blank=trainer.blank,
        votes=training.votes is not None,
        images_seen=trainer.images_seen,
        hours=round(trainer.seconds / 3600, 2),
        teachers=tuple(bundle.name for bundle in teachers),
        initial="" if start.weights is None else recipe.weights,
        selection=(
            "The epoch with the best accuracy on PublicTest."
            if recipe.keep == "best"
            else "The last epoch's averaged weights."
        ),
    )
    bundle, evaluation = export_bundle(
        out,
        weights,
        recipe=recipe,
        input_size=recipe.stages[-1].input_size,
        validation=validation,
        training=training,
        template=template,
        origin=origin,
        history=trainer.history,
        int8=int8,
        overwrite=overwrite,
    )
    show(evaluation, bundle.name, VALIDATION)
    if int8:
        show_int8(bundle.figures_in("int8"), len(bundle.int8_content()))
    _say(f"model bundle: {out}")


def _depths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise RefusedError(f"--depths {text}: give four numbers such as 3,4,6,3") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
