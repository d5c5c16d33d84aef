"""What each epoch cost and brought, as a table beside the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

CSV: Final = "history.csv"
PARQUET: Final = "history.parquet"


@dataclass(frozen=True)
class EpochRecord:
    """One row of the history. Losses are means over the epoch, in nats; accuracies are shares, 0..1."""

    stage: int
    epoch: int  # within the stage, from 0
    depths: str
    input_size: int
    images_seen: int  # since the run began, repetitions counted
    rate: float  # learning rate at the end
    loss: float  # all parts together, as it was minimised
    label_loss: float
    accuracy: float  # on the augmented training pictures, raw weights
    valid_accuracy: float  # averaged weights, plain pictures
    valid_loss: float
    seconds: float


def write_history(records: Sequence[EpochRecord], folder: Path) -> None:
    """Writes the whole history as CSV and as Parquet, each file replaced at once."""
    table = pa.Table.from_pylist([asdict(record) for record in records])
    for name, write in ((CSV, pyarrow.csv.write_csv), (PARQUET, pyarrow.parquet.write_table)):
        partial = folder / f".{name}.{os.getpid()}.part"
        write(table, partial)
        partial.replace(folder / name)
