"""Ray: model actors, workers as Ray's tasks, the cluster they are placed on. All of Ray is here.

Workers send crops to the actors, write the tables and tell the driver (:mod:`fer_batch.driver`) what came of a task. A
local run starts an embedded Ray that listens on loopback only and leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by Ray when it is imported. The first keeps every socket of a local Ray on loopback (an address alone does not,
# in Ray 2.60; whoever means to join a cluster sets it to 1 first); the second keeps it from reporting its use.
if os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0") == "0":
    # A secret of this process' own, or Ray would leave one in the user's home folder.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # what matters is in our own log
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError

from fer_batch.actor import EmotionActor
from fer_batch.driver import Join, Lost, Outcome, Task
from fer_batch.errors import FerBatchError, RefusedError, StoppedError, VideoError
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.resources import Placement
from fer_batch.scratch import scratch_folder
from fer_batch.worker import UnitDone, do_unit, join, probe_files

log = logging.getLogger("fer_batch")

POLL_S = 0.5
"""How often progress is shown while nothing finishes."""


class ActorScores:
    """Sends a worker's crops to the actors in turn (the `Scores` of :mod:`fer_batch.process`)."""

    def __init__(self, actors: list[Any], first: int) -> None:
        self._actors = actors
        self._next = first

    def submit(self, crops: np.ndarray) -> Any:
        """Send crops to the next actor."""
        self._next += 1
        return self._actors[self._next % len(self._actors)].score.remote(crops)

    def result(self, ticket: Any) -> np.ndarray:
        """Wait for the scores of crops that were sent."""
        scores: np.ndarray = ray.get(ticket)
        return scores


def _unit_task(unit: Unit, context: RunContext, actors: list[Any], first: int) -> UnitDone:
    return do_unit(unit, context, ActorScores(actors, first))


@contextmanager
def cluster(address: str | None, placement: Placement | None) -> Iterator[None]:
    """Ray for the time of the `with` block: the one that runs already, that at `address`, or an embedded one.

    Args:
        address: of a cluster; None for this process' own.
        placement: how large the embedded Ray must be; only used without an address.

    Raises:
        RefusedError: there is no cluster at `address`.
        StoppedError: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }  # what matters is in our own log
    if address is not None or placement is None:
        _check_reachable(address or "auto")
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RefusedError(f"cannot reach a Ray cluster at {address}: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    with scratch_folder() as folder:
        try:
            ray.init(
                address="local",
                num_cpus=placement.cpus,
                num_gpus=math.ceil(placement.actors * placement.actor_gpus),
                object_store_memory=placement.store_bytes,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                _system_config={"automatic_object_spilling_enabled": False},  # crops never reach a disk
                **quiet,
            )
            yield
        except (RayError, TimeoutError, ConnectionError) as error:
            raise StoppedError(f"Ray did not start or broke down: {error}. See run.log in the run's folder") from error
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for many minutes.

    Raises:
        RefusedError: nothing answers at ``host:port``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # not host:port, such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise RefusedError(f"cannot reach a Ray cluster at {address}: {error.strerror or error}") from error


class RayWorkers:
    """The :class:`fer_batch.driver.Workers` of the Ray that is there, and the model actors that score for them.

    A context manager: at its end the actors go.

    Args:
        context: of the run.
        bundle: the ModelBundle's folder.
        placement: how many workers and actors, and their shares.

    Attributes:
        model_ready_s: how long after the start the first actor had its model; None before.
    """

    def __init__(self, context: RunContext, bundle: Path, placement: Placement) -> None:
        self.limit = placement.workers + 2  # two wait, so that no worker waits for the driver
        self.model_ready_s: float | None = None
        self._start = time.monotonic()
        self._bundle, self._placement, self._precision = bundle, placement, context.config.precision
        self._context = ray.put(context)
        self._running: dict[Any, Task] = {}
        self._actors: list[Any] = []
        self._ready: Any = None
        self._n_units = 0
        options = {"num_cpus": placement.worker_cpus, "max_retries": 0}
        self._probe = ray.remote(probe_files).options(**options)
        self._unit = ray.remote(_unit_task).options(**options)
        self._join = ray.remote(join).options(**options)

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def start(self, task: Task) -> None:
        """Give a task to Ray."""
        reference: Any
        if isinstance(task, Unit):
            reference = self._unit.remote(task, self._context, self._actors, self._n_units)
            self._n_units += 1
        elif isinstance(task, Join):
            reference = self._join.remote(self._context, task.video)
        else:
            self._start_actors()  # while files are probed; a run with nothing new to do needs none
            reference = self._probe.remote(task.paths, self._context)
        self._running[reference] = task

    def running(self) -> Collection[Task]:
        """The tasks that Ray has."""
        return self._running.values()

    def finished(self) -> list[tuple[Task, Outcome]]:
        """Wait up to POLL_S for tasks to finish.

        Raises:
            StoppedError: a worker says that nothing can go on, or the model cannot be loaded.
        """
        waiting = list(self._running)
        if self._ready is not None and self.model_ready_s is None:
            waiting.append(self._ready)
        done, _ = ray.wait(waiting, num_returns=1, timeout=POLL_S)
        found = []
        for reference in done:
            if reference == self._ready:
                self.model_ready_s = time.monotonic() - self._start
            else:
                found.append((self._running.pop(reference), self._outcome(reference)))
        return found

    def cancel(self) -> None:
        """End the workers that are at work."""
        for reference in self._running:
            ray.cancel(reference, force=True)

    def scoring_s(self) -> float:
        """Time that the actors spent scoring, summed; what an actor that no longer answers spent is not known."""
        total = 0.0
        for actor in self._actors:
            try:
                total += ray.get(actor.busy_s.remote(), timeout=10)
            except RayError as error:
                log.warning("an actor no longer answers: %s", error)
        return total

    def _start_actors(self) -> None:
        if self._actors:
            return
        placed = self._placement
        actor = ray.remote(EmotionActor).options(
            num_cpus=placed.actor_cpus, num_gpus=placed.actor_gpus, max_restarts=-1, max_task_retries=3
        )
        self._actors = [
            actor.remote(self._bundle, placed.actor_threads, self._precision, placed.actor_gpus > 0)
            for _ in range(placed.actors)
        ]
        self._ready = self._actors[0].busy_s.remote()  # answered, or broken, once the first actor has its model

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, FerBatchError) and not isinstance(error.cause, VideoError):
                raise error.cause from error
            if isinstance(error.cause, ActorDiedError) and "creation task" in str(error.cause):
                reason = str(error.cause).strip().splitlines()[-1]
                raise StoppedError(f"the model cannot be loaded in its actor: {reason}. See run.log") from error
            log.error("a task failed: %s", error)
            return Lost("internal_error", f"{type(error.cause).__name__}: {error.cause}")
        except OutOfMemoryError as error:  # by Ray, which cannot know who is to blame
            log.error("a worker was ended: %s", error)
            return Lost("worker_died", "the machine ran out of memory each time it was tried; use fewer --workers")
        except RayError as error:
            log.error("a worker died: %s", error)
            return Lost("worker_died", "its worker process died each time it was tried")
        return outcome


def available() -> tuple[int, float]:
    """CPUs and GPUs of the Ray that is there."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0)), float(resources.get("GPU", 0))
