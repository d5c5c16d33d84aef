"""Which arithmetic a model scores in: what may be asked, and what its own figures allow.

int8 is some times faster on a CPU and starts without TensorFlow. It is taken there unless it costs the model more than
the limits below, on the pictures that it was evaluated on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from fer_batch.bundle import ModelBundle
from fer_batch.config import AskedPrecision, Backend, Resources
from fer_batch.errors import RefusedError
from fer_batch.resources import INT8_ACTOR_BYTES, local_gpus
from fer_batch.score import Precision

MAY_LOSE: Final = {"accuracy": 0.005, "mean recall": 0.01}
"""What int8 may cost against float32 to be the default on a CPU; shares of the pictures, and of each class."""

MAY_LOSE_DISGUST: Final = 3
"""How many pictures of disgust, the rarest class (56 in PublicTest), it may miss that float32 knows."""


def choose(asked: AskedPrecision, bundle: ModelBundle, *, on_gpu: bool) -> tuple[Precision, Backend]:
    """The precision and the backend of a run.

    Args:
        asked: ``auto`` is half precision on a GPU; on a CPU int8, where the bundle has it and it loses little.
        bundle: the model.
        on_gpu: whether it runs on one.

    Raises:
        RefusedError: int8 was asked for, and the bundle has no such model or a GPU would run it.
    """
    if asked == "auto":
        if on_gpu:
            return "mixed_float16", "tensorflow-gpu"
        asked = "float32" if too_much(bundle) else "int8"
    if asked == "int8":
        if on_gpu:
            raise RefusedError("--precision int8 is for CPUs; add --gpus 0, or leave --precision to the machine")
        if bundle.int8 is None:
            raise RefusedError(
                f"model {bundle.name} has no int8 part; make it (fer-batch export-model --add-int8 --model "
                f"{bundle.path} --data fer2013.csv) or ask for --precision float32"
            )
        return "int8", "litert-cpu"
    return asked, "tensorflow-gpu" if on_gpu else "tensorflow-cpu"


def sized(asked: Resources, precision: AskedPrecision, bundle: ModelBundle) -> Resources:
    """The same resources with what the precision asks of them: int8 is for CPUs, and such a model is small.

    Raises:
        RefusedError: as :func:`choose` does.
    """
    if precision == "int8" and asked.gpus is None:
        asked = replace(asked, gpus=0)
    may_have_gpu = asked.gpus != 0 and (asked.address is not None or local_gpus() > 0)
    if may_have_gpu or choose(precision, bundle, on_gpu=False)[0] != "int8":
        return asked
    return replace(asked, actor_bytes=INT8_ACTOR_BYTES)


def too_much(bundle: ModelBundle) -> list[str]:
    """Why int8 is not the default for a model, a reason a line; empty where it is."""
    if bundle.int8 is None:
        return ["the bundle has no int8 model"]
    plain, int8 = _measures(bundle.figures), _measures(bundle.int8.figures)
    if plain is None or int8 is None or any(bundle.figures[key] != bundle.int8.figures[key] for key in ("split", "n")):
        return ["the bundle does not tell what both precisions scored on the same pictures"]
    reasons = [
        f"int8 loses {100 * (plain[name] - int8[name]):.2f} points of {name}; allowed are {100 * limit:g}"
        for name, limit in MAY_LOSE.items()
        if round(plain[name] - int8[name], 4) > limit
    ]
    lost = plain["disgust"] - int8["disgust"]
    if lost > MAY_LOSE_DISGUST:
        reasons.append(f"int8 misses {lost:.0f} more pictures of disgust; allowed are {MAY_LOSE_DISGUST}")
    return reasons


def _measures(figures: Mapping[str, Any]) -> dict[str, float] | None:
    """Accuracy, mean recall and how many pictures of disgust were called so; None where they are not told."""
    try:
        recalls = [float(row["recall"]) for row in figures["classes"].values() if row["n"]]
        disgust = figures["classes"]["disgust"]
        found = {
            "accuracy": float(figures["accuracy"]),
            "mean recall": sum(recalls) / len(recalls),
            "disgust": round((disgust["recall"] or 0) * disgust["n"]),
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None
    return found if all(math.isfinite(value) for value in found.values()) else None
