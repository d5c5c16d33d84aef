"""Mutated clips through the stages, in a child process that may die or hang without harm.

    python -m tests.hostile.fuzz FOLDER FIRST COUNT   # the child: a line of JSON before and after each case

A case is a number: it decides on the clip, on how it is spoilt and on the sampling, so that each can be looked at
again (``python -m tests.hostile.fuzz FOLDER 1234 1``).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np

from fer_batch.config import Sampling

LIMIT_S = 60.0
"""How long a case may take; one takes some 0.05 s on a quiet machine."""

START_S = 240.0
"""How long the child may take to start on a busy machine."""

MEMORY = 4 << 30
"""Address space that the child may use: what asks for more, fails there and not on the machine."""

SAMPLINGS = (Sampling(), Sampling(mode="every"), Sampling(mode="keyframes"), Sampling(start_ms=300, end_ms=900))


@dataclass(frozen=True)
class Outcome:
    """What came of a case: the ledger's status and code, or how the child ended."""

    case: int
    status: str
    code: str | None
    seconds: float


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Spoil a file in one to four ways, each in its header, its end or anywhere."""
    spoilt = bytearray(data)
    for _ in range(random.integers(1, 5)):
        if len(spoilt) < 64:
            break
        reach = {0: (0, min(2048, len(spoilt))), 1: (max(0, len(spoilt) - 4096), len(spoilt))}
        low, high = reach.get(int(random.integers(4)), (0, len(spoilt)))
        at = int(random.integers(low, high))
        length = int(min(random.geometric(0.002), len(spoilt) - at))
        kind = random.integers(7)
        if kind == 0:  # single bits
            for position in random.integers(low, high, random.integers(1, 40)):
                spoilt[position] ^= 1 << int(random.integers(8))
        elif kind == 1:  # cut off
            del spoilt[max(64, at) :]
        elif kind == 2:  # a hole
            del spoilt[at : at + length]
        elif kind == 3:  # a stretch twice
            spoilt[at:at] = spoilt[at : at + length]
        elif kind == 4:  # two stretches change places
            other = int(random.integers(0, max(1, len(spoilt) - length)))
            spoilt[at : at + length], spoilt[other : other + length] = (
                spoilt[other : other + length],
                spoilt[at : at + length],
            )
        elif kind == 5:  # a length or a count that lies
            width = int(random.choice([1, 2, 4, 8]))
            value = int(random.choice([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
            order = "big" if random.integers(2) else "little"
            spoilt[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, order)  # type: ignore[arg-type]
        else:  # noise
            spoilt[at : at + length] = random.bytes(length)
    return bytes(spoilt)


def run(folder: Path, first: int, count: int) -> Iterator[Outcome]:
    """Outcomes of some cases; the clips in `folder` are what they begin with. Nothing that a case does ends this."""
    last = first + count
    while first < last:
        command = [sys.executable, "-m", "tests.hostile.fuzz", str(folder), str(first), str(last - first)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: Queue[str | None] = Queue()
        assert child.stdout is not None
        reader = threading.Thread(target=_forward, args=(child.stdout, lines), daemon=True)
        reader.start()
        try:
            limit_s = START_S
            while (said := _next(lines, limit_s)) is not None:
                limit_s = LIMIT_S
                if "status" in said:
                    yield Outcome(**said)
                    first += 1
        except Empty:
            yield Outcome(first, "hung", None, LIMIT_S)
            first += 1
            continue
        finally:
            child.kill()
            code = child.wait()
            reader.join()
        if first < last:
            yield Outcome(first, "died", str(code), 0.0)
            first += 1


def _forward(lines: Any, queue: Queue[str | None]) -> None:
    for line in lines:
        queue.put(line)
    queue.put(None)


def _next(lines: Queue[str | None], limit_s: float) -> dict[str, Any] | None:
    line = lines.get(timeout=limit_s)
    said: dict[str, Any] | None = None if line is None else json.loads(line)
    return said


def one(clips: Sequence[Path], case: int, folder: Path) -> dict[str, Any]:
    """Make a case's file and send it through the stages."""
    from tests.hostile.stages import look

    random = np.random.default_rng(case)
    source = clips[case % len(clips)]
    path = folder / f"case{source.suffix}"
    path.write_bytes(mutate(source.read_bytes(), random))
    start = time.monotonic()
    seen = look(path, SAMPLINGS[int(random.integers(len(SAMPLINGS)))])
    seconds = time.monotonic() - start
    row = seen.row
    if seen.frames is not None:
        times = seen.column("timestamp_ms")
        assert times == sorted(times), "times fall"  # beyond 1,000 frames a second they need not rise
        assert min(seen.column("duration_ms"), default=0) >= 0, "a sample lasts less than nothing"
        assert row["sampled_ms"] <= max(0, row["duration_ms"]), "more was sampled than there is"
    return {"case": case, "status": row["status"], "code": row.get("error_code"), "seconds": round(seconds, 3)}


def main(folder: Path, first: int, count: int) -> None:
    """The child."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    clips = sorted(path for path in folder.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as scratch:
        for case in range(first, first + count):
            print(json.dumps({"case": case}), flush=True)
            _spring(case)
            print(json.dumps(one(clips, case, Path(scratch))), flush=True)


def _spring(case: int) -> None:
    """Die or hang, where a test of the net asks for it."""
    trap = dict(pair.split(":") for pair in os.environ.get("FER_BATCH_FUZZ_TRAP", "").split())
    if trap.get(str(case)) == "abort":
        os.abort()
    if trap.get(str(case)) == "hang":
        time.sleep(10 * LIMIT_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
