"""A table's columns as arrays, and means over their rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_batch.schema import PROBABILITIES

Floats = NDArray[np.float64]


def column(table: pa.Table, name: str) -> Floats:
    """Shape (rows,); NaN for null."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def probabilities(table: pa.Table) -> Floats:
    """Shape (rows, 7); NaN where there is no face."""
    return np.stack([column(table, name) for name in PROBABILITIES], axis=1)


def weighted(values: Floats, weights: Floats) -> Floats:
    """Mean over the rows. Samples that stand for no time at all count alike."""
    if weights.sum() <= 0:
        weights = np.ones_like(weights)
    return np.asarray(np.average(values, axis=0, weights=weights))


def with_probabilities(table: pa.Table, values: Floats) -> pa.Table:
    """The table with its seven probabilities replaced; NaN becomes null."""
    for index, name in enumerate(PROBABILITIES):
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, pa.array(values[:, index].astype(np.float32), from_pandas=True))
    return table
