"""The planner's arithmetic on round figures, and the driver driven on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.paper_run import paper_run
from benchmarks.planner import Costs, Kind, planned, table, unit_hours
from fer_batch.store import Run

COSTS = Costs(cpu_s=300, score_s=60, gpu_s=6, read_gb=4.5, source="made up")
"""An hour of video costs a core six minutes, so a core does ten hours an hour."""


def test_cores_then_storage_limit_a_fleet_without_gpus() -> None:
    kind = Kind(cores=8, gpus=0, price=0.5, storage_gbps=10, writes=1e9)
    small = planned(COSTS, kind, 10, video_s=600)
    assert (small.nodes, small.first) == (2, "cores")
    assert small.rate == pytest.approx(160)
    large = planned(COSTS, kind, 1000, video_s=600)
    assert large.first == "storage, reading"
    assert large.rate == pytest.approx(1000)  # 1.25 GB/s, 4.5 GB an hour of video
    assert large.limits["cores"] == pytest.approx(10_000)
    line = table(COSTS, kind, [1000], 600)[1].split()
    assert line[:5] == ["1000", "125", "6,000", "1,000", "62.50"]  # 62.5 an hour for 1,000 hours of video an hour


def test_gpus_take_the_model_from_the_cores() -> None:
    kind = Kind(cores=8, gpus=1, price=1, storage_gbps=1e9, writes=1e9)
    found = planned(COSTS, kind, 8, video_s=600)
    assert found.first == "cores"
    assert found.rate == pytest.approx(96)
    assert found.limits["GPUs"] == pytest.approx(600)


def test_units_are_a_minute_of_work_whatever_the_videos_are() -> None:
    assert unit_hours(COSTS, 10) * 3600 == pytest.approx(600)  # 60 short videos share one
    assert unit_hours(COSTS, 36_000) * 3600 == pytest.approx(900)  # a long one is cut
    assert unit_hours(COSTS, 1) * 3600 == pytest.approx(500)  # no more than 500 share one


def test_the_driver_is_really_driven_and_the_ledger_really_joined(tmp_path: Path) -> None:
    found = paper_run(tmp_path, 3000, workers=10, seconds=10)
    ledger = Run(tmp_path).videos()
    assert len(ledger) == 3000
    assert ledger["path"].to_pylist() == sorted(ledger["path"].to_pylist())
    assert not Run(tmp_path).ledger_part_files()
    assert found["tasks"] == -(-3000 // 16) + found["units"]
    assert found["units"] >= 3000 / 60  # a unit is a minute of work, and such a video a second of it
