"""Ends a worker process that makes no progress or takes too much memory: C code cannot be stopped otherwise.

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
from typing import Final

import psutil

from fer_batch.object_path import AnyPath, ObjectPath

STALL_S: Final = 300.0
"""How long a file may bring no packet before its worker is ended, if nothing else is asked for."""

EXIT_CODE: Final = 75
"""Of a process that was ended here."""

NOTE_S: Final = 20.0
"""How long a worker that ends waits for its note to be written: a disk or store that hangs may be the reason."""

MEMORY_EVERY_S: Final = 0.2
"""How often memory is looked at; reading it takes some ten microseconds."""


class _Watch:
    """What the watching thread and the working one share. Plain attributes: each write is atomic under the GIL."""

    def __init__(self) -> None:
        self.last_s = time.monotonic()
        self.subject = ""
        self.waiting = 0


_watch = _Watch()


def beat(subject: AnyPath | str | None = None) -> None:
    """Progress was made.

    Args:
        subject: the file that is worked on from here on; None if it is still the same.
    """
    _watch.last_s = time.monotonic()
    if subject is not None:
        _watch.subject = str(subject)


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
def watched(limit_s: float, notes: AnyPath, memory_bytes: int | None = None) -> Iterator[None]:
    """Inside, this process ends when nothing calls :func:`beat` for so long, or when it uses too much memory.

    Args:
        limit_s: seconds.
        notes: folder for the note that says which file it was; made if need be.
        memory_bytes: the most resident memory, None for any amount.
    """
    beat()
    stop = threading.Event()
    thread = threading.Thread(target=_look, args=(limit_s, notes, memory_bytes, stop), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _write(notes: AnyPath, text: str) -> None:
    name = uuid.uuid4().hex
    if isinstance(notes, ObjectPath):
        (notes / f"{name}.json").write_bytes(text.encode())
        return
    notes.mkdir(parents=True, exist_ok=True)
    draft = notes / f"{name}.part"
    draft.write_text(text)
    draft.rename(draft.with_suffix(".json"))


def ended(notes: AnyPath) -> dict[str, tuple[str, str]]:
    """From the notes: the files that ended a worker, each with the ledger's code and reason."""
    try:
        found = [json.loads(note.read_text()) for note in notes.glob("*.json")]
    except FileNotFoundError:
        return {}
    return {note["path"]: (note["code"], f"{note['reason']}, each time it was tried") for note in found}


def _look(limit_s: float, notes: AnyPath, memory_bytes: int | None, stop: threading.Event) -> None:
    me = psutil.Process()
    while not stop.wait(min(MEMORY_EVERY_S if memory_bytes else 5.0, limit_s / 4)):
        if not _watch.waiting and time.monotonic() - _watch.last_s > limit_s:
            _end(notes, "timed_out", f"no progress for {limit_s:g} s")
        elif memory_bytes and (used := me.memory_info().rss) > memory_bytes:
            _end(notes, "worker_died", f"its worker took {used / 1e9:.1f} GB of memory of {memory_bytes / 1e9:.1f} GB")


def _end(notes: AnyPath, code: str, reason: str) -> None:
    print(f"{_watch.subject!r}: {reason}; this worker ends", file=sys.stderr, flush=True)
    note = {
        "path": os.fsencode(_watch.subject).decode("utf-8", "backslashreplace"),
        "code": code,
        "reason": reason,
    }
    try:
        writing = threading.Thread(target=_write, args=(notes, json.dumps(note)), daemon=True)
        writing.start()
        writing.join(NOTE_S)
    finally:
        os._exit(EXIT_CODE)
