"""From trained weights to a model bundle: temperature, crop template, figures, model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_batch.architecture import Architecture
from fer_batch.bundle import ModelBundle, rewrite_bundle, write_bundle
from fer_batch.bundle_folder import Int8Part
from training.data.faces import FaceSet
from training.evaluation.agreement import agreement
from training.evaluation.evaluate import Evaluation, predict
from training.evaluation.metrics import fit_temperature, softmax
from training.export.card import Origin, model_card, provenance
from training.export.int8 import int8_part
from training.fit.history import EpochRecord
from training.fit.recipe import Recipe


def export_bundle(
    path: Path,
    weights: Mapping[str, npt.NDArray[np.float32]],
    *,
    recipe: Recipe,
    input_size: int,
    validation: FaceSet,
    template: npt.NDArray[np.float32],
    origin: Origin,
    architecture: Architecture | None = None,
    training: FaceSet | None = None,
    history: Sequence[EpochRecord] = (),
    split: str = "PublicTest",
    int8: bool = True,
    overwrite: bool = False,
) -> tuple[ModelBundle, Evaluation]:
    """Writes a bundle whose temperature and figures come from a validation split.

    The figures are of the bundle as it will be used: read back from its float16 file and scored by the engine's own
    scorer.

    Args:
        path: folder to write.
        weights: by name, as the trainer returns them.
        recipe: how they were trained.
        input_size: side of the crops the model shall take, in pixels.
        validation: labelled pictures that were not trained on.
        template: (5, 2), from :func:`training.data.template.landmark_template`.
        origin: what the card tells about the training.
        architecture: of the weights; the recipe's last stage by default.
        training: what was trained on; the figures then say how the model does on pictures that are not in it too.
        history: what each epoch brought, for the curves on the evaluation's page.
        split: name of the validation split.
        int8: puts an int8 model into it too, calibrated on `training`.
        overwrite: replaces a bundle that is there already.

    Raises:
        BundleError: the bundle cannot be written.
    """
    architecture = architecture or recipe.architecture()
    common: dict[str, Any] = {
        "name": origin.name,
        "architecture": architecture,
        "input_size": input_size,
        "channels": 1,
        "mean": recipe.mean,
        "scale": recipe.scale,
        "template": template,
        "weights": weights,
    }
    # A first bundle with temperature 1 gives the logits as they will be: from float16 weights, by the same code.
    plain = write_bundle(path, temperature=1.0, card="", overwrite=overwrite, **common)
    logs = np.log(np.maximum(predict(plain, validation), 1e-12))
    temperature = round(fit_temperature(logs, validation.labels), 4)
    evaluation = Evaluation.of(softmax(logs, temperature), validation.labels)
    figures = _measured(evaluation, validation, training, split)
    part = int8_part(plain, training, validation, evaluation, split) if int8 and training is not None else None
    origin = replace(origin, temperature=temperature)
    bundle = write_bundle(
        path,
        temperature=temperature,
        figures=figures,
        training={
            **origin.facts(),
            "recipe": recipe.options(),
            "history": [asdict(record) for record in history],
        },
        provenance=provenance(origin),
        card=model_card(origin, architecture, input_size, _with_int8(figures, part)),
        int8=part,
        overwrite=True,
        **common,
    )
    return bundle, evaluation


def add_int8(bundle: ModelBundle, training: FaceSet, validation: FaceSet, *, split: str = "PublicTest") -> ModelBundle:
    """Puts an int8 model into a bundle that is there, in place of an earlier one, and tells its figures on the card.

    The float model's figures are taken anew, as the difference needs its answers; its weights and its temperature stay.

    Args:
        bundle: the model, for grey pictures.
        training: faces to calibrate with.
        validation: labelled pictures that were not trained on.
        split: their name.

    Raises:
        BundleError: the bundle cannot be written.
    """
    evaluation = Evaluation.of(predict(bundle, validation), validation.labels)
    figures = {**bundle.figures, **_measured(evaluation, validation, training, split)}
    part = int8_part(bundle, training, validation, evaluation, split)
    architecture = Architecture.from_options(bundle.architecture)
    card = model_card(Origin.of(bundle), architecture, bundle.input_size, _with_int8(figures, part))
    return rewrite_bundle(bundle, bundle.path, figures=figures, card=card, int8=part, overwrite=True)


def _measured(evaluation: Evaluation, validation: FaceSet, training: FaceSet | None, split: str) -> dict[str, Any]:
    """The figures of ``model.json``."""
    figures: dict[str, Any] = {"split": split, **evaluation.figures()}
    if validation.votes is not None:
        figures["ferplus"] = agreement(evaluation.probabilities, evaluation.labels, validation.votes)
    if training is not None:
        new = ~validation.copied_from(training)
        fresh = Evaluation.of(evaluation.probabilities[new], evaluation.labels[new]).figures()
        figures["without_copies"] = {key: fresh[key] for key in ("n", "accuracy", "accuracy_95", "macro_f1")}
    return figures


def _with_int8(figures: dict[str, Any], part: tuple[Int8Part, bytes] | None) -> dict[str, Any]:
    """For the card."""
    return figures if part is None else {**figures, "int8": part[0].figures}
