"""Whole runs in this very process: all but Ray and TensorFlow is as users have it, and a run takes a second."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from fer_batch import engine
from fer_batch.driver import Join, Outcome, Task
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.worker import do_unit, join, probe_files


class Brightness:
    """Scores that depend on the crop alone."""

    def submit(self, crops: np.ndarray) -> np.ndarray:
        return crops

    def result(self, ticket: np.ndarray) -> np.ndarray:
        parts = ticket.reshape(len(ticket), -1)[:, : 7 * 300].reshape(len(ticket), 7, 300).mean(axis=2) + 1.0
        return np.asarray(parts / parts.sum(axis=1, keepdims=True), np.float32)


class Here:
    """The :class:`fer_batch.driver.Workers` that does one task after the other when it is asked for outcomes.

    Attributes:
        units: names of the videos of each unit that was done, by any instance.
    """

    size, limit = 1, 3
    model_ready_s = 0.0
    units: list[list[str]]

    def __init__(self, context: RunContext, *_: object) -> None:
        self._context = context
        self._tasks: deque[Task] = deque()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.clear()

    def expect(self, units: int) -> None:
        pass

    def start(self, task: Task) -> None:
        self._tasks.append(task)

    def running(self) -> Collection[Task]:
        return self._tasks

    def finished(self) -> list[tuple[Task, Outcome]]:
        task = self._tasks.popleft()
        return [(task, self._do(task))]

    def cancel(self) -> None:
        self._tasks.clear()

    def scoring_s(self) -> float:
        return 0.0

    def _do(self, task: Task) -> Outcome:
        if isinstance(task, Unit):
            self.units.append(sorted({segment.video.path.name for segment in task.segments}))
            return do_unit(task, self._context, Brightness())
        if isinstance(task, Join):
            return join(self._context, task.video)
        return probe_files(task.paths, self._context)


@contextmanager
def _no_cluster(*_: Any) -> Iterator[None]:
    yield


def run_here(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let :func:`fer_batch.run` do its work in this process, without waiting for the disk.

    Returns:
        The list to which the names of each unit's videos are added.
    """
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(engine, "cluster", _no_cluster)
    monkeypatch.setattr(engine, "RayWorkers", Here)
    done: list[list[str]] = []
    monkeypatch.setattr(Here, "units", done, raising=False)
    return done
