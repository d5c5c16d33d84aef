"""The goals on a machine of two cores, and how near the figures come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A goal and what was measured.

    Attributes:
        text: what is measured.
        figure: what was found; None if it was not measured.
        limit: what it should be.
        at_most: the figure should be at most the limit, else at least.
        unit: of both.
    """

    text: str
    figure: float | None
    limit: float
    at_most: bool = True
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """None if it was not measured."""
        if self.figure is None:
            return None
        return self.figure <= self.limit if self.at_most else self.figure >= self.limit


def goals(found: Mapping[str, Any]) -> list[Goal]:
    """The goals, from the figures of all parts; see :mod:`benchmarks.parts`."""
    start, stages = found["start_up"], found["stages"]
    scaling, short = found.get("scaling"), found.get("short")
    return [
        Goal(
            "CPU beyond a one-second clip's / sum of the floors, worst clip",
            max(stage["cpu_ratio"] for stage in stages),
            1.25,
        ),
        Goal(
            "the same, without the start of the second worker",
            max(stage["started_cpu_ratio"] for stage in stages),
            1.25,
        ),
        Goal(
            "wall time beyond a one-second clip's / sum of the floors, worst clip",
            max(stage["wall_ratio"] for stage in stages),
            0.7,
        ),
        Goal(
            "CPU of each further minute / sum of the floors, worst clip",
            max(stage["further"]["cpu_ratio"] for stage in stages),
            1.25,
        ),
        Goal(
            "wall time of each further minute / sum of the floors, worst clip",
            max(stage["further"]["wall_ratio"] for stage in stages),
            0.7,
        ),
        *_against_peers(found),
        Goal("first result after the command", start["whole"]["first_s"], 8, unit="s"),
        Goal("a short clip, all told", start["whole"]["wall_s"], 10, unit="s"),
        Goal("--help", start["commands"]["--help"], 1, unit="s"),
        Goal("overhead of a one-second clip, CPU", short and short["overhead_ms"], 50, unit="ms"),
        Goal("peak memory of all processes", _peak(found), 2500, unit="MB"),
        Goal("peak of the longest clip / of the shortest", scaling and _growth(scaling), 1.1),
        Goal("gain of a second worker, no faces", scaling and scaling["gain"], 1.8, at_most=False),
        Goal(
            "driver's CPU / wall time, beyond its start-up",
            scaling and 100 * scaling["driver_share_of_wall"],
            3,
            unit="%",
        ),
    ]


def _against_peers(found: Mapping[str, Any]) -> list[Goal]:
    by_clip = {stage["clip"]: stage for stage in found["stages"]}
    if not found.get("peer"):
        texts = ("times faster than fer, steady", "times faster than fer, start-up counted")
        return [Goal(text, None, limit, at_most=False) for text, limit in zip(texts, (15, 5), strict=True)]
    goals = []
    for peer in found["peer"]:
        clip = by_clip[peer["clip"]]
        steady, whole = peer["steady_s"] / clip["further"]["wall_s"], peer["wall_s"] / clip["ours"]["wall_s"]
        goals += [
            Goal(f"times faster than fer, steady: {peer['clip']}", steady, 15, at_most=False),
            Goal(f"times faster than fer, start-up counted: {peer['clip']}", whole, 5, at_most=False),
        ]
    return goals


def _peak(found: Mapping[str, Any]) -> float:
    runs = [stage["ours"] for stage in found["stages"]]
    if found.get("scaling"):
        runs += found["scaling"]["by_length"].values()
    return max(float(run["peak_mb"]) for run in runs)


def _growth(scaling: Mapping[str, Any]) -> float:
    peaks = [float(run["peak_mb"]) for run in scaling["by_length"].values()]
    return peaks[-1] / peaks[0]
