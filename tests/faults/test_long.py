"""Long videos and many videos: memory stays flat, nothing drifts, nothing is miscounted."""

from __future__ import annotations

import json
import math
import statistics
import struct
import subprocess
import sys
import tracemalloc
from collections import deque
from collections.abc import Collection
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pyarrow.compute as pc
import pytest

from fer_batch import Run, RunConfig
from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts
from fer_batch.discover import Discovery
from fer_batch.driver import Driver, Join, Outcome, Probe, Task
from fer_batch.probe import Cut, VideoInfo
from fer_batch.process import CropSpec, RunContext, Seconds
from fer_batch.progress import Progress
from fer_batch.schedule import Schedule
from fer_batch.store import write_json
from fer_batch.todo import ToDo
from fer_batch.worker import Probed, UnitDone
from tests.clips import Person, build, still
from tests.conftest import ROOT
from tests.tiny import TEMPLATE

BYTES_A_VIDEO = 600
"""What the driver may keep of a video: hashes of its path, and its id. Measured: 207 in Python's own count, 324 of the
process' memory, Ray's share included."""

STEP = Fraction(1001, 10_000)
"""Seconds from frame to frame of the long clip: in whole milliseconds they would drift."""

FRAMES, COPIES = 600, 180

SETTLING = 5
"""Looks at a process whose median is where its growth is counted from."""


def write_long(path: Path) -> None:
    """Three hours: the packets of a minute, again and again, each time a minute later."""
    minute = path.with_name("minute.mp4")
    build(minute, [i * STEP for i in range(FRAMES)], [Person("astronaut", still(80, 62, 70))], size=(160, 120), gop=100)
    with av.open(minute) as source, av.open(path, "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.size]
        assert given.time_base is not None
        later = int(FRAMES * STEP / given.time_base)
        times = [(packet.pts, packet.dts) for packet in packets]
        for copy in range(COPIES):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                assert pts is not None
                assert dts is not None
                packet.pts, packet.dts, packet.stream = pts + copy * later, dts + copy * later, stream
                target.mux(packet)


def watched_run(inputs: Path, model: Path, fps: Fraction, tmp_path: Path) -> tuple[Run, list[dict[str, Any]]]:
    looks = tmp_path / "looks.json"
    command = [sys.executable, "-m", "tests.faults.memory", inputs, tmp_path / "out", model, str(fps), looks]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Run(tmp_path / "out"), list(map(json.loads, looks.read_text().splitlines()))


def kind_of(title: str) -> str:
    """What a process is, from its title: the driver, a worker, an actor, or a part of Ray."""
    if title.startswith("ray::"):
        return "actor" if title.startswith("ray::EmotionActor") else "worker"
    return title


def growth(looks: list[dict[str, Any]]) -> dict[str, float]:
    """MB by which each process grew, at its most, after a tenth of the time in which units were worked on.

    A worker that is started later counts from its first unit on.
    """
    working = [look for look in looks if look["phase"] == "running" and any(map(has_model, titles(look)))]
    working = working[next(i for i, look in enumerate(working) if any("_unit_task" in each for each in titles(look))) :]
    begun, ended = working[0]["at_s"], working[-1]["at_s"]
    held: dict[str, list[int]] = {}
    for look in looks:
        if begun + (ended - begun) / 10 <= look["at_s"] <= ended:
            for pid, (title, size) in look["held"].items():
                name = f"{kind_of(title)} {pid}"
                if kind_of(title) != "worker" or "_unit_task" in title or name in held:
                    held.setdefault(name, []).append(size)
    assert max(map(len, held.values())) > 10
    return {name: grown_mb(sizes) for name, sizes in held.items() if len(sizes) > SETTLING}


def titles(look: dict[str, Any]) -> list[str]:
    return [title for title, _ in look["held"].values()]


def has_model(title: str) -> bool:
    return kind_of(title) == "actor" and "__init__" not in title


def grown_mb(sizes: list[int]) -> float:
    """From the median of the first looks."""
    return round((max(sizes) - statistics.median(sizes[:SETTLING])) / 1e6, 1)


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(7200)
def test_three_hours(tiny: ModelBundle, tmp_path: Path, record_property: Any) -> None:
    path = tmp_path / "long.mp4"
    write_long(path)
    fps = Fraction(1, 2)
    run, looks = watched_run(path, tiny.path, fps, tmp_path)
    n_frames = FRAMES * COPIES
    wanted = sorted({math.ceil(k / fps / STEP) for k in range(math.ceil(n_frames * STEP * fps))} - {n_frames})
    assert n_frames * STEP > 3 * 3600
    frames = run.frames()
    assert frames["frame_index"].to_pylist() == wanted
    assert frames["timestamp_ms"].to_pylist() == [math.floor(index * STEP * 1000) for index in wanted]
    assert frames["timestamp_ms"][-1].as_py() > 3 * 3600 * 1000
    (row,) = run.videos().to_pylist()
    assert (row["status"], row["n_frames"], row["n_sampled"]) == ("ok", n_frames, len(wanted))
    assert row["duration_ms"] == math.floor(n_frames * STEP * 1000)
    assert row["n_faces"] == len(run.faces()) > 0.99 * len(wanted)
    assert row["sampled_ms"] == row["duration_ms"] == pc.sum(frames["duration_ms"]).as_py()
    grew = growth(looks)
    record_property("grew_mb", grew)
    print(json.dumps({"frames": n_frames, "samples": len(wanted), "looks": len(looks), "grew_mb": grew}))
    assert {name.split()[0] for name in grew} >= {"driver", "worker", "actor"}
    assert max(grew.values()) < 50, grew


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(7200)
def test_five_thousand_clips(tiny: ModelBundle, tmp_path: Path, record_property: Any) -> None:
    n_videos = 5000
    folder = tmp_path / "in"
    for number in range(50):
        (folder / f"{number:02d}").mkdir(parents=True)
    times = [Fraction(i, 4) for i in range(4)]
    content = build(
        tmp_path / "clip.mp4", times, [Person("hopper", still(80, 62, 70))], size=(160, 120)
    ).path.read_bytes()
    for number in range(n_videos):  # a box that nobody reads makes each another video
        file = folder / f"{number % 50:02d}" / f"{number}.mp4"
        file.write_bytes(content + struct.pack(">I4sQ", 16, b"free", number))
    run, looks = watched_run(folder, tiny.path, Fraction(1), tmp_path)
    counts = run.info["counts"]
    assert {counts[name] for name in ("files", "ok", "frames", "faces")} == {n_videos}
    assert len(set(run.videos()["video_id"].to_pylist())) == n_videos
    assert len(list(run.faces_dir.iterdir())) < n_videos / 20  # short videos share files

    def first(name: str, part: float) -> dict[str, Any]:
        return next(look for look in looks if look[name] >= part * n_videos)

    def driver(phases: Collection[str], since: float = 0.1) -> list[int]:
        seen = [look for look in looks if look["found"] >= n_videos * since and look["phase"] in phases]
        return [size for look in seen for title, size in look["held"].values() if title == "driver"]

    since = 0.45  # from here on as many videos wait for a worker as ever will
    quarters = [first("videos", part) for part in (0.25, 0.5, 0.75, 0.99)]
    figures: dict[str, Any] = {
        "driver_grew_mb": grown_mb(driver(["running"])),
        "driver_bytes_a_video": round(1e6 * grown_mb(driver(["running"], since)) / ((1 - since) * n_videos)),
        "joining_the_ledger_took_mb": round(
            (max(driver(["running", "finishing"])) - max(driver(["running"]))) / 1e6, 1
        ),
        "grew_mb": growth(looks),
        **{
            f"{name}_of_the_{which}_quarter": round(quarters[last][name] - quarters[last - 1][name], 1)
            for name in ("driver_cpu_s", "at_s")
            for which, last in (("second", 1), ("last", 3))
        },
    }
    record_property("figures", figures)
    print(json.dumps(figures))
    assert max(figures["grew_mb"].values()) < 50, figures
    assert figures["driver_grew_mb"] < 10, figures  # what libraries set aside, and what waits for a worker, included
    assert figures["driver_bytes_a_video"] < BYTES_A_VIDEO, figures
    assert figures["joining_the_ledger_took_mb"] < 250, figures  # at once, and no more for a million


class PaperWorkers:
    """Find every file to be a video and every unit to succeed, at once."""

    size = 2

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def expect(self, units: int) -> None:
        pass

    def start(self, task: Task) -> None:
        self._tasks.append(task)

    def running(self) -> Collection[Task]:
        return self._tasks

    def finished(self) -> list[tuple[Task, Outcome]]:
        task = self._tasks.popleft()
        if isinstance(task, Probe):
            return [(task, Probed([video(Path(str(path))) for path in task.paths], Counts(), []))]
        if isinstance(task, Join):
            return [(task, Counts(ok=1))]
        done = Counts(ok=sum(segment.is_whole for segment in task.segments))  # others are done when they are joined
        return [(task, UnitDone(done, Seconds(), 20, 20, [], []))]

    def cancel(self) -> None:
        pass


def video(path: Path) -> VideoInfo:
    """A minute of 720p, with a place to cut every two seconds."""
    cuts = tuple(Cut(i * 60, i * 60, i * 60 - 1) for i in range(30))
    return VideoInfo(
        path=path, video_id=f"v{hash(path):020d}", size_bytes=10**9, mtime_ns=10**18, container="mov,mp4", codec="h264",
        stream_index=0, width=1280, height=720, rotation=0, sample_aspect=Fraction(1), time_base=Fraction(1, 30),
        start_pts=0, end_pts=1800, n_frames=1800, is_vfr=False, timing="packets", broken_at_ms=None,
        cuts=cuts,
    )  # fmt: skip


def test_the_driver_keeps_little_of_a_video(tmp_path: Path) -> None:
    """Real discovery, schedule and driver; tasks that take no time, so that thousands of videos pass in seconds."""
    n_videos = 3000
    for number in range(60):
        (tmp_path / "in" / f"folder {number}").mkdir(parents=True)
    for number in range(n_videos):
        (tmp_path / "in" / f"folder {number % 60}" / f"a recording with a longer name {number}.mp4").touch()
    write_json(tmp_path / "run.json", {})
    config = RunConfig()
    context = RunContext(tmp_path, config, tmp_path, CropSpec(TEMPLATE, 48, 1), {})
    discovery = Discovery([str(tmp_path / "in")])
    todo = ToDo(discovery, Run(tmp_path), retry_failed=False)
    held: dict[int, int] = {}

    def look(progress: Progress) -> None:
        held[progress.n_videos] = tracemalloc.get_traced_memory()[0]

    schedule = Schedule(config, 2, lambda _video_id: [])
    driver = Driver(context, PaperWorkers(), schedule, iter(todo), todo.counts, look, todo.snapshot)
    tracemalloc.start()
    try:
        driver.run()
    finally:
        tracemalloc.stop()
    assert driver.counts.ok == n_videos
    at = [next(done for done in sorted(held) if done >= n_videos * tenth // 10) for tenth in range(1, 10)]
    slopes = sorted((held[b] - held[a]) / (b - a) for a, b in pairwise(at))
    # Without the tenth in which Python's own table of interned strings may have grown.
    a_video = statistics.fmean(slopes[:-1])
    print(f"the driver keeps {a_video:.0f} bytes a video")
    assert 0 < a_video < BYTES_A_VIDEO
