"""Ray: model actors, workers as Ray's tasks, the cluster they are placed on. All of Ray is here.

Workers send crops to the actors, write the tables and tell the driver (:mod:`fer_batch.driver`) what came of a task. A
local run starts an embedded Ray that listens on loopback only and leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

# Read by Ray when it is imported; the first keeps it from reporting its use.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # what matters is in our own log
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil
import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_batch.actor import EmotionActor
from fer_batch.config import Resources
from fer_batch.driver import Join, Lost, Outcome, Task
from fer_batch.errors import FerBatchError, RefusedError, StoppedError, VideoError
from fer_batch.fleet import HERE, Fleet, gathered
from fer_batch.memory_only import REMEDY, why_not
from fer_batch.nodes import MAX_ACTORS_A_UNIT, Node
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.resources import Placement
from fer_batch.scratch import overflow_folder, scratch_folder
from fer_batch.worker import UnitDone, do_unit, join, probe_files

log = logging.getLogger("fer_batch")

START_TRIES = 3
"""How often an embedded Ray is started before the run stops."""

PROOF_S = 60.0
"""How long a node that came is waited for to say how it keeps objects."""

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
        actor = self._actors[self._next % len(self._actors)]
        return actor, actor.score.remote(crops), crops

    def result(self, ticket: Any) -> np.ndarray:
        """Wait for the scores of crops that were sent. If their actor's node is lost they go to another actor."""
        actor, reference, crops = ticket
        while True:
            try:
                scores: np.ndarray = ray.get(reference)
            except (RayActorError, ActorUnschedulableError) as error:
                others = [other for other in self._actors if other is not actor]
                if "creation task" in str(error) or not others:
                    raise
                self._actors = others
                actor, reference, _ = self.submit(crops)
            else:
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
            with _own_signals():
                ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RefusedError(f"cannot reach a Ray cluster at {address}: {error}") from error
        try:
            yield
        finally:
            _shut_down()
        return
    with scratch_folder() as folder, overflow_folder() as overflow:
        _only_what_is_needed()
        _stay_on_loopback()
        try:
            _start_ray(
                address="local",
                num_cpus=max(placement.cpus, placement.workers + placement.actors),  # so many processes wait for work
                num_gpus=math.ceil(placement.actors * placement.actor_gpus),
                object_store_memory=placement.store_bytes,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                _system_config={
                    "automatic_object_spilling_enabled": False,  # crops never reach a disk
                    "task_events_report_interval_ms": 0,  # for Ray's dashboard only, and 10 MB of the driver's memory
                },
                object_spilling_directory=None if overflow is None else str(overflow),  # not when it is full either
                **quiet,
            )
            yield
        except (RayError, TimeoutError, ConnectionError) as error:
            raise StoppedError(f"Ray did not start or broke down: {error}. See run.log in the run's folder") from error
        finally:
            _shut_down()


def _shut_down() -> None:
    """End Ray, all of it: a KeyboardInterrupt that is raised on a signal meanwhile comes afterwards.

    Were it left half done, Ray would try again as the process exits, and end it with code 1.
    """
    is_main = threading.current_thread() is threading.main_thread()  # no other hears signals
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    handlers = {int(number): handler for number in numbers if callable(handler := signal.getsignal(number))}
    held: list[KeyboardInterrupt] = []

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            handlers[number](number, frame)
        except KeyboardInterrupt as error:
            held.append(error)

    for number in handlers:
        signal.signal(number, hold)
    try:
        ray.shutdown()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        raise held[0]


def _stay_on_loopback() -> None:
    """Keep every socket of an embedded Ray on loopback, and strangers out of it.

    An address alone does not, in Ray 2.60. Ray reads these settings when it is imported, which a program may have done
    before it imported this module; its processes read them from the environment. They stay: Ray keeps the first secret.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # A secret of this process' own, or Ray would leave one in the user's home folder.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray._raylet.Config.initialize("")  # type: ignore[attr-defined]


def _start_ray(**options: Any) -> None:
    """Start an embedded Ray; again, where a busy machine took longer than the 30 s for which Ray waits.

    Raises:
        StoppedError: it does not start.
    """
    there = psutil.Process().children()
    for tries_left in reversed(range(START_TRIES)):
        try:
            with _own_signals():
                ray.init(**options)
        except Exception as error:  # Ray's own are bare ones
            for child in psutil.Process().children():
                if child not in there:
                    child.kill()  # what was started of it
            ray.shutdown()
            log.warning("Ray did not start: %s", error)
            if not tries_left:
                reason = str(error) or type(error).__name__
                raise StoppedError(f"Ray did not start, {START_TRIES} times: {reason} See run.log") from error
        else:
            return


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray, as it starts, would have SIGTERM end the process at once, with a trace; ours stays in force.

    It sets two handlers: one in Python, which is kept from it, and one beneath, in C++, in whose place Python's is put
    again.
    """
    theirs = ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda _handler: None
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler = theirs
        if threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _only_what_is_needed() -> None:
    """Keep Ray from starting processes that an embedded one has no use for.

    The dashboard's is started even where none is asked for, and asks the metadata services of three clouds whether it
    is with them (169.254.169.254 and, by the name server, metadata.google.internal), even where use is not to be
    reported. The autoscaler and the one that gathers workers' logs cost half a second at the start, more than a second
    at the end, and half of that of a core.
    """
    node: Any = ray._private.node.Node
    ray._private.services.start_api_server = lambda *_args, **_options: ("", None)
    node.start_monitor = node.start_log_monitor = lambda _node: None


def _check_reachable(address: str) -> None:
    """Ray itself would try for many minutes.

    Raises:
        RefusedError: nothing answers at ``host:port``, or it is the address of another service.
    """
    if "://" in address:
        raise RefusedError(
            f"{address} is no address that a run can join: on a machine of the cluster give host:6379 or auto; from "
            "elsewhere use fer-batch submit with the address of Ray's job server, http://host:8265"
        )
    host, _, port = address.rpartition(":")
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
        fleet: the nodes, and what each holds of workers and actors.
        wait_s: how long to wait for nodes when all are lost.

    Attributes:
        model_ready_s: how long after the start the first actor had its model; None before.
    """

    def __init__(self, context: RunContext, bundle: Path, fleet: Fleet, wait_s: float) -> None:
        self.model_ready_s: float | None = None
        self._start = time.monotonic()
        self._bundle, self._precision = bundle, context.config.precision
        self._fleet, self._wait_s = fleet, wait_s
        self._context = ray.put(context)
        self._running: dict[Any, tuple[Task, str]] = {}
        self._actors: dict[str, list[Any]] = {}
        self._ready: Any = None
        self._n_units = 0
        self._probe = ray.remote(probe_files)
        self._unit = ray.remote(_unit_task)
        self._join = ray.remote(join)

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self._fleet.expect(0)
        for actors in self._actors.values():
            for actor in actors:
                ray.kill(actor)

    @property
    def size(self) -> int:
        """Tasks to hold at a time. For any more Ray would start processes whenever a worker waits for scores."""
        return self._fleet.size

    def expect(self, units: int) -> None:
        """Hear how many units could be worked on at the same time."""
        self._fleet.expect(units)

    def start(self, task: Task) -> None:
        """Give a task to Ray.

        Raises:
            StoppedError: all nodes were lost, and none came for a long time.
        """
        self._fleet.wait(self._wait_s)
        node = self._fleet.take()
        options = {"num_cpus": self._fleet.placed[node].worker_cpus, "max_retries": 0, **_on(node)}
        reference: Any
        if isinstance(task, Unit):
            models = self._models(node)
            reference = self._unit.options(**options).remote(task, self._context, models, self._n_units)
            self._n_units += 1
        elif isinstance(task, Join):
            reference = self._join.options(**options).remote(self._context, task.video)
        else:
            self._start_actors()  # while files are probed; a run with nothing new to do needs none
            reference = self._probe.options(**options).remote(task.paths, self._context)
        self._running[reference] = (task, node)

    def running(self) -> Collection[Task]:
        """The tasks that Ray has."""
        return [task for task, _ in self._running.values()]

    def finished(self) -> list[tuple[Task, Outcome]]:
        """Wait up to POLL_S for tasks to finish.

        Raises:
            StoppedError: a worker says that nothing can go on, or the model cannot be loaded.
        """
        if self._fleet.refresh():
            self._start_actors()
        waiting = list(self._running)
        if self._ready is not None and self.model_ready_s is None:
            waiting.append(self._ready)
        done, _ = ray.wait(waiting, num_returns=1, timeout=POLL_S)
        found = []
        for reference in done:
            if reference == self._ready:
                self.model_ready_s = time.monotonic() - self._start
            else:
                task, node = self._running.pop(reference)
                self._fleet.done(node)
                found.append((task, self._outcome(reference, node)))
        return found

    def cancel(self) -> None:
        """End the workers that are at work."""
        for reference in self._running:
            ray.cancel(reference, force=True)

    def scoring_s(self) -> float:
        """Time that the actors spent scoring, summed; what an actor that no longer answers spent is not known."""
        total = 0.0
        for asked in [actor.busy_s.remote() for actors in self._actors.values() for actor in actors]:
            try:
                total += ray.get(asked, timeout=10)
            except RayError as error:
                log.warning("an actor no longer answers: %s", error)
        return total

    def _start_actors(self) -> None:
        """Start the actors of nodes that came, let those of nodes that went go."""
        for node in self._actors.keys() - self._fleet.placed.keys():
            for actor in self._actors.pop(node):
                ray.kill(actor)
        for node, placed in self._fleet.placed.items():
            if node in self._actors or not placed.actors:
                continue
            actor = ray.remote(EmotionActor).options(
                num_cpus=placed.actor_cpus, num_gpus=placed.actor_gpus, max_restarts=-1, max_task_retries=3, **_on(node)
            )
            self._actors[node] = [
                actor.remote(self._bundle, placed.actor_threads, self._precision, placed.actor_gpus > 0)
                for _ in range(placed.actors)
            ]
            if self._ready is None:  # answered, or broken, once the first actor has its model
                self._ready = self._actors[node][0].busy_s.remote()

    def _models(self, node: str) -> list[Any]:
        """The actors for a unit: those on its own node, else some of all, others for each unit."""
        self._start_actors()
        if node in self._actors:
            return self._actors[node]
        every = [actor for actors in self._actors.values() for actor in actors]
        first = self._n_units % len(every)
        return (every[first:] + every[:first])[:MAX_ACTORS_A_UNIT]

    def _outcome(self, reference: Any, node: str) -> Outcome:
        try:
            outcome: Outcome = ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, FerBatchError) and not isinstance(error.cause, VideoError):
                raise error.cause from error
            if isinstance(error.cause, ActorDiedError) and "creation task" in str(error.cause):
                reason = str(error.cause).strip().splitlines()[-1]
                raise StoppedError(f"the model cannot be loaded in its actor: {reason}. See run.log") from error
            if isinstance(error.cause, RayActorError | ActorUnschedulableError) and node != HERE:
                log.error("a model actor was lost: %s", error.cause)
                self._actor_lost(error.cause)
                return Lost("node_lost", "the model that scored for it was lost each time it was tried")
            log.error("a task failed: %s", error)
            return Lost("internal_error", f"{type(error.cause).__name__}: {error.cause}")
        except (NodeDiedError, TaskUnschedulableError) as error:
            log.error("the node of a task was lost: %s", error)
            self._fleet.lost(node)
            return Lost("node_lost", "the node that it was on was lost each time it was tried")
        except OutOfMemoryError as error:  # by Ray, which cannot know who is to blame
            log.error("a worker was ended: %s", error)
            return Lost("worker_died", "the machine ran out of memory each time it was tried; use fewer --workers")
        except RayError as error:
            log.error("a worker died: %s", error)
            return Lost("worker_died", "its worker process died each time it was tried")
        return outcome

    def _actor_lost(self, error: RayActorError | ActorUnschedulableError) -> None:
        """Do without the node of an actor that no longer answers."""
        lost = getattr(error, "actor_id", None)
        for node, actors in self._actors.items():
            if any(actor._actor_id.hex() == lost for actor in actors):
                self._fleet.lost(node)


def _on(node: str) -> dict[str, Any]:
    """Options that place a task or an actor."""
    return {} if node == HERE else {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def joined(asked: Resources, *, memory_only: bool = False) -> Fleet:
    """The nodes of the cluster that is there, once there are those that are asked for.

    Args:
        asked: limits of the run as a whole.
        memory_only: only those that prove that they keep objects in memory alone (:mod:`fer_batch.memory_only`).

    Raises:
        RefusedError: they did not come, or one that is there does not prove it.
    """
    from ray.autoscaler.sdk import request_resources

    look = _nodes
    if memory_only:
        told: dict[str, str | None] = {}
        look = partial(_proved, told)
        look()
        for node, why in told.items():
            if why is not None:
                raise RefusedError(f"privacy.level 'aggregate' promises that no face crop reaches a disk, but of the "
                                   f"cluster's node {node[:12]}: {why}. On every node, {REMEDY}")  # fmt: skip
    return gathered(asked, look, lambda bundles: request_resources(bundles=bundles))


def _proved(told: dict[str, str | None]) -> list[Node]:
    """The nodes that keep objects in memory alone; `told` is what each said when it was first asked."""
    proved = []
    for node in _nodes():
        if node.cpus >= 1 and node.id not in told:
            ask = ray.remote(why_not).options(num_cpus=0, **_on(node.id))
            try:
                told[node.id] = why = ray.get(ask.remote(), timeout=PROOF_S)
            except RayError as error:
                log.warning("node %s does not answer, and gets nothing until it does: %s", node.id, error)
                continue
            if why is not None:
                log.warning("node %s gets nothing: %s; %s", node.id, why, REMEDY)
        if node.cpus >= 1 and told[node.id] is None:
            proved.append(node)
    return proved


def _nodes() -> list[Node]:
    found = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            has = node["Resources"]
            found.append(Node(node["NodeID"], has.get("CPU", 0), has.get("GPU", 0), int(has.get("memory", 0))))
    return found
