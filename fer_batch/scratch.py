"""The private temporary folder of an embedded Ray: only this user can read it, and it is gone at the end."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("fer_batch")

MAX_PATH = 30
"""Longest path of a temporary folder that leaves room for Ray's socket names: Linux allows 107 bytes in all."""

_NOISE = (":job_id:", ":actor_name:", ":task_name:")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make the folder; at the end copy what processes printed there (TensorFlow, FFmpeg) to the log and remove it."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= MAX_PATH else "/tmp"  # noqa: S108 - mkdtemp makes the folder itself private
    folder = Path(tempfile.mkdtemp(prefix="fer-", dir=parent))
    try:
        yield folder
    finally:
        for file in sorted(folder.glob("session_2*/logs/worker-*.err")):
            lines = file.read_text(errors="replace").splitlines()
            said = [line for line in lines if not line.startswith(_NOISE)]
            if any(said):
                log.debug("%s\n%s", file.name, "\n".join(said))
        shutil.rmtree(folder, ignore_errors=True)  # a process of Ray's may still write its last line
