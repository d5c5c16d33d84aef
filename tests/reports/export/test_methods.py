"""The methods paragraph says what the run did, with its figures, and what it does not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fer_batch.config import RunConfig
from fer_batch.errors import RefusedError
from fer_batch.lease import Lease
from reports.export import export
from reports.export.methods import AUTHORS, TITLE, citation
from tests.conftest import ROOT
from tests.reports.synthetic import HAPPY, SyntheticRun

Synthetic = Callable[..., SyntheticRun]

MODEL = {
    "name": "net",
    "sha256": "ab" * 32,
    "figures": {
        "split": "PublicTest",
        "n": 3589,
        "accuracy": 0.6587,
        "accuracy_95": [0.643, 0.674],
        "ece_cross_fitted": 0.032,
        "classes": {"happy": {"n": 895, "recall": 0.8592}},
    },
}


def written(made: SyntheticRun, folder: Path, **options: Any) -> str:
    export(made.write(going_on=options.pop("going_on", False)), folder, **options)
    return (folder / "methods.md").read_text(encoding="utf-8")


def test_the_paragraph_has_the_runs_own_figures(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic(model=MODEL, fer_batch_version="0.0.9", versions={"python": "3.12.1", "ray": "2.60.0"})
    made.video("a.mp4", [[(1, HAPPY)], [(1, HAPPY)], "no_face", "no_face"])
    made.video("b.mp4", [[(1, HAPPY)]], status="partial", error_code="damaged")
    made.failed("c.mp4")
    made.ledger.append({**made.ledger[0], "path": "d.mp4"})
    words = written(made, tmp_path / "out")
    for said in (
        "4 video files with a total length of 2.5 s (of which 1 is a copy of another and counted once) were analysed",
        "with fer-batch 0.0.9 (The fer-batch authors).",
        "1 file could be decoded in part only. 1 file could not be processed.",
        "At least one face was found in 3 of 5 sampled frames, 60 % of the sampled time (2.5 s): 3 faces in 2 tracks.",
        "Frames were sampled at 2 a second",
        "a long side of 640 pixels, with a detection score of at least 0.7 and a size of at least 24 pixels",
        "the convolutional network net (sha256 abababababab)",
        "It gives the labelled class for 65.9 % (95 % interval 64.3 to 67.4) of FER2013 PublicTest, n = 3,589.",
        "This split was also used to choose and to calibrate the model.",
        "Recall by class: happy 0.86 (n = 895).",
        "calibration error there is 3.2 %",
        "It was calibrated on FER2013 only.",
        "Scores are of apparent expression, what a face looks like to the model, and not of felt emotion",
        "a probability is not an intensity.",
        "(Python 3.12.1, Ray 2.60.0)",
        f"- {citation('0.0.9')}",
        "`fer-batch validate`",
        "No purpose declared.",
    ):
        assert said in words, said
    assert "ELAN" not in words
    assert "going on" not in words
    assert "None" not in words
    assert not re.search("[\u00a0\u2013]", words)


def test_other_settings_are_said_as_they_were(synthetic: Synthetic, tmp_path: Path) -> None:
    config = RunConfig().to_json()
    config["sampling"] |= {"mode": "every", "every": 5, "start_ms": 1000, "end_ms": 9000}
    words = written(synthetic(config=config).video("a.mp4", ["no_face"]), tmp_path / "out")
    assert "Frames were sampled every 5 frames" in words
    assert "from 1000 ms to 9000 ms" in words
    assert "The run does not say how accurate this model is." in words


def test_the_rule_of_the_elan_files_is_stated(synthetic: Synthetic, tmp_path: Path) -> None:
    made = synthetic().video("a.mp4", [[(1, HAPPY)]])
    words = written(made, tmp_path / "out", formats=["elan"], min_segment_ms=320, max_gap_ms=40)
    assert "up to 40 ms apart" in words
    assert "shorter than 320 ms" in words


@pytest.mark.parametrize("held", [True, False])
def test_a_run_that_is_not_finished_is_exported_as_far_as_it_is(
    synthetic: Synthetic, tmp_path: Path, held: bool
) -> None:
    made = synthetic(state="running", counts={"files": 7})
    made.video("a.mp4", [[(1, HAPPY)]]).failed("b.mp4")
    run = made.write(going_on=True)
    if held:
        with Lease(run.work_dir / "lease.json"):
            outcome = export(run, tmp_path / "out")
    else:
        outcome = export(run, tmp_path / "out")
    assert outcome.rows == {"videos": 2, "frames": 1, "faces": 1}
    assert outcome.state == ("running" if held else "broken off")
    words = (tmp_path / "out" / "methods.md").read_text(encoding="utf-8")
    assert f"The analysis {'was still going on' if held else 'had broken off'} when these data were exported" in words
    assert "2 files of 7 had been dealt with, and all figures are of these only." in words
    assert "Finish it and export again before you publish." in words


def test_a_run_without_a_single_video_is_refused(synthetic: Synthetic, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nothing to export"):
        export(synthetic(state="running").write(going_on=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_citation_is_that_of_the_citation_file() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    title = re.search(r'^title: "(.+)"$', text, re.MULTILINE)
    authors = re.findall(r"^  - name: (.+)$", text, re.MULTILINE)
    licence = re.search(r"^license: (.+)$", text, re.MULTILINE)
    assert title is not None
    assert licence is not None
    assert (title[1], authors) == (TITLE, [AUTHORS])
    assert citation("1.2.3") == f"{AUTHORS}. {TITLE} (version 1.2.3) [Computer software]. {licence[1]}."
