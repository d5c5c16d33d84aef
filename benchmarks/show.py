"""The figures as tables, in the terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.goals import goals
from fer_batch.page import NONE, environment

WIDTH = 120
"""Columns that the widest table takes."""

STAGES = ("decode", "detect", "align", "score", "write")


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: what it shows.
        note: what one must know to read it.
        head: columns; the first names a row, the others are numbers.
        rows: as many cells each.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def sheets(found: Mapping[str, Any]) -> list[Sheet]:
    """All tables."""
    made = [_goals(found), _stages(found), _further(found), _start_up(found)]
    if found.get("scaling"):
        made.append(_scaling(found["scaling"]))
    if found.get("short"):
        made.append(_short(found["short"]))
    if found.get("peer"):
        made.append(_peer(found["peer"], found["stages"]))
    return made


def print_tables(found: Mapping[str, Any]) -> None:
    """In the terminal."""
    console = Console()
    console.width = max(console.width, WIDTH)  # a terminal breaks lines better than a table its words
    load = found["machine"]["load"]
    console.print(f"Load at the start: {load:.1f}. On a machine that does other things the figures mean little.")
    for sheet in sheets(found):
        table = Table(
            title=sheet.title, caption=sheet.note, box=box.SIMPLE, title_justify="left", caption_justify="left"
        )
        for index, name in enumerate(sheet.head):
            table.add_column(name, justify="right" if index else "left")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)


def write_page(found: Mapping[str, Any], path: Path) -> Path:
    """The same as HTML, without scripts."""
    template = environment(Path(__file__).parent / "templates").get_template("bench.html")
    text = template.render(sheets=sheets(found), machine=found["machine"], script_source="'none'")
    path.write_text(text, encoding="utf-8")
    return path


def _n(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def _goals(found: Mapping[str, Any]) -> Sheet:
    rows = []
    for goal in goals(found):
        limit = f"{'≤' if goal.at_most else '≥'} {goal.limit:g} {goal.unit}".rstrip()
        met = {True: "met", False: "not met", None: "not measured"}[goal.is_met]
        digits = 0 if goal.unit in ("MB", "ms") else 2
        measured = NONE if goal.figure is None else f"{_n(goal.figure, digits)} {goal.unit}".rstrip()
        rows.append((goal.text, measured, limit, met))
    return Sheet("Goals", "For a machine of two cores.", ("goal", "measured", "limit", ""), rows)


def _stages(found: Mapping[str, Any]) -> Sheet:
    rows = []
    for stage in found["stages"]:
        floor, ours = stage["floors"], stage["ours"]
        seconds = {
            **{name: floor.get(f"{name}_s") for name in STAGES},
            "decode": min(floor["reader_s"], floor["plain_s"]),
        }
        rows.append((
            stage["clip"], *(_n(seconds[name]) for name in STAGES), _n(floor["total_s"]), _n(stage["beyond_cpu_s"]),
            _n(stage["cpu_ratio"]), _n(stage["started_cpu_ratio"]), _n(stage["beyond_wall_s"]),
            _n(stage["wall_ratio"]), _n(ours["peak_mb"], 0),
        ))  # fmt: skip
    return Sheet(
        "Floors and runs",
        "CPU seconds of each stage alone, in one process on one thread, on the same frames, and their sum. Then the "
        "run: its CPU seconds and wall time beyond those of a one-second clip, each also in multiples of the sum; "
        "/ sum* leaves out the start of the workers that so short a clip does not need; peak memory of all processes, "
        "MB.",
        ("clip", *STAGES, "sum", "CPU", "/ sum", "/ sum*", "wall", "/ sum", "peak"),
        rows,
    )


def _further(found: Mapping[str, Any]) -> Sheet:
    rows = []
    for stage in found["stages"]:
        more = stage["further"]
        rows.append((
            stage["clip"], _n(stage["floors"]["total_s"]), _n(more["cpu_s"]), _n(more["cpu_ratio"]), _n(more["wall_s"]),
            _n(more["wall_ratio"]),
        ))  # fmt: skip
    return Sheet(
        "Each further minute",
        "What a clip six times as long takes more, divided by five, and in multiples of the floors.",
        ("clip", "floors", "CPU", "/ floors", "wall", "/ floors"),
        rows,
    )


def _start_up(found: Mapping[str, Any]) -> Sheet:
    start = found["start_up"]
    rows = [
        (
            "run of a one-second clip",
            _n(start["whole"]["wall_s"]),
            _n(start["whole"]["first_s"]),
            _n(start["whole"]["cpu_s"]),
        ),
        (
            "the same, --report none",
            _n(start["bare"]["wall_s"]),
            _n(start["bare"]["first_s"]),
            _n(start["bare"]["cpu_s"]),
        ),
        *((name, _n(wall_s), NONE, NONE) for name, wall_s in start["commands"].items()),
        ("start of a worker's process", NONE, NONE, _n(start["worker_cpu_s"])),
    ]
    return Sheet("Start-up", "Seconds.", ("command", "wall", "first result", "CPU"), rows)


def _scaling(scaling: Mapping[str, Any]) -> Sheet:
    long_s = scaling["by_workers_s"]
    runs = {f"no faces, {long_s:,} s, {n} worker{'s' * (int(n) > 1)}": run for n, run in scaling["by_workers"].items()}
    runs |= {f"one face, {seconds} s, 2 workers": run for seconds, run in scaling["by_length"].items()}
    rows = [(name, _n(run["wall_s"]), _n(run["cpu_s"]), _n(run["driver_cpu_s"]), _n(run["peak_mb"], 0))
            for name, run in runs.items()]  # fmt: skip
    note = (
        "Each measured once, start-up included; seconds and MB. "
        f"A second worker gains {scaling['gain']:.2f} times beyond start-up."
    )
    return Sheet("By workers and by length", note, ("run", "wall", "CPU", "driver's CPU", "peak"), rows)


def _short(short: Mapping[str, Any]) -> Sheet:
    rows = [
        ("CPU a clip, beyond start-up", f"{_n(short['cpu_ms'], 1)} ms"),
        ("its floor", f"{_n(short['floor_ms'], 1)} ms"),
        ("overhead", f"{_n(short['overhead_ms'], 1)} ms"),
        ("wall time a clip", f"{_n(short['wall_ms'], 1)} ms"),
        ("all of them", f"{_n(short['ours']['wall_s'], 1)} s"),
        ("the same command again, with nothing to do", f"{_n(short['again_wall_s'], 1)} s"),
    ]
    return Sheet(
        f"{short['number']:,} clips of one second", "480p, one face, two samples each.", ("", "measured"), rows
    )


def _peer(peers: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]) -> Sheet:
    by_clip = {stage["clip"]: stage for stage in stages}
    rows = []
    for peer in peers:
        stage = by_clip[peer["clip"]]
        ours, steady_s = stage["ours"], stage["further"]["wall_s"]
        rows += [
            (f"{peer['clip']}: fer", _n(peer["start_s"]), _n(peer["steady_s"]), _n(peer["wall_s"]), _n(peer["cpu_s"]),
             _n(peer["peak_mb"], 0), str(peer["frames_with_faces"])),
            ("the same: fer-batch", _n(ours["wall_s"] - steady_s), _n(steady_s), _n(ours["wall_s"]),
             _n(ours["cpu_s"]), _n(ours["peak_mb"], 0), str(ours["faces"])),
        ]  # fmt: skip
    note = (
        "The same frames. Seconds and MB; steady is what each further minute takes, start-up all else. Detectors and "
        "models differ."
    )
    head = ("", "start-up", "steady", "all told", "CPU", "peak", "frames with a face")
    return Sheet("Beside a peer", note, head, rows)
