"""SPSS files (.sav): variable and value labels, measurement levels, missing values. Written by pyreadstat.

pyreadstat takes a whole table at once, so a long table is written as several files of :data:`PIECE_ROWS` rows with the
same variables, ``faces-001.sav``, ``faces-002.sav`` ...; in SPSS, ADD FILES joins them, after ALTER TYPE where texts
differ in width (a text variable is as wide as its longest text in the file).
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from fer_batch.errors import StoppedError
from reports.export.columns import Column
from reports.export.needs import need
from reports.export.tables import regrouped

if TYPE_CHECKING:
    import pandas as pd

PIECE_ROWS: Final = 250_000
"""Rows of a file at most; of faces so many take about half a GB of memory."""

MISSING_CODE: Final = 99
"""The code, declared as missing, of a missing cell whose meaning is known: an emotion where there is no face."""

_NAME_BYTES, _LABEL_BYTES, _VALUE_LABEL_BYTES = 64, 256, 120

_RESERVED: Final = frozenset(("ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"))


def need_pyreadstat() -> None:
    """
    Raises:
        RefusedError: pyreadstat is not installed.
    """  # fmt: skip
    need("pyreadstat", "--format sav")


def sav_names(stem: str, rows: int) -> list[str]:
    """The names of the files that a table of so many rows is written to."""
    pieces = max(1, math.ceil(rows / PIECE_ROWS))
    return [f"{stem}.sav"] if pieces == 1 else [f"{stem}-{piece + 1:03}.sav" for piece in range(pieces)]


def write_sav(paths: Sequence[Path], columns: Sequence[Column], stream: Iterator[pa.Table], about: str) -> None:
    """Write a table, each file atomically.

    Args:
        paths: where to, as many files as :func:`sav_names` names.
        columns: what the table holds.
        stream: its rows.
        about: a line on their origin, for the files' notes.

    Raises:
        RefusedError: pyreadstat is not installed.
        StoppedError: a file cannot be written, or there are more or fewer rows than these files are for.
    """
    pieces = iter(regrouped(stream, PIECE_ROWS))
    for path in paths:
        piece = next(pieces, None)
        if piece is None and len(paths) > 1:
            raise StoppedError(f"{path}: there are fewer rows than the ledger says; export again")
        _write(path, _empty(columns) if piece is None else piece, columns, about)
    if next(pieces, None) is not None:
        raise StoppedError(f"{paths[-1]}: there are more rows than the ledger says; export again")


def _write(path: Path, table: pa.Table, columns: Sequence[Column], about: str) -> None:
    pyreadstat = need("pyreadstat", "--format sav")
    names = spss_names(column.name for column in columns)
    coded = {column.name: column for column in columns if column.levels or pa.types.is_boolean(column.kind)}
    frame = _frame(table, columns, names)
    try:
        # pyreadstat writes where it is told to: a folder beside the file, so that renaming is a matter of a moment.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
            made = Path(temporary) / path.name
            pyreadstat.write_sav(
                frame,
                made,
                file_label=_cut(f"fer-batch: {path.stem}", _NAME_BYTES),
                column_labels={names[column.name]: _label(column) for column in columns},
                row_compress=True,
                note=textwrap.wrap(about, 80),
                variable_value_labels={names[name]: _value_labels(column) for name, column in coded.items()},
                missing_ranges={names[name]: [MISSING_CODE] for name, column in coded.items() if column.missing},
                variable_measure={names[column.name]: _measure(column) for column in columns},
                variable_format={
                    names[column.name]: _format(column) for column in columns if not pa.types.is_string(column.kind)
                }
                | {names[name]: "F2.0" for name in coded},
            )
            with open(made, "rb") as file:
                os.fsync(file.fileno())
            os.replace(made, path)
    except (OSError, pyreadstat.PyreadstatError) as error:
        raise StoppedError(f"cannot write {path}: {error}. Make room or choose another --out.") from error


def spss_names(names: Iterable[str]) -> dict[str, str]:
    """For each name one that SPSS accepts: letters, digits and underscores, up to 64 bytes, unique whatever the case.

    What is cut or changed to the same name is numbered, ``_2``, ``_3`` ...; the label keeps the name in full. Rules:
    IBM SPSS Statistics, Command Syntax Reference, "Variable Names".
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w]+", "_", name).strip("_")
        if not plain or not plain[0].isalpha() or plain.upper() in _RESERVED:
            plain = f"v_{plain}"
        found, number = _cut(plain, _NAME_BYTES).rstrip("_"), 1
        while found.casefold() in taken:
            number += 1
            found = _cut(plain, _NAME_BYTES - len(f"_{number}")).rstrip("_") + f"_{number}"
        taken.add(found.casefold())
        given[name] = found
    return given


def _cut(text: str, most: int) -> str:
    """The text's beginning, in at most so many bytes of UTF-8."""
    return text.encode()[:most].decode("utf-8", "ignore")


def _label(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    return _cut(f"{column.long_name}{unit}", _LABEL_BYTES)


def _value_labels(column: Column) -> dict[int | float, str]:
    if pa.types.is_boolean(column.kind):
        return {0: "no", 1: "yes"}
    labels: dict[int | float, str] = {
        code: _cut(value, _VALUE_LABEL_BYTES) for code, (value, _) in enumerate(column.levels)
    }
    return labels | ({MISSING_CODE: _cut(column.missing, _VALUE_LABEL_BYTES)} if column.missing else {})


def _measure(column: Column) -> str:
    is_name = pa.types.is_string(column.kind) or pa.types.is_boolean(column.kind) or column.levels
    return "nominal" if is_name or column.name.endswith(("_id", "_index")) else "scale"


def _format(column: Column) -> str:
    return f"F12.{column.decimals}" if column.decimals is not None else "F12.0"


def _frame(table: pa.Table, columns: Sequence[Column], names: dict[str, str]) -> pd.DataFrame:
    """The rows with closed vocabularies as codes; NaN, SPSS' system-missing value, and empty text where missing."""
    import numpy as np
    import pandas as pd

    made: dict[str, Any] = {}
    for column in columns:
        values = table[column.name].combine_chunks()
        if column.levels:
            codes = {value: code for code, (value, _) in enumerate(column.levels)}
            missing: float = MISSING_CODE if column.missing else math.nan
            made[names[column.name]] = np.array(
                [missing if v is None else codes[v] for v in values.to_pylist()], dtype=np.float64
            )
        elif pa.types.is_string(column.kind):
            # Equal texts are one object in memory. A null in a text is a C string's end to SPSS.
            kept = values.fill_null("").dictionary_encode()
            words = np.array([*(word.replace("\0", "") for word in kept.dictionary.to_pylist()), ""], dtype=object)
            made[names[column.name]] = pd.Series(words[kept.indices.to_numpy()], dtype=object)
        else:
            # What is true is 1; what is missing becomes NaN.
            plain = values.cast(pa.int8()) if pa.types.is_boolean(column.kind) else values
            made[names[column.name]] = np.asarray(plain.to_numpy(zero_copy_only=False), dtype=np.float64)
    return pd.DataFrame(made)


def _empty(columns: Sequence[Column]) -> pa.Table:
    return pa.schema([(column.name, column.kind) for column in columns]).empty_table()
