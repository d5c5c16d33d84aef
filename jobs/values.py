"""Values as people type them on the command line: times, rates and sizes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import typer

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {f"{name[0]}I{name[1]}": 1024 ** (i + 1) for i, name in enumerate(("KB", "MB", "GB", "TB"))}


def milliseconds(text: str) -> int:
    """``90``, ``90.5``, ``1:30`` or ``1:02:03.5`` as milliseconds."""
    parts = text.split(":")
    try:
        numbers = [Decimal(part) for part in parts]
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is no time; give seconds or [h:]m:s, such as 90.5 or 1:30") from error
    if len(parts) > 3 or any(not n.is_finite() or n < 0 for n in numbers) or any(n >= 60 for n in numbers[1:]):
        raise typer.BadParameter(f"{text!r} is no time; give seconds or [h:]m:s, such as 90.5 or 1:30")
    seconds = Decimal(0)
    for number in numbers:
        seconds = seconds * 60 + number
    return int(seconds * 1000)


def rate(text: str) -> Fraction:
    """``2``, ``0.5`` or ``30000/1001`` as an exact rate."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise typer.BadParameter(f"{text!r} is no rate; give samples a second, such as 2, 0.5 or 1/10") from error


def size(text: str) -> int:
    """``4GB``, ``512 MiB`` or a number of bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise typer.BadParameter(f"{text!r} is no size; give a number with a unit, such as 4GB or 512MiB")
    return int(Decimal(match[1]) * unit)


def clock(ms: int | None) -> str:
    """Milliseconds as ``m:ss`` or ``h:mm:ss``."""
    if ms is None:
        return "-"
    seconds = ms // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
