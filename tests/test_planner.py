"""The planner's arithmetic on round figures, and the driver driven on paper."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from benchmarks.paper_run import paper_run
from benchmarks.planner import Costs, Kind, costs_of, measured_here, parser, planned, table, unit_hours
from fer_batch.bundle import ModelBundle
from fer_batch.score import Scorer
from fer_batch.store import Run
from tests.clips import Clips
from tests.conftest import ROOT
from tests.faults.inline import Inline, Scores, on

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


def test_costs_are_measured_by_a_run_that_leaves_nothing(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("psutil.getloadavg", lambda: (0.0, 0.0, 0.0))
    with on(Inline(Scores(Scorer(tiny, threads=1)))):
        costs = costs_of(parser().parse_args(["--measure", str(clips.one_face.path), "--gpu-faces", "1000"]))
    assert list(tmp_path.iterdir()) == []
    assert costs.source == f"measured now, on 0.1 minutes of {clips.one_face.path}"
    size = clips.one_face.path.stat().st_size
    assert costs.read_gb == pytest.approx(2 * size / 1e9 / (6 / 3600), rel=0.02)  # six seconds, read twice
    assert 1 < costs.cpu_s < 10 * 3600  # between 3,600 times and a tenth of real time
    assert costs.gpu_s > 0


def test_a_busy_machine_is_said_to_be_one(clips: Clips, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.getloadavg", lambda: (100.0, 0.0, 0.0))
    with on(Inline(Scores(Scorer(tiny, threads=1)))):
        assert "the machine was busy before" in measured_here([clips.one_face.path], 1000).source


def test_the_table_in_the_documentation_is_the_planners() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    rows = [[cell.strip().replace(",", "") for cell in line.split("|")[1:-2]]
            for line in page.splitlines() if re.match(r"\| [\d,]+ \|", line)]  # fmt: skip
    asked = parser().parse_args(["--cores", "16", "--price", "0.60"])
    kind = Kind(asked.cores, asked.gpus, asked.price, asked.storage, asked.writes)
    lines = table(costs_of(asked), kind, [16, 160, 1600], 600)[1:]
    assert rows == [line.replace(",", "").split()[:5] for line in lines]
