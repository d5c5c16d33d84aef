"""``fer-batch evaluate``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.options import VALIDATION

if TYPE_CHECKING:
    from training.evaluate import Evaluation


def evaluate(
    data: Annotated[Path, typer.Option(help="FER2013 as CSV, plain or .gz; the named split alone is enough.")],
    split: Annotated[str, typer.Option(help="Training, PublicTest or PrivateTest.")] = VALIDATION,
    model: Annotated[Path | None, typer.Option(help="Folder of a model bundle; by default the one that ships.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="TensorFlow's threads; all cores by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
) -> None:
    """Score a model on labelled pictures: accuracy, macro F1, calibration, and each class, with intervals."""
    from fer_batch.bundle import ModelBundle
    from training.data import read_fer2013, split_named

    bundle = ModelBundle.load(model)
    pictures = split_named(read_fer2013(data), split, data)
    from training.evaluate import evaluate as score

    evaluation = score(bundle, pictures, threads=threads)
    if as_json:
        print(json.dumps({"model": bundle.name, "sha256": bundle.sha256, "split": split, **evaluation.figures()}))
    else:
        show(evaluation, bundle.name, split)


def show(evaluation: Evaluation, model: str, split: str) -> None:
    """The figures as a table for people."""
    from rich.console import Console
    from rich.table import Table

    figures = evaluation.figures()
    table = Table(title=f"{model} on {split}, n = {figures['n']}", caption="95 % intervals in brackets")
    for column in ("class", "n", "recall", "precision", "F1"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for emotion, entry in figures["classes"].items():
        low, high = entry["recall_95"]
        recall = f"{_number(entry['recall'])} [{low:.2f}, {high:.2f}]"
        table.add_row(emotion, str(entry["n"]), recall, _number(entry["precision"]), _number(entry["f1"]))
    low, high = figures["accuracy_95"]
    console = Console()
    console.print(table)
    console.print(f"accuracy {figures['accuracy']:.4f} [{low:.4f}, {high:.4f}]", highlight=False, markup=False)
    low, high = figures["macro_f1_95"]
    console.print(f"macro F1 {_number(figures['macro_f1'])} [{low:.3f}, {high:.3f}]", highlight=False, markup=False)
    console.print(
        f"calibration error {figures['ece']:.4f} ({_number(figures['ece_cross_fitted'])} cross-fitted)", highlight=False
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
