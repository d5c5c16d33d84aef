"""Reads what human coders wrote: CSV files from the coding page, or filled in by hand in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS
from reports.validation.key import Key

CANNOT_TELL: Final = "cannot_tell"
NO_FACE: Final = "no_face"
ANSWERS: Final = (*EMOTIONS, CANNOT_TELL, NO_FACE)
"""What a coder may say of a face; an answer's position is its number in :class:`Codes`."""

_RESERVED: Final = ("model", "majority")
_MOST_COMPLAINTS: Final = 8


@dataclass(frozen=True)
class Codes:
    """What each coder said of each face.

    Attributes:
        coders: their names, sorted.
        answers: int8 (coders, faces of the key), positions in :data:`ANSWERS`; -1 where a face was not coded.
    """

    coders: tuple[str, ...]
    answers: NDArray[np.int8]


@dataclass(frozen=True)
class Line:
    """One answer as it stands in a file; `code` may be empty."""

    file: Path
    number: int
    item: str
    code: str
    coder: str


def read_lines(files: Sequence[Path]) -> list[Line]:
    """The lines of codes files: columns `item` and `code`, perhaps `coder`, separated by commas, semicolons or tabs.

    Without a column `coder`, or where it is empty, the coder is the file's name, ``codes-`` left out.

    Raises:
        RefusedError: a file cannot be read or is no such table.
    """
    lines: list[Line] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise RefusedError(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise RefusedError(f"{file} is not UTF-8 text; save it as 'CSV UTF-8'") from error
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        try:
            first, *body = [(rows.line_num, [cell.strip() for cell in row]) for row in rows] or [(0, [])]
        except csv.Error as error:
            raise RefusedError(f"{file}, line {rows.line_num}, is no CSV ({error})") from error
        header = [name.lower() for name in first[1]]
        if "item" not in header or "code" not in header:
            raise RefusedError(f"{file} needs the columns item and code in its first line, which has: {header}")
        default = file.stem.removeprefix("codes-") or file.stem
        for number, row in body:
            cells = dict(zip(header, row, strict=False))
            if any(cells.values()):
                coder = cells.get("coder") or default
                lines.append(Line(file, number, cells.get("item", ""), cells.get("code", ""), coder))
    return lines


def gather(lines: Sequence[Line], key: Key) -> Codes:
    """The answers of all coders to the faces of a key.

    Raises:
        RefusedError: an item is unknown, a code is none, a coder answered twice to one item, or there is no answer.
    """
    place = {item: position for position, item in enumerate(key.faces["item"].to_pylist())}
    number = {answer: position for position, answer in enumerate(ANSWERS)}
    given: dict[str, dict[int, int]] = {}
    seen: dict[tuple[str, str], Line] = {}
    complaints: list[str] = []
    for line in lines:
        where = f"{line.file}, line {line.number}"
        code = line.code.lower().replace(" ", "_")
        first = seen.setdefault((line.coder, line.item), line)
        if line.coder in _RESERVED:
            complaints.append(f"{where}: a coder cannot be called {line.coder!r}; choose another name")
        elif line.item not in place:
            complaints.append(f"{where}: item {line.item!r} is not in sample {key.sample_id}")
        elif first is not line:
            complaints.append(
                f"{where}: {line.coder!r} has coded {line.item} already ({first.file}, line {first.number})"
            )
        elif code and code not in number:
            complaints.append(f"{where}: code {line.code!r} is none of {', '.join(ANSWERS)}")
        elif code:
            given.setdefault(line.coder, {})[place[line.item]] = number[code]
    if complaints:
        more = [f"and {len(complaints) - _MOST_COMPLAINTS} more"] if len(complaints) > _MOST_COMPLAINTS else []
        raise RefusedError("the codes cannot be used:\n  " + "\n  ".join(complaints[:_MOST_COMPLAINTS] + more))
    if not given:
        raise RefusedError("no face has a code yet; fill in the column code, or code on the page, then try again")
    answers = np.full((len(given), len(place)), -1, np.int8)
    coders = tuple(sorted(given))
    for row, coder in enumerate(coders):
        answers[row, list(given[coder])] = list(given[coder].values())
    return Codes(coders, answers)


def _delimiter(text: str) -> str:
    """What separates the columns; spreadsheets of some countries write semicolons."""
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)
