"""What an earlier export into the same folder has written: a list beside its files, so that none is left over.

A file that this export would no longer write, such as the ELAN file of a video that has left the run, would pass for
part of it. Only files on the list are removed: what people put beside them stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from fer_batch.errors import StoppedError
from fer_batch.store import atomic_write

LIST: Final = "export.json"
"""Holds the names of the files that exports have written into the folder."""

_OURS: Final = re.compile(r"(elan/)?[^/\\]+\.(csv|tsv|json|sav|eaf)")


def listed(out: Path) -> list[str]:
    """Names that the list holds, relative to the folder; none where it has no list that can be read."""
    try:
        names = json.loads((out / LIST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    kept = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [name for name in kept if _OURS.fullmatch(name) and ".." not in PurePosixPath(name).parts]


def tidy(out: Path, written: Sequence[str]) -> list[str]:
    """Remove what earlier exports left of the kinds of files that this one has written, and write the list anew.

    Args:
        out: the folder.
        written: names of this export's files.

    Returns:
        The names that were removed.

    Raises:
        StoppedError: a file cannot be removed, or the list not be written.
    """
    kinds = {PurePosixPath(name).suffix for name in written}
    before = [name for name in listed(out) if name not in written and name != LIST]
    gone = [name for name in before if PurePosixPath(name).suffix in kinds]
    for name in gone:
        try:
            (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise StoppedError(f"cannot remove {out / name} of an earlier export: {error.strerror}") from error
    names = [*(name for name in before if name not in gone), *written]
    with atomic_write(out / LIST) as file:
        file.write(json.dumps({"files": names}, indent=1, ensure_ascii=True).encode())
    return gone
