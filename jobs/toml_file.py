"""TOML files with a declared schema: what is wrong in one is said by file, line, key, value and what is allowed."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from fer_batch.errors import RefusedError

Place = tuple[str | int, ...]
"""Where a value stands: tables, a key, and a position where the value is a list."""


class Table(BaseModel):
    """A table of such a file. Types are not stretched ("2" is no number) and every key must be known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


Schema = TypeVar("Schema", bound=Table)


def key(meaning: str, allowed: str, default: Any = ..., example: str = "", **limits: Any) -> Any:
    """Declare a key.

    Args:
        meaning: for who fills the file in.
        allowed: completes "allowed is ...", in messages and in the files that ``fer-batch init`` writes.
        default: its value where it is absent; without one it must be there.
        example: a value as TOML, for a key whose default cannot be written down.
        limits: pydantic's, such as ``ge``.
    """
    return Field(default, description=meaning, json_schema_extra={"allowed": allowed, "example": example}, **limits)


def allowed(field: FieldInfo) -> str:
    """What :func:`key` said is allowed."""
    return str(cast("dict[str, Any]", field.json_schema_extra or {}).get("allowed", "another value"))


def table_of(field: FieldInfo) -> type[Table] | None:
    """The schema of a key whose value is a table of its own; None for any other key."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Table)), None)


def read_toml(file: Path) -> tuple[str, dict[str, Any]]:
    """A TOML file's text and content.

    Raises:
        RefusedError: it cannot be read, or is no TOML.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RefusedError(f"{file}: cannot be read ({error.strerror}); give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise RefusedError(f"{file}: is not text in UTF-8 ({error.reason}); save it as UTF-8") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RefusedError(f"{file}: is no valid TOML: {error}. Text stands in quotes, lists in [...]") from error


def checked(schema: type[Schema], content: dict[str, Any], file: Path, text: str, under: Place = ()) -> Schema:
    """The content as its schema has it.

    Args:
        schema: of the content.
        content: from :func:`read_toml`, or one of its tables.
        file: for messages.
        text: the file's, to find lines in.
        under: the tables that the content lies in.

    Raises:
        RefusedError: keys are unknown or missing, or values not allowed; all of them are listed.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        lines = list(dict.fromkeys(_problems(schema, error, text, under)))
        several = f"{len(lines)} problems:\n  " if len(lines) > 1 else ""
        raise RefusedError(f"{file}: {several}" + "\n  ".join(lines)) from error


def _problems(schema: type[Table], error: ValidationError, text: str, under: Place) -> Iterator[str]:
    for one in error.errors():
        # Union members and validators add words of their own to the place: only names of the file are kept.
        place, table, field = _followed(schema, one["loc"])
        full = (*under, *place)
        where = located(text, full)
        if one["type"] == "extra_forbidden":
            yield f"{where} is no key of {_table_name(full[:-1])}; {_near(str(place[-1]), table)}"
        elif one["type"] == "missing":
            yield f"{where} is missing; allowed is {allowed(field) if field else 'a table'}"
        else:
            reason = f" ({one['ctx']['error']})" if one["type"] == "value_error" and "ctx" in one else ""
            yield f"{where} is {_shown(one['input'])}{reason}; allowed is {allowed(field) if field else 'a table'}"


def _followed(schema: type[Table], loc: Place) -> tuple[Place, type[Table], FieldInfo | None]:
    """The part of a place that the file has, the table there and its key's declaration."""
    place: Place = ()
    table, field = schema, None
    for step in loc:
        if isinstance(step, int):
            place += (step,)
            continue
        known = table.model_fields.get(step)
        if field is not None and table_of(field) is None:
            break  # inside a value: pydantic's own words
        if known is None:
            return (*place, step), table, None
        place, field = (*place, step), known
        if (below := table_of(known)) is not None:
            table = below
    return place, table, field


def _near(name: str, table: type[Table]) -> str:
    names = list(table.model_fields)
    if found := difflib.get_close_matches(name, names, 1, 0.6):
        return f"did you mean {found[0]}?"
    return f"there are {', '.join(names)}"


def _table_name(place: Place) -> str:
    return f"[{'.'.join(map(str, place))}]" if place else "the file"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def located(text: str, place: Place) -> str:
    """A key with the line on which it stands, or on which its table begins: ``line 7: sampling.fps``."""
    names = [str(step) for step in place if not isinstance(step, int)]
    line = _lines(text).get(tuple(names)) or _lines(text).get(tuple(names[:-1]))
    dotted = ".".join(names) + "".join(f"[{step}]" for step in place if isinstance(step, int))
    return f"line {line}: {dotted}" if line else dotted


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key.

    What only looks like a key, inside a text of several lines, may be found too: nothing rests on a line.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\[\]]+)\]", line):
            table = _names(header[1])
            found.setdefault(table, number)
        elif start := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
            found.setdefault((*table, *_names(start[1])), number)
    return found


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
