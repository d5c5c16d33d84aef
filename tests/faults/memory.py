"""``python -m tests.faults.memory INPUTS OUT MODEL FPS RESULT``: a run whose memory is looked at as it goes on.

RESULT is a file of JSON lines: looks, each with the videos found and done, the driver's CPU seconds, and for each
process its name, as Ray calls it, and the memory that it holds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil

import fer_batch
from fer_batch.progress import Progress
from tests.faults.watch import family

EVERY_S = 0.5


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that no file stands behind.

    A library's pages are left out: they count as a process' own as soon as the last other program that uses the same
    library ends, TensorFlow's 370 MB among them.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


class Memory:
    """Looks at the family again and again, until told to stop."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self.videos = self.found = 0
        self.phase = "starting"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __call__(self, progress: Progress) -> None:
        self.videos, self.found, self.phase = progress.n_videos, progress.found, progress.phase

    def _look(self) -> None:
        start = time.monotonic()
        while not self._stop.wait(EVERY_S):
            look: dict[str, Any] = {"at_s": round(time.monotonic() - start, 1), "held": {}}
            used = psutil.Process().cpu_times()
            look["driver_cpu_s"] = used.user + used.system
            for process in family():
                with suppress(psutil.Error, OSError):
                    name = "driver" if process.pid == psutil.Process().pid else process.name()
                    title = process.cmdline()[0] if name.startswith("ray::") else name
                    look["held"][process.pid] = [title, anonymous_bytes(process.pid)]
            look |= {"videos": self.videos, "found": self.found, "phase": self.phase}  # so far at least, once measured
            with self._result.open("a") as file:
                file.write(json.dumps(look) + "\n")


def main(inputs: str, out: str, model: str, fps: str, result: str) -> None:
    """Run and look."""
    config = fer_batch.RunConfig(sampling=fer_batch.Sampling(fps=Fraction(fps)))
    with Memory(Path(result)) as memory:
        fer_batch.run(
            inputs, out, config, model=model, resources=fer_batch.Resources(cpus=2, gpus=0), on_progress=memory
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
