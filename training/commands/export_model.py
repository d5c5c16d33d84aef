"""``fer-batch export-model``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_batch.errors import RefusedError
from training.commands.options import TRAINING


def export_model(
    out: Annotated[Path, typer.Argument(help="File to write: .keras, .h5 (Keras' older format) or .tflite (int8).")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Name of a model that ships (compact, resnet50) or a bundle's folder.", show_default="compact"
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="FER2013 with its Training split, whose faces calibrate a .tflite.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a model for other programs; they need no fer-batch to load it.

    It takes pixels from 0 to 255 (float32; uint8 for .tflite) of an aligned face crop and returns seven calibrated
    probabilities. FILE.json beside it names labels, template and limits.
    """
    from fer_batch.bundle import ModelBundle
    from training.export.portable import check_target
    from training.export.portable import export_model as export

    check_target(out, overwrite=overwrite)
    bundle = ModelBundle.load(model)
    training = None
    if out.suffix == ".tflite":
        if data is None:
            raise RefusedError(f"{out}: int8 is calibrated on training faces; give FER2013 by --data")
        from training.data.faces import read_fer2013, split_named

        training = split_named(read_fer2013(data), TRAINING, data)
    for path in export(bundle, out, training=training, overwrite=overwrite):
        print(path)
