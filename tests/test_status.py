"""``fer-batch status`` of runs in every state, as they lie on disk."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fer_batch.bundle import ModelBundle
from fer_batch.commit import Counts, create_folders
from fer_batch.config import RunConfig
from fer_batch.discover import Discovery
from fer_batch.lease import Lease
from fer_batch.progress import Progress
from fer_batch.run_folder import RunState
from jobs.status import status

BUNDLE = cast(
    "ModelBundle",
    SimpleNamespace(name="tiny", sha256="0" * 64, input_size=32, figures_in=lambda _precision: {}, provenance={}),
)
HALF_WAY = Progress("running", counts=Counts(ok=3, failed=1, frames=70, faces=40, tracks=9), found=12, all_found=True)


@pytest.fixture
def state(tmp_path: Path) -> RunState:
    path = tmp_path / "run"
    create_folders(path)
    return RunState(path, RunConfig(), BUNDLE, Discovery([str(tmp_path)], (), (), leave_out=path))


def said(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    status(path, everything=False, as_json=False)
    return capsys.readouterr().out


def test_while_it_runs_the_total_is_known(
    state: RunState, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_batch.run_folder.FOLLOW_S", 0.0)
    with Lease(tmp_path / "run" / "work" / "lease.json"):
        state.follow(HALF_WAY)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["counts"]["faces"] == 40
        assert said(tmp_path / "run", capsys).startswith("running (updated ")
        assert "0 of 12 videos in the ledger" in said(tmp_path / "run", capsys)
    # Nobody holds the lease and the state still says running: it was killed.
    text = said(tmp_path / "run", capsys)
    assert text.startswith("broken off (updated ")
    assert "the same command goes on" in text
    status(tmp_path / "run", everything=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["state"] == "broken off"


def test_run_json_is_not_written_at_every_step(state: RunState, tmp_path: Path) -> None:
    before = (tmp_path / "run" / "run.json").read_bytes()
    state.follow(HALF_WAY)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_interrupted_says_how_to_go_on(state: RunState, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.count(HALF_WAY.counts, 12)
    state.write("interrupted")
    text = said(tmp_path / "run", capsys)
    assert text.startswith("interrupted (updated ")
    assert "0 of 12 or more videos in the ledger" in text
    assert "the same command goes on" in text
