"""What a command uses: wall time, CPU seconds and memory of all its processes together. On Linux.

Looking takes time too, on cores that the command may need: what costs more is done less often.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOK_S = 0.05
"""How often it is looked whether there is a first result, and at the first process."""

FAMILY_LOOKS = 5
"""All processes are looked at every so many looks; what one computes after the last of them is not seen. The kernel
does not sum it up: Ray's own process does not wait for those that it started."""

MEMORY_LOOKS = 20
"""Memory is looked at every so many looks."""


@dataclass(frozen=True)
class Usage:
    """What a command used.

    Attributes:
        wall_s: from its start to its end.
        cpu_s: CPU seconds of all its processes, those included that it did not wait for.
        peak_bytes: most memory of all of them together at one time; memory that they share counts once.
        first_s: when a file first matched what to wait for; None if none did.
        driver_cpu_s: CPU seconds of the first process alone.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    first_s: float | None
    driver_cpu_s: float


def used(command: Sequence[str | Path], waiting: tuple[Path, Sequence[str]] | None = None) -> Usage:
    """Run a command, and say what it used.

    Args:
        command: the program and its arguments.
        waiting: a folder and patterns of files in it, of which the first to appear is the first result.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    cpu: dict[psutil.Process, float] = {}
    peak, first_s, looks = 0, None, 0
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        with subprocess.Popen([*map(str, command)], stdout=said, stderr=said) as program:
            root = psutil.Process(program.pid)
            family = [root]
            while program.poll() is None:
                if looks % FAMILY_LOOKS == 0:
                    family = _family(root)
                for process in [root] if looks % FAMILY_LOOKS else family:
                    with suppress(psutil.Error):
                        times = process.cpu_times()
                        cpu[process] = times.user + times.system
                if looks % MEMORY_LOOKS == 0:
                    peak = max(peak, _memory(family))
                if waiting is not None and first_s is None and _is_there(*waiting):
                    first_s = time.perf_counter() - start
                looks += 1
                time.sleep(LOOK_S)
        wall_s = time.perf_counter() - start
        if program.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {program.returncode}: {said.read()[-2000:]}")
    return Usage(wall_s, sum(cpu.values()), peak, first_s, cpu.get(root, 0.0))


def _family(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return [root]


def _memory(family: Sequence[psutil.Process]) -> int:
    """Proportional set sizes: a page that n processes share counts as an nth of a page in each."""
    total = 0
    for process in family:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def _is_there(folder: Path, patterns: Sequence[str]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
