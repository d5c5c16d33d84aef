"""Job files carried out on real videos, from the command to the pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from jobs.init import JOB, PARTICIPANTS
from tests.clips import Clips
from tests.jobs.command import fer_batch
from tests.jobs.filled import purpose_toml

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

ANSWERS = {
    'title = ""': 'title = "A test"',
    "jurisdiction = []": 'jurisdiction = ["DE"]',
    "informed = false": "informed = true",
    'legal_basis = ""': 'legal_basis = "consent"',
    "min_group = 5": "min_group = 2",
    "resamples = 9999": "resamples = 999",
}


def started(kind: str, folder: Path, clips: Clips, tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job as init writes it, with what its user fills in, and two videos."""
    assert fer_batch(monkeypatch, "init", kind, "--out", folder) == 0
    (folder / "recordings").mkdir()
    for name, clip in (("anna", clips.one_face), ("ben", clips.two_faces)):
        shutil.copy(clip.path, folder / "recordings" / f"{name}.mp4")
    text = (folder / JOB).read_text()
    for empty, full in (ANSWERS | {'name = "compact"': f'name = "{tiny.path}"'}).items():
        assert empty in text, empty
        text = text.replace(empty, full)
    (folder / JOB).write_text(text)
    return folder / JOB


def test_customer_feedback_from_init_to_its_page(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    job = started("customer_feedback", tmp_path, clips, tiny, monkeypatch)
    table = tmp_path / PARTICIPANTS
    head = table.read_text(encoding="utf-8-sig").strip().split(",")
    rows = [
        {"participant": name, "video": f"{name}.mp4", "person": "largest", "stimulus": stimulus, "start_ms": start,
         "end_ms": start + 1500, "order": order, "age_group": age}
        for name, age, stimuli in (("anna", "18-29", ("advert", "song")), ("ben", "30-49", ("song", "advert")))
        for order, (stimulus, start) in enumerate(zip(stimuli, (0, 2000), strict=True), 1)
    ]  # fmt: skip
    table.write_text("\n".join([",".join(head), *(",".join(str(row.get(name, "")) for name in head) for row in rows)]))
    (tmp_path / "stimuli").mkdir()
    shutil.copy(clips.constant.path, tmp_path / "stimuli" / "advert.mp4")
    job.write_text(job.read_text().replace('#stimuli = "stimuli"', 'stimuli = "stimuli"'))
    capsys.readouterr()
    assert fer_batch(monkeypatch, "run", job, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    results = tmp_path / "results"
    assert outcome["people"] == str(results / "report" / "feedback" / "index.html")
    run = Run(results)
    assert run.info["purpose"]["title"] == "A test"
    assert run.info["job"] == {"kind": "customer_feedback", "retention": {"faces": 90}}
    assert run.info["config"]["sampling"]["fps"] == "10"
    assert run.videos()["n_sampled"].to_pylist() == [60, 40]
    html = Path(outcome["people"]).read_text(encoding="utf-8")
    assert "2</b><span>respondents" in html
    assert "data:image/jpeg" in html  # pictures of the advert
    assert "A test (people recorded: customers" in html
    index = (results / "report" / "index.html").read_text(encoding="utf-8")
    assert 'href="feedback/index.html"' in index
    assert 'href="groups/index.html"' in index
    # Another declaration is refused, the same job goes on.
    job.write_text(job.read_text().replace('observed = "customers"', 'observed = "public"'))
    assert fer_batch(monkeypatch, "run", job) == 2
    assert "purpose.observed: customers there, public asked" in capsys.readouterr().err


def test_sessions_whose_table_comes_later(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    job = started("sessions", tmp_path, clips, tiny, monkeypatch)
    capsys.readouterr()
    assert fer_batch(monkeypatch, "run", job, "--out", tmp_path / "there") == 0
    said = capsys.readouterr().out
    assert f"then: fer-batch report {tmp_path / 'there'} --job {job}" in said
    table = tmp_path / PARTICIPANTS
    table.write_text(
        "participant,session,video,person,stimulus,start_ms,end_ms\nA,1,anna.mp4,largest,neutral,0,2000\n"
        "A,1,anna.mp4,largest,talk,2000,\nA,2,ben.mp4,largest,neutral,0,1000\nA,2,ben.mp4,largest,talk,1000,9000\n"
    )
    assert fer_batch(monkeypatch, "report", tmp_path / "there", "--job", job) == 1
    assert "row 5, column end_ms: 9000 lies after the video's end" in capsys.readouterr().err
    table.write_text(table.read_text().replace("9000", ""))
    assert fer_batch(monkeypatch, "report", tmp_path / "there", "--job", job) == 0
    pages = tmp_path / "there" / "report" / "sessions"
    shutil.rmtree(pages.parent)
    capsys.readouterr()
    assert fer_batch(monkeypatch, "run", job, "--out", tmp_path / "there", "--report", "none") == 0
    assert "people:" not in capsys.readouterr().out
    assert not list(pages.parent.rglob("*.html"))
    assert fer_batch(monkeypatch, "report", tmp_path / "there", "--job", job) == 0
    assert {path.name for path in pages.iterdir()} == {"index.html", "participant-001.html"}
    assert "2</b><span>sessions analysed" in (pages / "index.html").read_text(encoding="utf-8")
    assert fer_batch(monkeypatch, "report", tmp_path / "there", "--job", job, "--thumbnails") == 2


def test_a_purpose_beside_flags_is_written_down_and_stays(
    clips: Clips, tiny: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "purpose.toml").write_text(purpose_toml(exception=True, setting="workplace"))
    command: list[str | Path] = ["run", clips.one_face.path, "--out", tmp_path / "out", "--model", tiny.path]
    assert fer_batch(monkeypatch, *command, "--purpose", tmp_path / "purpose.toml") == 0
    assert fer_batch(monkeypatch, *command) == 0
    purpose = Run(tmp_path / "out").info["purpose"]
    assert purpose["exception"] == {
        "reason": "medical", "approver": "Dr A. Example", "assessment": "DPIA-7", "expires": "2099-06-30",
    }  # fmt: skip
    assert purpose["groups_only"] is True
    report = tmp_path / "out" / "report"
    assert not list((report / "videos").iterdir())
    assert "DPIA-7" in (report / "index.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert fer_batch(monkeypatch, "validate", tmp_path / "out", "--out", tmp_path / "coding") == 2
    assert "groups only" in capsys.readouterr().err
