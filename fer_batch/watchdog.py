"""Ends a worker process that makes no progress: a decoder that hangs inside C code cannot be stopped otherwise.

A worker does one thing at a time, so there is one watch a process. Whoever reads packets calls :func:`beat`; what waits
for others (scores, the model) does so :func:`unwatched`. The driver sees a dead worker and, from the note left behind,
why it died.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

STALL_S: Final = 300.0
"""How long a file may bring no packet before its worker is ended, if nothing else is asked for."""

EXIT_CODE: Final = 75
"""Of a process that was ended here."""


class _Watch:
    """What the watching thread and the working one share. Plain attributes: each write is atomic under the GIL."""

    def __init__(self) -> None:
        self.last_s = time.monotonic()
        self.subject = ""
        self.waiting = 0


_watch = _Watch()


def beat(subject: Path | str | None = None) -> None:
    """Progress was made.

    Args:
        subject: the file that is worked on from here on; None if it is still the same.
    """
    _watch.last_s = time.monotonic()
    if subject is not None:
        _watch.subject = os.fspath(subject)


@contextmanager
def unwatched() -> Iterator[None]:
    """Inside, no progress is expected: others are waited for."""
    _watch.waiting += 1
    try:
        yield
    finally:
        _watch.waiting -= 1
        beat()


@contextmanager
def watched(limit_s: float, notes: Path) -> Iterator[None]:
    """Inside, this process ends when nothing calls :func:`beat` for so long.

    Args:
        limit_s: seconds.
        notes: folder for the note that says which file it was; made if need be.
    """
    beat()
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(limit_s, notes, stop), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stalled(notes: Path) -> set[str]:
    """The files that ended a worker, from the notes."""
    try:
        return {json.loads(note.read_text())["path"] for note in notes.glob("*.json")}
    except FileNotFoundError:
        return set()


def _look(limit_s: float, notes: Path, stop: threading.Event) -> None:
    while not stop.wait(min(5.0, limit_s / 4)):
        if not _watch.waiting and time.monotonic() - _watch.last_s > limit_s:
            _end(limit_s, notes)


def _end(limit_s: float, notes: Path) -> None:
    print(f"{_watch.subject!r}: no progress for {limit_s:g} s, this worker ends", file=sys.stderr, flush=True)
    try:
        notes.mkdir(parents=True, exist_ok=True)
        draft = notes / f"{uuid.uuid4().hex}.part"
        draft.write_text(json.dumps({"path": os.fsencode(_watch.subject).decode("utf-8", "backslashreplace")}))
        draft.rename(draft.with_suffix(".json"))
    finally:
        os._exit(EXIT_CODE)
