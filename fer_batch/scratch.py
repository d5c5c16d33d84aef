"""The private temporary folders of an embedded Ray: only this user can read them, and they are gone at the end."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fer_batch.errors import StoppedError
from fer_batch.lease import process_start

log = logging.getLogger("fer_batch")

MAX_PATH = 28
"""Longest path of a temporary folder that leaves room for Ray's socket names: Linux allows 107 bytes in all."""

PREFIX = "fer-"
"""How the folders' names begin."""

OWNER = "owner.json"
"""Says in each folder which process it belongs to."""

_NOISE = (":job_id:", ":actor_name:", ":task_name:")


SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes the folder in it private
"""Files here lie in memory, never on a disk; macOS has no such folder."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make the folder; at the end copy what processes printed there (TensorFlow, FFmpeg) to the log and remove it.

    What processes that were killed left behind is removed first.

    Raises:
        StoppedError: the disk for temporary files is full or may not be written.
    """
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= MAX_PATH else "/tmp"  # noqa: S108 - mkdtemp makes the folder itself private
    with private_folder(Path(parent)) as private:
        folder = private / "r"  # Ray opens its own folder to everybody
        folder.mkdir()
        try:
            yield folder
        finally:
            for file in sorted(folder.glob("session_2*/logs/worker-*.err")):
                lines = file.read_text(errors="replace").splitlines()
                said = [line for line in lines if not line.startswith(_NOISE)]
                if any(said):
                    log.debug("%s\n%s", file.name, "\n".join(said))


@contextmanager
def overflow_folder() -> Iterator[Path | None]:
    """A private folder in memory for what Ray's object store has no room for.

    With spilling off a full store goes on in files of the session's folder, on a disk; crops must not. None where there
    is no such memory.

    Raises:
        StoppedError: it is full.
    """
    if not SHARED_MEMORY.is_dir():
        yield None
        return
    with private_folder(SHARED_MEMORY) as private:
        folder = private / "r"
        folder.mkdir()
        yield folder


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that only this user can read, and that is gone at the end; first those that were left go.

    Raises:
        StoppedError: the disk is full or may not be written.
    """
    _sweep(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        (folder / OWNER).write_text(json.dumps({"pid": os.getpid(), "process_started": process_start(os.getpid())}))
    except OSError as error:
        raise StoppedError(
            f"cannot make a temporary folder in {parent}: {error.strerror}; make room there, or set TMPDIR to another "
            f"folder, of at most {MAX_PATH} letters"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a process of Ray's may still write its last line


def _sweep(parent: Path) -> None:
    """Removes the folders of processes that live no more: only this user's own, never what a link names."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            owner = json.loads((folder / OWNER).read_text())
            if process_start(int(owner["pid"])) == owner["process_started"]:
                continue
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's, or one that is being made or removed right now
        log.debug("removing %s, left by a process that was killed", folder)
        shutil.rmtree(folder, ignore_errors=True)
