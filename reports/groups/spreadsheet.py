"""Reads a table of text as spreadsheets save it: Excel's encodings and separators, rows numbered as it shows them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer_batch.errors import RefusedError

SEPARATORS: Final = (",", ";", "\t")
"""Excel separates by semicolons where the comma is the decimal mark, and its "Unicode text" has tabs."""

LARGEST_BYTES: Final = 200_000_000
"""A larger file is no table that somebody filled in."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        path: the file.
        encoding, separator: as found.
        columns: names in the header, in small letters and without blanks about them.
        rows: the row's number as a spreadsheet shows it (the header is row 1), and its cells by column, stripped.
            Empty rows are left out.
    """

    path: Path
    encoding: str
    separator: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_sheet(path: Path, known: Collection[str]) -> Sheet:
    """Read a table.

    Args:
        path: CSV or TSV in UTF-8, UTF-16 or Windows-1252.
        known: names of columns; the separator that finds most of them in the header is the table's.

    Raises:
        RefusedError: it is no such table, has two columns of one name, or a row has more cells than the header.
    """
    encoding, text = _decoded(path)
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # Excel's own hint, not shown as a row
        text = rest
    separator = max(SEPARATORS, key=lambda mark: _known_columns(text, mark, known))
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise RefusedError(f"{path}: is no table ({error}); save it as CSV or TSV from a spreadsheet") from error
    if not records:
        raise RefusedError(f"{path}: the table is empty; its first row must name the columns")
    columns = tuple(cell.strip().lower() for cell in records[0])
    while columns and not columns[-1]:
        columns = columns[:-1]
    for name in columns:
        if columns.count(name) > 1:
            raise RefusedError(f"{path}: row 1: two columns are named {name!r}; keep one, or give the other a name")
    rows = []
    for number, record in enumerate(records[1:], 2):
        cells = [cell.strip() for cell in record]
        if any(cells[len(columns) :]):
            raise RefusedError(
                f"{path}: row {number} has {len(cells)} cells for {len(columns)} columns: the cell "
                f"{next(filter(None, cells[len(columns) :]))!r} is under none. Put cells that hold a {separator!r} "
                "in double quotes"
            )
        if any(cells):
            cells += [""] * (len(columns) - len(cells))
            rows.append((number, dict(zip(columns, cells, strict=False))))
    return Sheet(path, encoding, separator, columns, tuple(rows))


def _known_columns(text: str, separator: str, known: Collection[str]) -> int:
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    return len({cell.strip().lower() for cell in header} & set(known))


def _decoded(path: Path) -> tuple[str, str]:
    """The encoding, and the text."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise RefusedError(f"{path}: is larger than {LARGEST_BYTES / 1e6:.0f} MB; is it the table?")
        data = path.read_bytes()
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV or TSV file") from error
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise RefusedError(f"{path}: is an Excel workbook; save it as 'CSV UTF-8' and give that file")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    for name in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return name, text
    raise RefusedError(f"{path}: is no text in UTF-8, UTF-16 or Windows-1252; save it as 'CSV UTF-8'")
