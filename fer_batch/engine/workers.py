"""Workers as Ray's tasks, and the model actors that score for them.

Workers send crops to the actors, write the tables and tell the driver (:mod:`fer_batch.driver`) what came of a task.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
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

from fer_batch.actor import EmotionActor
from fer_batch.driver import Join, Lost, Outcome, Task
from fer_batch.engine.cluster import on_node
from fer_batch.errors import FerBatchError, StoppedError, VideoError
from fer_batch.fleet import HERE, Fleet
from fer_batch.nodes import MAX_ACTORS_A_UNIT
from fer_batch.plan import Unit
from fer_batch.process import RunContext
from fer_batch.without_pandas import arrow_without_pandas
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


def _alone(call: Callable[..., Any]) -> Any:
    """A function as Ray's, for processes in which no code but ours runs."""

    @functools.wraps(call)
    def task(*arguments: Any) -> Any:
        arrow_without_pandas()
        return call(*arguments)

    return ray.remote(task)


class RayWorkers:
    """The :class:`fer_batch.driver.Workers` of the Ray that is there, and the model actors that score for them.

    A context manager: at its end the actors go.

    Args:
        context: of the run.
        bundle: the ModelBundle's folder.
        fleet: the nodes, and what each holds of workers and actors.
        wait_s: how long to wait for nodes when all are lost.
        ray_goes_on: Ray stays when the run ends, so that its workers must be ended, and it may be another's, whose
            workers do a user's own tasks too.

    Attributes:
        model_ready_s: how long after the start the first actor had its model; None before.
    """

    def __init__(self, context: RunContext, bundle: Path, fleet: Fleet, wait_s: float, ray_goes_on: bool) -> None:
        self.model_ready_s: float | None = None
        self._start = time.monotonic()
        self._bundle, self._precision = bundle, context.config.precision
        self._fleet, self._wait_s, self._ray_goes_on = fleet, wait_s, ray_goes_on
        self._context = ray.put(context)
        self._running: dict[Any, tuple[Task, str]] = {}
        self._actors: dict[str, list[Any]] = {}
        self._ready: Any = None
        self._n_units = 0
        own: Callable[[Callable[..., Any]], Any] = ray.remote if ray_goes_on else _alone
        self._probe, self._unit, self._join = own(probe_files), own(_unit_task), own(join)

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
        options = {"num_cpus": self._fleet.placed[node].worker_cpus, "max_retries": 0, **on_node(node)}
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
        """End the workers that are at work, if Ray itself does not end with the run.

        Ray 2.60 aborts this process (exit code 1) where a task completes just as it is cancelled.
        """
        if self._ray_goes_on:
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
                num_cpus=placed.actor_cpus,
                num_gpus=placed.actor_gpus,
                max_restarts=-1,
                max_task_retries=3,
                **on_node(node),
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
