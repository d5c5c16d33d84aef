"""A tiny model bundle with random weights: everything about it is real but its judgement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.bundle import ModelBundle, write_bundle

ARCHITECTURE = Architecture(depths=(1, 1, 1, 1), width=8, head_units=16)

TEMPLATE = np.array([[0.30, 0.39], [0.68, 0.39], [0.49, 0.58], [0.34, 0.74], [0.65, 0.75]], np.float32)


def write_tiny_bundle(path: Path, seed: int = 0, input_size: int = 48) -> ModelBundle:
    """Write a bundle that scores in well under a millisecond a face; another seed makes another model."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(ARCHITECTURE).items():
        kind = name.rsplit("/", 1)[1]
        if kind in ("gamma", "moving_variance"):
            weights[name] = np.ones(shape, np.float32)
        elif kind == "kernel":
            fan_in = max(1, int(np.prod(shape[:-1])))
            weights[name] = random.normal(0, 1.6 / np.sqrt(fan_in), shape).astype(np.float32)
        else:
            weights[name] = np.zeros(shape, np.float32)
    return write_bundle(
        path,
        name="tiny",
        architecture=ARCHITECTURE,
        input_size=input_size,
        channels=1,
        mean=127.5,
        scale=64.0,
        template=TEMPLATE,
        temperature=1.0,
        weights=weights,
        card="A tiny random model for tests.",
    )
