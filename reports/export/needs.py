"""Packages that few exports need: imported when they are used, and asked for by name when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fer_batch.errors import RefusedError


def need(module: str, what_for: str) -> ModuleType:
    """Import a module of the extra ``export``.

    Raises:
        RefusedError: it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise RefusedError(
            f"{what_for} needs the package {error.name}, which is not installed: pip install 'fer-batch[export]'"
        ) from error
