"""fer-batch: which expressions the faces in recorded video show, when, and how sure that is.

>>> import fer_batch                                          # doctest: +SKIP
>>> run = fer_batch.run("recordings/", out="results")         # doctest: +SKIP
>>> run.faces().to_pandas()                                   # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_batch.errors import BundleError, FerBatchError, RefusedError, StoppedError, VideoError

if TYPE_CHECKING:
    from fer_batch.api import run
    from fer_batch.bundle import ModelBundle
    from fer_batch.config import Detection, Resources, RunConfig, Sampling, Tracking
    from fer_batch.store import Run

__all__ = [
    "BundleError",
    "Detection",
    "FerBatchError",
    "ModelBundle",
    "RefusedError",
    "Resources",
    "Run",
    "RunConfig",
    "Sampling",
    "StoppedError",
    "Tracking",
    "VideoError",
    "run",
]

_HOMES = {
    "run": "api",
    "ModelBundle": "bundle",
    "Detection": "config",
    "Resources": "config",
    "RunConfig": "config",
    "Sampling": "config",
    "Tracking": "config",
    "Run": "store",
}


def __dir__() -> list[str]:
    """Names for completion, those that are not imported yet among them."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import on first use: `import fer_batch` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fer_batch' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fer_batch.{_HOMES[name]}"), name)
