"""A training run's state on disk: one file, replaced whole, so that a crash leaves the last complete one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fer_batch.errors import RefusedError

FILE = "last.safetensors"
"""Name of the newest checkpoint in its folder."""


@dataclass(frozen=True)
class Checkpoint:
    """A run between two epochs.

    Attributes:
        stage: index of the stage the next epoch belongs to, or the number of stages when all are done.
        epoch: epochs already done in that stage.
        recipe: the recipe's options.
        progress: what the loop counts (pictures seen, seconds, random state).
        arrays: weights, optimiser and average by name.
    """

    stage: int
    epoch: int
    recipe: dict[str, Any]
    progress: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


def save(checkpoint: Checkpoint, folder: Path, name: str = FILE) -> None:
    """Writes a checkpoint atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {k: getattr(checkpoint, k) for k in ("stage", "epoch", "recipe", "progress")}
    partial = folder / f"{name}.{os.getpid()}.part"
    arrays = {key: np.asarray(value, order="C") for key, value in checkpoint.arrays.items()}
    save_file(arrays, partial, metadata={"about": json.dumps(about)})
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(folder / name)


def load(folder: Path, name: str = FILE) -> Checkpoint | None:
    """The newest checkpoint of a folder, or None where there is none.

    Raises:
        RefusedError: the file is damaged.
    """
    path = folder / name
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            about: Mapping[str, Any] = json.loads(file.metadata()["about"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"{path} is not a checkpoint of this version ({error}); remove it to start anew") from error
    return Checkpoint(about["stage"], about["epoch"], about["recipe"], about["progress"], arrays)
