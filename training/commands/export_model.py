"""``fer-batch export-model``. What takes seconds to import is imported when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_batch.errors import RefusedError
from training.commands.options import TRAINING, VALIDATION, read_data

if TYPE_CHECKING:
    from fer_batch.bundle import ModelBundle


def export_model(
    out: Annotated[
        Path | None,
        typer.Argument(help="File to write: .keras, .h5 (Keras' older format) or .tflite (int8). None: --add-int8."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Name of a model that ships (compact, resnet50) or a bundle's folder.", show_default="compact"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="FER2013, whose Training split calibrates int8; --add-int8 measures on its PublicTest."),
    ] = None,
    add_int8: Annotated[
        bool,
        typer.Option("--add-int8", help="Put an int8 model, which CPUs run, into the bundle itself; `train` does so."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write a model for other programs; they need no fer-batch to load it.

    It takes pixels from 0 to 255 (float32; uint8 for .tflite) of an aligned face crop and returns seven calibrated
    probabilities. FILE.json beside it names labels, template and limits.
    """
    from fer_batch.bundle import ModelBundle
    from training.export.portable import check_target
    from training.export.portable import export_model as export

    if (out is None) != add_int8:
        raise RefusedError("name one file to write, or give --add-int8 to put an int8 model into the bundle itself")
    if out is not None:
        check_target(out, overwrite=overwrite)
    bundle = ModelBundle.load(model)
    if out is None:
        _add_int8(bundle, data)
        return
    training = None
    if out.suffix == ".tflite":
        if data is None:
            raise RefusedError(f"{out}: int8 is calibrated on training faces; give FER2013 by --data")
        from training.data.faces import read_fer2013, split_named

        training = split_named(read_fer2013(data), TRAINING, data)
    for path in export(bundle, out, training=training, overwrite=overwrite):
        print(path)


def _add_int8(bundle: ModelBundle, data: Path | None) -> None:
    if data is None:
        raise RefusedError("int8 is calibrated on training faces and measured on others; give FER2013 by --data")
    if bundle.channels != 1:
        raise RefusedError(f"model {bundle.name} takes colour; FER2013 is grey, so its loss cannot be measured on it")
    from fer_batch.precision import too_much
    from training.commands.evaluate import show_int8
    from training.data.faces import split_named
    from training.export.bundle import add_int8

    splits = read_data(data)
    training, validation = (split_named(splits, split, data) for split in (TRAINING, VALIDATION))
    written = add_int8(bundle, training, validation)
    show_int8(written.figures_in("int8"), len(written.int8_content()))
    print(f"model bundle: {written.path}")
    for reason in too_much(written):
        print(f"not the default on a CPU: {reason}")
