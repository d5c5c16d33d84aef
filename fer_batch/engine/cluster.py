"""The nodes of the cluster that was joined."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_batch.config import Resources
from fer_batch.errors import RefusedError
from fer_batch.fleet import HERE, Fleet, gathered
from fer_batch.memory_only import REMEDY, why_not
from fer_batch.nodes import Node

log = logging.getLogger("fer_batch")

PROOF_S = 60.0
"""How long a node that came is waited for to say how it keeps objects."""


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
            ask = ray.remote(why_not).options(num_cpus=0, **on_node(node.id))
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


def on_node(node: str) -> dict[str, Any]:
    """Options that place a task or an actor."""
    return {} if node == HERE else {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
