"""How a run spreads over the nodes of a cluster: who decodes, who scores, what is asked of an autoscaler.

Nodes come and go: all this is worked out again whenever they do, from the nodes that are there. Knows nothing of Ray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fer_batch.config import Resources
from fer_batch.errors import RefusedError
from fer_batch.resources import ACTOR_BYTES, BASE_BYTES, GB, WORKER_BYTES, Placement, place

WORKERS_PER_GPU = 32
"""Workers that one GPU serves: each sends some 30 faces a second, a GPU scores well over a thousand."""

MAX_ACTORS_A_UNIT = 8
"""Models that one unit sends its crops to, in turn: more would only make its message longer."""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster as Ray counts it.

    Attributes:
        id: Ray's name for it.
        cpus, gpus: logical ones; a head node that is not to work has none.
        memory: bytes for work; 0 if not known.
    """

    id: str
    cpus: float
    gpus: float
    memory: int = 0


def spread(nodes: Sequence[Node], asked: Resources, on_gpu: bool) -> dict[str, Placement]:
    """What each node holds: as a machine of its own would, within what is asked of all together.

    Where the run uses GPUs, models live beside them and nowhere else, and nodes without one only decode. Otherwise
    each node has models for its own workers, so that crops stay on it. Nodes too small for anything are left out.

    Args:
        nodes: in the order in which they came: those that are there keep their share when others come.
        asked: limits of the run as a whole.
        on_gpu: models run on GPUs.
    """
    found: dict[str, Placement] = {}
    left = asked.actors if asked.actors is not None else math.inf
    gpus_left = math.inf if asked.gpus is None else asked.gpus
    for node in nodes:
        gpus = min(node.gpus, gpus_left) if on_gpu else 0.0
        placed = _on_node(node, gpus, on_gpu, asked.actor_bytes)
        if placed is None:
            continue
        actors = int(min(placed.actors, left))
        left -= actors
        gpus_left -= gpus
        found[node.id] = replace(placed, actors=actors)
    return found


def _on_node(node: Node, gpus: float, on_gpu: bool, actor_bytes: int | None) -> Placement | None:
    cpus = int(node.cpus)
    if cpus < 1:
        return None
    memory = node.memory or None
    if on_gpu and not gpus:
        workers = cpus if memory is None else min(cpus, memory // WORKER_BYTES)
        return Placement(cpus, workers, 0, 1.0, 0.0, 0.0, 1, 0) if workers else None
    try:
        asked = Resources(gpus=gpus, memory=memory, address="cluster", actor_bytes=actor_bytes)
        return place(asked, cpus, gpus)
    except RefusedError:
        return None  # too little memory for a worker and a model


def total_workers(placed: Mapping[str, Placement], asked: Resources) -> int:
    """Units that may be decoded at the same time on all nodes."""
    return min(sum(share.workers for share in placed.values()), asked.workers or asked.cpus or 10**6)


def choose(placed: Mapping[str, Placement], busy: Mapping[str, int]) -> str | None:
    """The node that should have the next task: one without GPUs that has room, then any, by most room for its size."""

    def rank(name: str) -> tuple[bool, bool, float]:
        share = placed[name]
        room = 1 - busy.get(name, 0) / share.workers
        return room > 0, share.actor_gpus == 0, room

    return max((name for name, share in placed.items() if share.workers), key=rank, default=None)


def request(waiting_units: int, asked: Resources, on_gpu: bool) -> list[dict[str, float]]:
    """What an autoscaler should make room for: a CPU for each unit that waits or runs, GPUs in proportion."""
    workers = min(max(1, waiting_units), asked.workers or asked.cpus or 10**6)
    bundles: list[dict[str, float]] = [{"CPU": 1.0}] * workers
    if on_gpu:
        most = asked.actors or (math.ceil(asked.gpus) if asked.gpus else 10**6)
        share = asked.gpus if asked.gpus is not None and asked.gpus < 1 else 1.0
        bundles += [{"CPU": 1.0, "GPU": share}] * min(most, math.ceil(workers / WORKERS_PER_GPU))
    return bundles


def shortage(asked: Resources, nodes: Sequence[Node]) -> str | None:
    """What the nodes that are there lack of what is asked, with the sums; None if they will do."""
    for flag, least, there, unit in (
        ("--cpus", asked.cpus, sum(node.cpus for node in nodes), "CPUs"),
        ("--gpus", asked.gpus, sum(node.gpus for node in nodes), "GPUs"),
    ):
        if least is not None and least > there:
            return f"{flag} {least:g} is asked, but the {len(nodes)} nodes of the cluster have {there:g} {unit}"
    if not spread(nodes, asked, asked.gpus != 0 and any(node.gpus for node in nodes)):
        cpus = ", ".join(f"{node.cpus:g}" for node in nodes)
        return (
            f"none of the {len(nodes)} nodes of the cluster can work: they count {cpus} CPUs, and a worker and a model "
            f"need one and {(BASE_BYTES + WORKER_BYTES + (asked.actor_bytes or ACTOR_BYTES)) / GB:.1f} GB"
        )
    return None


def describe(placed: Mapping[str, Placement], asked: Resources) -> str:
    """One line for the log."""
    actors = sum(share.actors for share in placed.values())
    gpus = sum(share.actors * share.actor_gpus for share in placed.values())
    cores = sum(share.cpus for share in placed.values())
    return f"{total_workers(placed, asked)} workers and {actors} models on {len(placed)} nodes with {cores} cores" + (
        f", {gpus:g} GPUs" if gpus else ""
    )
