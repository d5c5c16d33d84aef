"""The nodes that a run works on right now: who has room for a task, who came, who was lost, what is asked for more.

The shares themselves are worked out in :mod:`fer_batch.nodes`. Knows nothing of Ray: what tells the nodes and what
asks an autoscaler for more is given to it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from fer_batch.config import Resources
from fer_batch.errors import RefusedError, StoppedError
from fer_batch.nodes import Node, choose, describe, request, shortage, spread, total_workers
from fer_batch.resources import Placement

log = logging.getLogger("fer_batch")

LOOK_S = 5.0
"""How often the nodes are looked at."""

DISTRUST_S = 60.0
"""A node on which a task was lost gets no more for so long: a cluster takes up to half a minute to see that it died."""

HERE = "here"
"""The only node of a local run."""

Ask = Callable[[list[dict[str, float]]], None]


class Fleet:
    """The nodes, and how many tasks each has.

    Args:
        asked: limits of the run as a whole.
        on_gpu: models run on GPUs.
        look: tells the nodes that are there.
        ask: tells the cluster's autoscaler, where it has one, what to make room for; None on this machine alone.
        clock: seconds, monotonic.

    Attributes:
        placed: what each node holds.
        on_gpu: models run on GPUs.
    """

    def __init__(
        self,
        asked: Resources,
        on_gpu: bool,
        look: Callable[[], Sequence[Node]],
        ask: Ask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.placed: dict[str, Placement] = {}
        self.on_gpu = on_gpu
        self._asked = asked
        self._look, self._ask, self._clock = look, ask, clock
        self._order: list[str] = []
        self._distrusted: dict[str, float] = {}
        self._busy: Counter[str] = Counter()
        self._next_look = -1.0
        self._requested = 0
        self.refresh()

    @classmethod
    def here(cls, placement: Placement) -> Fleet:
        """This machine alone, with the share that was worked out for it."""
        fleet = cls(Resources(workers=placement.workers), placement.actor_gpus > 0, lambda: ())
        fleet.placed = {HERE: placement}
        fleet._next_look = float("inf")
        return fleet

    @property
    def size(self) -> int:
        """Tasks that are worked on at the same time."""
        return max(1, total_workers(self.placed, self._asked))

    def refresh(self, now: bool = False) -> bool:
        """Look at the nodes if it is time; tells whether others came or went."""
        if not now and self._clock() < self._next_look:
            return False
        self._next_look = self._clock() + LOOK_S
        there = {node.id: node for node in self._look()}
        self._distrusted = {name: end for name, end in self._distrusted.items() if end > self._clock()}
        self._order = [name for name in self._order if name in there]
        self._order += [name for name in there if name not in self._order]
        nodes = [there[name] for name in self._order if name not in self._distrusted]
        before, self.placed = self.placed, spread(nodes, self._asked, self.on_gpu)
        if before == self.placed:
            return False
        if self.placed:
            log.info("%s", self.describe())
        return True

    def describe(self) -> str:
        """One line for the log."""
        if HERE in self.placed:
            return self.placed[HERE].describe()
        return describe(self.placed, self._asked)

    def ready(self) -> bool:
        """Whether somebody can decode and somebody can score."""
        return any(share.workers for share in self.placed.values()) and any(
            share.actors for share in self.placed.values()
        )

    def wait(self, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait until there are nodes to work on again.

        Raises:
            StoppedError: there are still none after `seconds`.
        """
        end = self._clock() + seconds
        while not self.ready():
            if self._clock() >= end:
                raise StoppedError(
                    f"all nodes of the cluster were lost, and none came for {seconds:g} s (--wait-for-resources waits "
                    "longer). The same command goes on"
                )
            self.expect(1, again=True)
            sleep(1.0)
            self.refresh(now=True)

    def take(self) -> str:
        """The node for the next task, which then counts as busy with it; only while :meth:`ready`."""
        name = choose(self.placed, self._busy)
        assert name is not None  # noqa: S101 - ready() said so
        self._busy[name] += 1
        return name

    def done(self, name: str) -> None:
        """A task of this node ended."""
        self._busy[name] -= 1
        if not self._busy[name]:
            del self._busy[name]

    def lost(self, name: str) -> None:
        """A task ended because its node died."""
        if name not in self._distrusted:
            log.warning("node %s was lost; its tasks are done elsewhere", name)
        self._distrusted[name] = self._clock() + DISTRUST_S
        self.refresh(now=True)

    def expect(self, units: int, again: bool = False) -> None:
        """Ask the autoscaler for room for so many units; only where that changes much."""
        if self._ask is None:
            return
        few, many = sorted((units, self._requested))
        if again or many > 1.2 * few or (many and not few):
            self._requested = units
            self._ask(request(units, self._asked, self.on_gpu) if units else [])


def gathered(
    asked: Resources,
    look: Callable[[], Sequence[Node]],
    ask: Ask,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Fleet:
    """A cluster's nodes, once there are as many as are asked for; until then the autoscaler hears what is missing.

    Raises:
        RefusedError: they did not come within ``asked.wait_s``; with the sums.
    """
    end = clock() + asked.wait_s
    while (lack := shortage(asked, nodes := look())) is not None:
        if clock() >= end:
            raise RefusedError(
                f"{lack}; waited {asked.wait_s:g} s for more. Ask for less, add nodes, or wait longer with "
                "--wait-for-resources"
            )
        ask(request(asked.cpus or 1, asked, bool(asked.gpus)))
        sleep(min(1.0, asked.wait_s))
    return Fleet(asked, asked.gpus != 0 and any(node.gpus for node in nodes), look, ask, clock)
