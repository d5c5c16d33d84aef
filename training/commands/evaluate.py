"""``fer-batch evaluate``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fer_batch.errors import RefusedError
from training.commands.options import VALIDATION, read_data

if TYPE_CHECKING:
    from rich.console import Console

    from fer_batch.bundle import ModelBundle
    from training.data.faces import FaceSet
    from training.evaluation.evaluate import Evaluation


def evaluate(
    data: Annotated[
        Path, typer.Option(help="FER2013 as CSV, plain or .gz, or as a folder; the named split alone is enough.")
    ],
    split: Annotated[str, typer.Option(help="Training, PublicTest or PrivateTest.")] = VALIDATION,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Name of a model that ships (compact, resnet50) or a bundle's folder.", show_default="compact"
        ),
    ] = None,
    ferplus: Annotated[
        Path | None,
        typer.Option(
            help="FER+ votes for the same rows: agreement with the annotators too.",
            show_default="fer2013new.csv beside --data",
        ),
    ] = None,
    tta: Annotated[
        Literal["none", "flip", "crops", "flip+crops"],
        typer.Option(help="Average over views of each picture: its mirror image, five crops, or all ten."),
    ] = "none",
    precision: Annotated[
        Literal["float32", "int8"],
        typer.Option(help="int8 also scores the model's int8 part, which a CPU runs, and measures the loss."),
    ] = "float32",
    in_video: Annotated[
        bool,
        typer.Option("--in-video", help="Also paste the faces into a video, find them there and measure the loss."),
    ] = False,
    page: Annotated[Path | None, typer.Option(help="HTML file to write: curves, tables, worst mistakes.")] = None,
    history: Annotated[
        Path | None,
        typer.Option(help="Training history for the page's curves (CSV or Parquet) or the folder that holds it."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="TensorFlow's threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
) -> None:
    """Score a model on labelled pictures: accuracy, F1, calibration, each class; all with 95 % intervals."""
    from fer_batch.bundle import ModelBundle
    from fer_batch.precision import choose
    from training.data.faces import split_named

    if history is not None and page is None:
        raise RefusedError("--history is drawn on the page; add --page FILE.html")
    bundle = ModelBundle.load(model)
    if bundle.channels != 1:
        raise RefusedError(f"model {bundle.name} takes colour; FER2013 is grey, so it cannot be evaluated on it")
    if precision == "int8":
        choose(precision, bundle, on_gpu=False)
    pictures = split_named(read_data(data, ferplus), split, data)
    curves = None
    if page is not None:
        from training.evaluation.curves import find_history

        curves = find_history(bundle, history)
    evaluation, told = _evaluated(bundle, pictures, split, tta, precision, threads)
    if in_video:
        from training.evaluation.in_video import in_video as watch

        told["in_video"] = [each.figures() for each in watch(bundle, pictures, evaluation.probabilities)]
    if page is not None:
        from training.evaluation.page import write_evaluation_page

        write_evaluation_page(page, evaluation, told, pictures, curves)
    if as_json:
        print(json.dumps(told))
        return
    show(evaluation, bundle.name, split if tta == "none" else f"{split} with test-time augmentation ({tta})", told)
    if page is not None:
        print(f"page: {page}")


def _evaluated(
    bundle: ModelBundle, pictures: FaceSet, split: str, tta: Any, precision: str, threads: int | None
) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation, and all that is told of it, as JSON can hold it."""
    from training.evaluation.evaluate import evaluate as score

    extra: dict[str, Any] = {}
    if precision == "float32":
        evaluation = score(bundle, pictures, threads=threads, tta=tta)
    else:
        from training.evaluation.precision import compare

        comparison = compare(bundle, pictures, threads=threads, tta=tta)
        evaluation = comparison.plain
        extra["int8"] = comparison.figures()
    if pictures.votes is not None:
        from training.evaluation.agreement import agreement

        extra["ferplus"] = agreement(evaluation.probabilities, evaluation.labels, pictures.votes)
    named = {"model": bundle.name, "sha256": bundle.sha256, "labelling": bundle.labelling, "split": split, "tta": tta}
    return evaluation, {**named, **evaluation.figures(), **extra}


def show(evaluation: Evaluation, model: str, split: str, told: dict[str, Any] | None = None) -> None:
    """The figures as a table for people.

    Args:
        evaluation: what was scored.
        model: its name.
        split: what it was scored on.
        told: the figures with what was added to them (``ferplus``, ``int8``); the evaluation's own by default.
    """
    from rich.console import Console
    from rich.table import Table

    figures = evaluation.figures() if told is None else told
    table = Table(title=f"{model} on {split}, n = {figures['n']}", caption="95 % intervals in brackets")
    for column in ("class", "n", "recall", "precision", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for emotion, entry in figures["classes"].items():
        cells = [_with_interval(entry, name, 2) for name in ("recall", "precision", "f1")]
        table.add_row(emotion, str(entry["n"]), *cells)
    console = Console()
    console.print(table)
    for name, key in (("accuracy", "accuracy"), ("macro F1", "macro_f1"), ("label among the two most probable", "top2"),
                      ("calibration error", "ece"), ("  cross-fitted", "ece_cross_fitted")):  # fmt: skip
        _say(console, f"{name} {_with_interval(figures, key, 3)}")
    _say(console, f"  of a perfectly calibrated model on {figures['n']} pictures {_number(figures['ece_chance'], 3)}")
    if "ferplus" in figures:
        _show_ferplus(console, figures["ferplus"])
    if "int8" in figures:
        show_int8(figures["int8"], figures["int8"]["bytes"])
    for each in figures.get("in_video", ()):
        _show_in_video(console, each)


def _show_ferplus(console: Console, told: dict[str, Any]) -> None:
    left = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in told["excluded"].items() if count)
    _say(console, f"FER+: {told['n']} pictures with a clear majority for one of the seven (without: {left or 'none'})")
    for name, key in (("model and majority agree", "prediction"), ("FER2013's label and majority agree", "label"),
                      ("mean probability of the majority's class", "probability")):  # fmt: skip
        _say(console, f"  {name} {_with_interval(told, key, 3)}")


def show_int8(told: dict[str, Any], size: int) -> None:
    """The figures of an int8 model of `size` bytes, for people."""
    from rich.console import Console

    console = Console()
    difference, ends = told["accuracy_difference"], told["accuracy_difference_95"]
    points, low, high = (f"{100 * value:+.2f}" for value in (difference, *ends))
    _say(console, f"int8 ({size / 1e6:.1f} MB): accuracy {_with_interval(told, 'accuracy', 3)}")
    _say(console, f"  to float32 {points} points [{low}, {high}], same class {_with_interval(told, 'same_class', 3)}")
    rare = told["classes"]["disgust"]
    _say(console, f"  recall of disgust {_with_interval(rare, 'recall', 2)} (n = {rare['n']})")
    if "pictures_per_second" in told:
        speeds = told["pictures_per_second"], told["pictures_per_second_float32"]
        _say(console, f"  {speeds[0]:.0f} pictures a second, float32 {speeds[1]:.0f}")


def _show_in_video(console: Console, told: dict[str, Any]) -> None:
    _say(console, f"in video at {told['side']} px: found {_with_interval(told, 'detection_rate', 3)} of {told['n']}")
    if told["difference"] is None:
        return
    points, low, high = (f"{100 * value:+.2f}" for value in (told["difference"], *told["difference_95"]))
    _say(console, f"  accuracy on those {_with_interval(told, 'accuracy_in_video', 3)}")
    _say(console, f"  to the plain crops {points} points [{low}, {high}]")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _with_interval(entry: dict[str, Any], key: str, digits: int) -> str:
    value, interval = entry[key], entry[f"{key}_95"]
    if value is None or interval is None:
        return _number(value, digits)
    return f"{value:.{digits}f} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
