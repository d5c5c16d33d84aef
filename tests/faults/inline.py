"""Whole runs without Ray: workers in this very process, which can be killed at any write, and see what is redone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pytest

from fer_batch.commit import committed_segments
from fer_batch.driver import Join, Lost, Outcome, Probe, Task
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.store import Run
from fer_batch.worker import do_unit, join, probe_files

DIED = Lost("worker_died", "its worker process died each time it was tried")


class Killed(BaseException):
    """As if the process had ended there."""


@dataclass(frozen=True)
class Kill:
    """Something that dies at a write.

    Attributes:
        write: the how manieth file of the run's folder, from 0.
        who: the worker that writes, or the driver with all its workers.
        when: before the file has its name, or right after.
    """

    write: int
    who: Literal["worker", "driver"]
    when: Literal["before", "after"]


@dataclass
class Scores:
    """Scores crops at once, with a function such as a :class:`fer_batch.score.Scorer`."""

    function: Callable[[np.ndarray], np.ndarray]

    def submit(self, crops: np.ndarray) -> np.ndarray:
        return self.function(crops)

    def result(self, ticket: np.ndarray) -> np.ndarray:
        return ticket


@dataclass
class Inline:
    """Does tasks one at a time, in an order that a seed decides.

    Attributes:
        scores: of the model.
        size: workers that it pretends to have.
        seed: of the order.
        dies_of: tells of a task whether its worker dies before it has done anything.
        tried: all tasks that were begun.
    """

    scores: Scores
    size: int = 2
    seed: int = 0
    dies_of: Callable[[Task], bool] = lambda _task: False
    tried: list[Task] = field(default_factory=list)
    model_ready_s = 0.0

    def __call__(self, context: RunContext, *_arguments: Any) -> Inline:
        """In the place of :class:`fer_batch.engine.RayWorkers`: begins anew."""
        self._context = context
        self._tasks: list[Task] = []
        self._random = random.Random(self.seed)
        return self

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks = []

    def expect(self, units: int) -> None:
        """No more workers can be had."""

    def scoring_s(self) -> float:
        return 0.0

    def running(self) -> Collection[Task]:
        return self._tasks

    def cancel(self) -> None:
        self._tasks = []

    def start(self, task: Task) -> None:
        if isinstance(task, Unit):
            self._see_that_it_is_not_committed(task)
        self._tasks.append(task)

    def finished(self) -> list[tuple[Task, Outcome]]:
        task = self._tasks.pop(self._random.randrange(len(self._tasks)))
        self.tried.append(task)
        if self.dies_of(task):
            return [(task, DIED)]
        try:
            return [(task, self._do(task))]
        except WorkerKilled:
            return [(task, DIED)]

    def _do(self, task: Task) -> Outcome:
        if isinstance(task, Probe):
            return probe_files(task.paths, self._context)
        if isinstance(task, Join):
            return join(self._context, task.video)
        return do_unit(task, self._context, self.scores)

    def _see_that_it_is_not_committed(self, unit: Unit) -> None:
        ledger = Run(self._context.path).videos()
        done = set(ledger.filter(pc.field("part").is_valid())["video_id"].to_pylist())
        for segment in unit.segments:
            assert segment.video.video_id not in done, f"{segment.video.path} is done again"
            for start, end in committed_segments(self._context.path, segment.video.video_id):
                assert end <= segment.start.pts or segment.end_pts <= start, f"a part of {segment.video.path} is"


class WorkerKilled(Killed):
    """Only the worker."""


@contextmanager
def on(workers: Inline) -> Iterator[pytest.MonkeyPatch]:
    """Inside, :func:`fer_batch.run` works with these workers; gives what else should be changed for so long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_batch.engine.ray_for", lambda *_: nullcontext())
        patch.setattr("fer_batch.engine.RayWorkers", workers)
        yield patch


@contextmanager
def killed_at(kill: Kill, folder: Path) -> Iterator[None]:
    """Inside, a write to this folder kills who makes it."""
    count = -1
    replace = os.replace

    def kill_or_replace(source: Any, target: Any) -> None:
        nonlocal count
        count += Path(target).is_relative_to(folder) and Path(target).name != "run.json"
        hit = count == kill.write and Path(target).name != "run.json"
        what = WorkerKilled if kill.who == "worker" else Killed
        if hit and kill.when == "before":
            count += 1
            raise what
        replace(source, target)
        if hit:
            count += 1
            raise what

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", kill_or_replace)
        yield
