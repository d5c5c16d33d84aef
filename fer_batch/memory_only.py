"""Does a node of a cluster keep Ray's objects in memory alone? What it proves of itself at privacy level `aggregate`.

Two things would write them to a disk: spilling, and what Ray falls back to when a store is full, spilling or not: files
in the folder for spilled objects (in Ray 2.60 the session's, in /tmp, by default). Both are settings of the node's
raylet, the parent of the process that asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from fer_batch.scratch import SHARED_MEMORY

REMEDY: Final = (
    "start Ray there with RAY_automatic_object_spilling_enabled=0 in its environment and "
    f"--object-spilling-directory={SHARED_MEMORY}"
)

_IN_MEMORY: Final = {"tmpfs", "ramfs"}


def why_not() -> str | None:
    """For a worker of Ray: why its node does not keep objects in memory alone, or cannot prove it; None if it does."""
    raylet = next((one for one in psutil.Process().parents() if one.name() == "raylet"), None)
    if raylet is None:
        return "what its raylet was started with cannot be seen"
    try:
        return judged(raylet.cmdline(), raylet.environ(), is_in_memory)
    except psutil.Error as error:
        return f"what its raylet was started with cannot be seen ({error})"


def judged(arguments: Sequence[str], environment: Mapping[str, str], in_memory: Callable[[Path], bool]) -> str | None:
    """What a raylet's command line and environment say.

    Args:
        arguments, environment: the raylet's.
        in_memory: whether a folder lies in memory.
    """
    if environment.get("RAY_automatic_object_spilling_enabled", "").lower() not in {"0", "false"}:
        return "it may spill objects to a disk"
    for flag, what in (("--plasma_directory=", "its object store lies in"),
                       ("--fallback_directory=", "a full object store goes on in")):  # fmt: skip
        folders = [text.removeprefix(flag) for text in arguments if text.startswith(flag)]
        if not folders:
            return f"its raylet does not say what {flag.strip('-=')} is"
        if not in_memory(Path(folders[-1])):
            return f"{what} {folders[-1]}, which is not in memory"
    return None


def is_in_memory(folder: Path) -> bool:
    """Whether files in a folder are kept in memory, by the kind of its file system."""
    real = Path(os.path.realpath(folder))
    kinds = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((kinds[place] for place in (real, *real.parents) if place in kinds), "") in _IN_MEMORY
