r"""CSV, and TSV with a JSON sidecar, for spreadsheets and statistics packages.

Both are UTF-8 with a line feed after each row, and every row is one line. Numbers have a fixed number of decimals.
Missing cells are empty in CSV and ``n/a`` in TSV, as BIDS asks (Brain Imaging Data Structure 1.10, "Tabular files").

Text comes from file names and tables that somebody else wrote, and a spreadsheet runs a cell that begins with ``=`` as
a formula. So a text whose first character, spaces left aside, is one of ``= + - @ '`` (or a full-width form of these)
gets an apostrophe before it; to undo it, remove one apostrophe from the beginning. Control characters are written as
``\n``, ``\t`` or ``\xNN``; in TSV, which knows no quotes, a tab cannot stand otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from fer_batch.store import atomic_write
from reports.export.columns import Column

Dialect = Literal["csv", "tsv"]

_SEPARATOR: Final = {"csv": ",", "tsv": "\t"}
_MISSING: Final = {"csv": "", "tsv": "n/a"}

_DANGEROUS: Final = re.compile(r"\s*[=+\-@'\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet may run, or that looks as if it had been changed for that."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def write_text(path: Path, columns: Sequence[Column], stream: Iterator[pa.Table], dialect: Dialect) -> int:
    """Write a table row by row, atomically.

    Returns:
        The number of rows below the first line.

    Raises:
        StoppedError: the disk is full or the folder cannot be written.
    """
    count = 0
    with atomic_write(path) as file:
        file.write(_line([cell(column.name, dialect) for column in columns], dialect))
        for table in stream:
            file.write(_rendered(table, columns, dialect))
            count += table.num_rows
    return count


def write_sidecar(path: Path, columns: Sequence[Column], tool: str) -> None:
    """Write what the columns of a TSV mean as JSON, in BIDS' words; `tool` says with what they were measured."""
    described: dict[str, Any] = {column.name: _described(column) for column in columns}
    described["MeasurementToolMetadata"] = {"Description": tool}
    with atomic_write(path) as file:
        file.write(json.dumps(described, indent=2, ensure_ascii=False).encode() + b"\n")


def cell(text: str, dialect: Dialect) -> str:
    """A text as it stands in a file of this kind."""
    text = _CONTROL.sub(lambda match: _SHORT.get(match[0]) or _escaped(match[0]), text)
    if _DANGEROUS.match(text):
        text = f"'{text}"
    if dialect == "csv" and re.search('[",]|^ | $', text):
        text = '"' + text.replace('"', '""') + '"'
    return text


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _line(cells: Sequence[str], dialect: Dialect) -> bytes:
    return (_SEPARATOR[dialect].join(cells) + "\n").encode()


def _rendered(table: pa.Table, columns: Sequence[Column], dialect: Dialect) -> bytes:
    """Rows as lines."""
    if not table.num_rows:
        return b""
    arrays = [_cells(table[column.name].combine_chunks(), column, dialect) for column in columns]
    lines = pc.binary_join_element_wise(
        *arrays, _SEPARATOR[dialect], null_handling="replace", null_replacement=_MISSING[dialect]
    )
    return ("\n".join(lines.to_pylist()) + "\n").encode()


def _cells(array: pa.Array, column: Column, dialect: Dialect) -> pa.Array:
    """The cells of a column as text; null where they are missing."""
    if pa.types.is_string(column.kind):
        coded = array.dictionary_encode()
        words = pa.array([cell(word, dialect) for word in coded.dictionary.to_pylist()], pa.string())
        return words.take(coded.indices)
    if pa.types.is_floating(column.kind):
        values = array.cast(pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
        # Arrow rounds to the nearest decimal.
        return values.cast(pa.decimal128(30, column.decimals), safe=False).cast(pa.string())
    return array.cast(pa.string())


def _described(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"LongName": column.long_name, "Description": column.description}
    if column.unit:
        entry["Units"] = column.unit
    if column.decimals is not None:
        entry["Decimals"] = column.decimals
    if column.levels:
        entry["Levels"] = dict(column.levels)
    elif pa.types.is_boolean(column.kind):
        entry["Levels"] = {"true": "yes", "false": "no"}
    return entry
