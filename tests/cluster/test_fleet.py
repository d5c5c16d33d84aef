"""Which node gets what, and what becomes of it when nodes come and go: no Ray, known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fer_batch import RefusedError, Resources, StoppedError
from fer_batch.fleet import DISTRUST_S, HERE, LOOK_S, Fleet, gathered
from fer_batch.nodes import Node, choose, request, shortage, spread, total_workers
from fer_batch.resources import GB, place

CLUSTER = Resources(address="head:6379")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_without_gpus_each_node_decodes_and_scores_for_itself() -> None:
    placed = spread([Node("head", 0, 0), Node("small", 2, 0), Node("large", 16, 0)], CLUSTER, on_gpu=False)
    assert {name: (share.workers, share.actors) for name, share in placed.items()} == {
        "small": (2, 1),
        "large": (16, 2),
    }
    for share in placed.values():  # what is placed fits, or workers would wait for ever
        assert share.workers * share.worker_cpus + share.actors * share.actor_cpus <= share.cpus
        assert share.actor_gpus == 0


def test_with_gpus_models_live_beside_them_and_workers_go_elsewhere_first() -> None:
    nodes = [Node("gpu", 8, 2), Node("cpu", 4, 0)]
    placed = spread(nodes, CLUSTER, on_gpu=True)
    assert (placed["gpu"].actors, placed["gpu"].actor_gpus) == (2, 1)
    assert (placed["cpu"].actors, placed["cpu"].workers, placed["cpu"].worker_cpus) == (0, 4, 1)
    busy: dict[str, int] = {}
    order = []
    for _ in range(12):
        name = choose(placed, busy)
        assert name is not None
        busy[name] = busy.get(name, 0) + 1
        order.append(name)
    assert order == ["cpu"] * 4 + ["gpu"] * 8  # spare cores beside the GPUs come last
    assert choose(placed, busy) in placed  # and beyond that somebody queues it


def test_limits_of_the_whole_run_and_of_each_node() -> None:
    nodes = [Node("a", 8, 1), Node("b", 8, 1), Node("c", 8, 1)]
    asked = Resources(address="x", gpus=2, workers=5)
    placed = spread(nodes, asked, on_gpu=True)
    assert [placed[name].actors for name in "abc"] == [1, 1, 0]
    assert total_workers(placed, asked) == 5
    assert [share.actors for share in spread(nodes, Resources(address="x", actors=2), False).values()] == [1, 1, 0]
    tight = spread([Node("tight", 8, 0, int(2.6 * GB)), Node("tiny", 8, 0, GB)], CLUSTER, on_gpu=False)
    assert {name: share.workers for name, share in tight.items()} == {"tight": 2}  # 0.75 + 0.2 + 0.9 + 2 x 0.35 GB


def test_nodes_that_are_there_keep_their_share_when_others_come() -> None:
    asked = Resources(address="x", gpus=1)
    few = spread([Node("b", 4, 1)], asked, on_gpu=True)
    more = spread([Node("b", 4, 1), Node("a", 4, 1)], asked, on_gpu=True)
    assert more["b"] == few["b"]
    assert more["a"].actors == 0


def test_what_an_autoscaler_is_asked_for_follows_the_queue() -> None:
    assert request(3, CLUSTER, on_gpu=False) == [{"CPU": 1.0}] * 3
    assert request(100, Resources(workers=40), on_gpu=False) == [{"CPU": 1.0}] * 40
    many = request(100, CLUSTER, on_gpu=True)
    assert [bundle for bundle in many if "GPU" in bundle] == [{"CPU": 1.0, "GPU": 1.0}] * 4
    half = request(10, Resources(gpus=0.5), on_gpu=True)
    assert half[-1] == {"CPU": 1.0, "GPU": 0.5}

    asked: list[int] = []
    fleet = Fleet(CLUSTER, False, lambda: [Node("a", 4, 0)], lambda bundles: asked.append(len(bundles)))
    for units in (10, 11, 9, 50, 4, 0, 0):
        fleet.expect(units)
    assert asked == [10, 50, 4, 0]  # not for every little change, and nothing is held at the end


def test_a_lost_node_gets_nothing_until_the_cluster_has_had_time_to_notice() -> None:
    time = Time()
    nodes = [Node("a", 2, 0), Node("b", 2, 0)]
    fleet = Fleet(CLUSTER, False, lambda: nodes, clock=time)
    assert fleet.size == 4
    taken = {fleet.take() for _ in range(4)}
    assert taken == {"a", "b"}
    fleet.lost("a")  # the cluster still counts it
    assert list(fleet.placed) == ["b"]
    fleet.done("a")
    assert fleet.take() == "b"
    time.sleep(DISTRUST_S + LOOK_S)
    assert fleet.refresh()
    assert set(fleet.placed) == {"a", "b"}
    nodes.append(Node("c", 6, 0))
    time.sleep(LOOK_S)
    assert fleet.refresh()
    assert fleet.size == 10


def test_all_nodes_lost_is_waited_for_then_said() -> None:
    time = Time()
    nodes: list[Node] = []
    fleet = Fleet(CLUSTER, False, lambda: nodes, clock=time)
    with pytest.raises(StoppedError, match="all nodes of the cluster were lost, and none came for 30 s"):
        fleet.wait(30, time.sleep)
    assert 30 <= time.now <= 32

    def later(seconds: float) -> None:
        time.sleep(seconds)
        if time.now > 40:
            nodes[:] = [Node("new", 2, 0)]

    fleet.wait(30, later)
    assert fleet.take() == "new"


def test_a_run_waits_for_what_is_asked_and_is_refused_with_the_sums() -> None:
    time = Time()
    asked_for: list[Any] = []

    def look() -> Sequence[Node]:
        return [Node("head", 0, 0), *(Node(f"n{i}", 4, 0) for i in range(int(time.now // 10)))]

    asked = Resources(address="x", cpus=12, wait_s=60)
    fleet = gathered(asked, look, asked_for.append, time, time.sleep)
    assert time.now == 30
    assert fleet.size == 12
    assert asked_for[0] == [{"CPU": 1.0}] * 12
    time.now = 0
    with pytest.raises(RefusedError, match=r"--gpus 2 is asked, but the 3 nodes .* have 0 GPUs; waited 25 s"):
        gathered(Resources(address="x", gpus=2, wait_s=25), look, asked_for.append, time, time.sleep)
    with pytest.raises(RefusedError, match="waited 0 s"):
        gathered(Resources(address="x", cpus=99, wait_s=0), look, asked_for.append, time, time.sleep)
    assert "none of the 1 nodes of the cluster can work: they count 0 CPUs" in str(shortage(CLUSTER, [Node("h", 0, 0)]))


def test_this_machine_alone_is_a_fleet_of_one() -> None:
    placement = place(Resources(cpus=4), 4, 0)
    fleet = Fleet.here(placement)
    assert (fleet.size, fleet.ready()) == (4, True)
    assert fleet.take() == HERE
    assert not fleet.refresh()
    assert fleet.describe() == "4 workers and 1 model on 4 cores"
