"""A run that is killed again and again, anywhere, ends with the tables of one that was left alone."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import psutil
import pytest

import fer_batch
from fer_batch import RefusedError, Resources, Run, RunConfig, Sampling
from fer_batch.bundle import ModelBundle
from tests.clips import Clips
from tests.same import assert_same_ledger, assert_same_tables

pytestmark = pytest.mark.ray

PATIENCE_S: Final = 900
"""Longest wait for something that must happen; nothing here depends on how fast it does."""

DENSE = RunConfig(sampling=Sampling(fps=Fraction(5)))

NAMES = ("one_face", "two_faces", "coming_and_going", "crossing", "lost_second", "ntsc", "crowd")

AT_WORK = {"worker": ("ray::probe_files", "ray::_unit_task", "ray::join"), "actor": ("ray::EmotionActor",)}
"""How Ray names the processes that do a run's work."""

ENDS = ("driver", "group", "SIGTERM", "SIGINT", "SIGINT twice")
"""What ends a run; the death of a worker or an actor does not."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Start:
    """One start of the command, in a process group of its own."""

    def __init__(self, folder: Path, out: Path, model: Path) -> None:
        self.out = out
        self.kept = committed(out)
        command = [Path(sys.executable).with_name("fer-batch"), "run", folder, "--out", out, "--model", model]
        self.process = subprocess.Popen(
            [*map(str, command), "--fps", "5", "--cpus", "2", "--workers", "3", "--report", "none"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.about = psutil.Process(self.process.pid)
        self._seen: set[psutil.Process] = set()

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> set[psutil.Process]:
        """Processes that it started, so far."""
        with suppress(psutil.NoSuchProcess):
            self._seen |= set(self.about.children(recursive=True))
        return self._seen

    def at_work(self, kind: str) -> Iterator[psutil.Process]:
        """Processes that Ray started and that are at work."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                if "".join(process.cmdline()).startswith(AT_WORK[kind]):
                    yield process

    def has(self, kind: str) -> bool:
        return next(self.at_work(kind), None) is not None

    def kill_one(self, kind: str) -> bool:
        """Kill -9 of such a process, if there is one."""
        for process in self.at_work(kind):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                return True
        return False

    def end(self, kind: str) -> tuple[str, str]:
        """End it, and see that it ends as it should; what it said."""
        self.family()
        if kind == "driver":
            self.process.kill()
        elif kind == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            number = getattr(signal, kind.removesuffix(" twice"))
            self.process.send_signal(number)
            if kind.endswith("twice"):
                time.sleep(0.1)
                self.process.send_signal(number)
        said, message = self.process.communicate(timeout=PATIENCE_S)
        code = self.process.returncode
        if kind in ("driver", "group"):
            assert code in (0, -signal.SIGKILL), (code, message)
        elif code == 130:
            assert kind.endswith("twice") or "the same command goes on" in message
        elif code not in (0, -number):  # it was complete, or had not yet learnt what to do with signals
            pytest.fail(f"ended with {code} on {kind}:\n{message}")
        return said, message

    def finish(self) -> tuple[str, str]:
        """Let it come to its end."""
        said, message = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, message
        if self.kept.videos:
            told = re.search(r"([\d,]+) kept", message)
            assert told, message
            assert int(told[1].replace(",", "")) >= len(self.kept.videos)  # workers of the last start may add some yet
        return said, message

    def wait_for_news(self, commits: int = 1) -> None:
        """Until so much more is committed than before."""
        wait_until(lambda: self.is_over() or committed(self.out).size() >= self.kept.size() + commits, "a commit")


class Committed:
    """What stands in a run's folder so that it need not be done again, and which computation it is from."""

    def __init__(self) -> None:
        self.videos: dict[str, tuple[str, float]] = {}
        self.segments: dict[Path, int] = {}

    def size(self) -> int:
        return len(self.videos) + len(self.segments)

    def stays_in(self, later: Committed) -> None:
        """Nothing of it was made again."""
        assert self.videos.items() <= later.videos.items()
        again = {file for file, at in self.segments.items() if later.segments.get(file, at) != at}
        assert not again


def committed(out: Path) -> Committed:
    found = Committed()
    if (out / "run.json").is_file():
        # What is committed may be joined, and its segments removed, while this looks.
        for file in (out / "work" / "units").glob("*/*.frames.parquet"):
            try:
                found.segments[file] = file.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        rows = Run(out).videos().to_pylist()
        found.videos = {row["path"]: (row["part"], row["wall_s"]) for row in rows}
    return found


@pytest.fixture(scope="module")
def folder(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("in")
    for name in NAMES:
        shutil.copy(getattr(clips, name).path, target)
    return target


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tiny: ModelBundle, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    whole = tmp_path_factory.mktemp("whole") / "out"
    return fer_batch.run(folder, whole, DENSE, model=tiny.path, resources=Resources(cpus=2))


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended yet."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def nothing_stays(starts: list[Start]) -> Iterator[None]:
    """At the end no process is left of any start."""
    try:
        yield
        started = set[psutil.Process]().union(*(s.family() for s in starts))
        wait_until(lambda: not any(map(lives, started)), "the end of all processes")
    finally:
        for start in starts:
            for process in [*start.family(), start.about]:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue


def test_killed_five_times(folder: Path, tiny: ModelBundle, undisturbed: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    starts: list[Start] = []

    def start() -> Start:
        starts.append(Start(folder, out, tiny.path))
        return starts[-1]

    with nothing_stays(starts):
        first = start()  # a worker, then a second driver on the same folder, then the driver itself
        wait_until(lambda: first.is_over() or first.kill_one("worker"), "a worker")
        first.wait_for_news()
        with pytest.raises(RefusedError, match=f"process {first.process.pid} on {os.uname().nodename}"):
            fer_batch.run(folder, out, DENSE, model=tiny.path, resources=Resources(cpus=2))
        first.end("driver")
        assert Run(out).info["state"] == "running"

        second = start()  # at once, while workers of the first may still be at work; a model, then preemption
        wait_until(lambda: second.is_over() or second.kill_one("actor"), "a model")
        second.wait_for_news()
        second.end("SIGTERM")
        assert Run(out).info["state"] in ("interrupted", "complete")

        third = start()
        third.wait_for_news()
        third.end("group")

        last = start()
        said, _ = last.finish()
        assert "7 videos: 7 ok" in said
        for earlier in starts:
            earlier.kept.stays_in(committed(out))
        assert_same_tables(undisturbed, Run(out))
        assert_same_ledger(undisturbed, Run(out))
        assert not (out / "work").exists()


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_killed_anywhere(folder: Path, tiny: ModelBundle, undisturbed: Run, tmp_path: Path) -> None:
    """Thirty-six kills and more at random moments, in as many runs as they take."""
    moments = random.Random(5)
    began = time.monotonic()
    starts = [Start(folder, tmp_path / "clock", tiny.path)]
    tally: Counter[str] = Counter()
    n_runs, stopping_s = 0, list[float]()
    out = tmp_path / "out-0"
    with nothing_stays(starts):
        starts[0].finish()
        usual_s = time.monotonic() - began

        def complete() -> None:
            nonlocal out, n_runs
            n_runs += 1
            for start in starts:
                if start.out == out:
                    start.kept.stays_in(committed(out))
            assert_same_tables(undisturbed, Run(out))
            assert_same_ledger(undisturbed, Run(out))
            assert not (out / "work").exists()
            out = tmp_path / f"out-{n_runs}"

        def pause(start: Start, kinds: tuple[str, ...]) -> None:
            """Until some moment of some stage: before anything works, while something does, after a commit."""
            stage = moments.choice(kinds)
            if stage == "work":
                wait_until(lambda: start.is_over() or start.has("worker"), "a worker")
            if stage == "commit":
                start.wait_for_news(moments.randrange(1, 6))
            until = time.monotonic() + moments.uniform(0, 0.4 * usual_s if stage == "start" else 0.05 * usual_s)
            wait_until(lambda: start.is_over() or time.monotonic() > until, "a moment")

        while sum(tally.values()) < 36 or len(tally) < 6:
            start = Start(folder, out, tiny.path)
            starts.append(start)
            # Never so many that a unit, or a batch of crops, could lose all its tries.
            for kind in moments.sample(("worker", "worker", "actor", "actor"), moments.randrange(4)):
                pause(start, ("work", "commit"))
                tally[kind] += start.kill_one(kind)
                print(f"{sum(tally.values())} kills, {kind}", flush=True)
            pause(start, ("start", "work", "commit", "commit"))
            if start.is_over():
                start.finish()
                complete()
                continue
            kind = moments.choice(ENDS)
            before = time.monotonic()
            start.end(kind)
            if start.process.returncode != 0:
                tally[kind] += 1
                if start.process.returncode == 130:
                    stopping_s.append(time.monotonic() - before)
            print(f"{sum(tally.values())} kills, {kind}: {start.kept.size()} kept before, state "
                  f"{Run(out).info['state'] if (out / 'run.json').is_file() else 'none'}", flush=True)  # fmt: skip
        last = Start(folder, out, tiny.path)
        starts.append(last)
        last.finish()
        complete()
        print(dict(tally), f"{n_runs} runs, {len(starts)} starts, {usual_s:.0f} s undisturbed, "
              f"stopped in order within {max(stopping_s, default=0):.1f} s")  # fmt: skip
