"""`fer-batch annotate` as people meet it: what it refuses, what it says, what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fer_batch.palette import COLOURS
from fer_batch.probe import probe
from fer_batch.store import Run
from jobs import cli
from jobs.annotate import DETECT_SIZE, MIN_SCORE
from reports.video.faces import MISS_LESS
from reports.video.masks import FILL
from reports.video.text import bgr
from tests.clips import Clips
from tests.reports.synthetic import HAPPY, SyntheticRun


def fer_batch(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["fer-batch", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def run(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that holds one_face, with a face in every sample, and a file that failed."""
    path = clips.one_face.path
    video_id = probe(path).video_id
    box = clips.one_face.boxes[0][0]
    made = SyntheticRun(tmp_path_factory.mktemp("runs") / "run")
    made.video(str(path), [[(1, HAPPY)]] * 12, video_id=video_id)
    made.failed(str(clips.no_face.path))
    made.ledger[-1]["video_id"] = probe(clips.no_face.path).video_id
    for row in made.faces:
        row.update(x=box.x, y=box.y, w=box.w, h=box.h)
    return made.write()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.mp4", "--out", "o.mp4"], "nothing to draw: give --run RUN for labels, or --obscure"),
        (["v.mp4", "--obscure", "--out", "o.mkv"], "give a name that ends in .mp4"),
        (["v.mp4", "--obscure", "--out", "nowhere/o.mp4"], "there is no folder nowhere"),
        (["v.mp4", "--obscure", "--out", "v.mp4"], "would write over v.mp4 itself"),
        (["v.mp4", "--obscure", "--out", "v.mp4", "--overwrite"], "would write over v.mp4 itself"),
        (["v.mp4", "--obscure", "--out", "link.mp4", "--overwrite"], "would write over v.mp4 itself"),
        (["v.mp4", "--obscure", "--out", "there.mp4"], "there.mp4 is there already; give another --out, or --over"),
        (["v.mp4", "--obscure", "--out", "listed.mp4"], "listed.review.csv is there already"),
        (["nowhere.mp4", "--obscure", "--out", "o.mp4"], "nowhere.mp4: there is no such file"),
        ([".", "--obscure", "--out", "o.mp4"], ".: a folder; give one video"),
        (["v.mp4", "--run", "r", "--min-score", "0.5", "--out", "o.mp4"], "belong to --obscure"),
        (["text.mp4", "--obscure", "--out", "o.mp4"], "text.mp4: not a video that can be read"),
        (["v.mp4", "--run", "nowhere", "--out", "o.mp4"], "nowhere holds no run"),
        (["v.mp4", "--run", "RUN", "--out", "o.mp4"], "does not hold v.mp4 (it holds 2 other files); fer-batch run"),
        (["failed.mp4", "--run", "RUN", "--out", "o.mp4"], "failed on failed.mp4 (is no video; take it out)"),
        (["v.mp4", "--obscure", "--min-score", "2", "--out", "o.mp4"], "--min-score is 2.0"),
        (["v.mp4", "--obscure", "--detector-model", "nowhere.onnx", "--out", "o.mp4"], "nowhere.onnx"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    arguments: list[str],
    message: str,
    clips: Clips,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clips.single_frame.path, "v.mp4")
    shutil.copy(clips.no_face.path, "failed.mp4")
    os.link("v.mp4", "link.mp4")
    for name in ("there.mp4", "listed.review.csv"):
        Path(name).write_text("mine", encoding="utf-8")
    Path("text.mp4").write_text("a letter", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert fer_batch(monkeypatch, "annotate", *[str(run.path) if a == "RUN" else a for a in arguments]) == 2
    said = capsys.readouterr().err
    assert "refused: " in said
    assert message in said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_video_that_changed_since_the_run_is_refused(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.mp4"
    shutil.copy(clips.constant.path, path)
    SyntheticRun(tmp_path / "run").video(str(path), ["no_face"]).write()
    assert fer_batch(monkeypatch, "annotate", path, "--run", tmp_path / "run", "--out", tmp_path / "o.mp4") == 2
    assert f"{path} changed since the run" in capsys.readouterr().err


def picture(path: Path, number: int) -> np.ndarray[Any, Any]:
    with av.open(path) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i == number:
                return frame.to_ndarray(format="bgr24").astype(int)
    raise AssertionError(f"{path} has no frame {number}")


def test_labels_are_drawn_for_a_copy_under_another_name(
    clips: Clips, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = tmp_path / "copy <b>.mp4", tmp_path / "o.mp4"
    shutil.copy(clips.one_face.path, video)
    monkeypatch.setattr(sys, "argv", ["fer-batch", "annotate", str(video), "--run", str(run.path), "--out", str(out)])
    cli.app(standalone_mode=False)
    said = capsys.readouterr().out
    assert f"annotated: {out}" in said
    assert "150 frames, sound: none" in said
    box = clips.one_face.boxes[0][0]
    edge = picture(out, 30)[round(box.y) + 10 : round(box.y + box.h) - 10, round(box.x)]
    assert abs(edge - np.array(bgr(COLOURS["happy"]))).mean() < 40
    assert sorted(path.name for path in tmp_path.iterdir()) == [video.name, "o.mp4"]


def test_faces_are_obscured_and_listed_and_named_so(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.mp4"
    out.write_text("an earlier one", encoding="utf-8")
    clip = clips.lost_second
    cli.app(["annotate", str(clip.path), "--obscure", "--out", str(out), "--overwrite"], standalone_mode=False)
    said = capsys.readouterr().out
    assert f"faces obscured: {out}" in said
    assert "anonym" not in said.lower()
    assert f"to look at before you pass it on ({tmp_path / 'o.review.csv'})" in said
    assert "1 x bridged" in said
    box = clip.boxes[0][0]
    for number in (0, 60, 90, 174):  # 90: nobody is there, but somebody might be
        assert abs(picture(out, number)[round(box.y + box.h / 2), round(box.x + box.w / 2)] - np.array(FILL)).max() < 9


def test_obscured_and_labelled(
    clips: Clips, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.mp4"
    arguments = ["--obscure", "--run", str(run.path), "--mute", "--json", "--out", str(out)]
    cli.app(["annotate", str(clips.one_face.path), *arguments], standalone_mode=False)
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["frames"], outcome["lost_frames"], outcome["sound"]) == (150, 0, "muted")
    assert outcome["faces_obscured"]["to_look_at"] == {}
    assert outcome["faces_obscured"]["frames_without_mask"] == 0
    box = clips.one_face.boxes[0][0]  # where the table has it; the face sways by less than the room about it
    shown = picture(out, 30)
    assert shown.shape[0] > clips.one_face.size[1], "with the strip"
    inside = shown[round(box.y) + 10 : round(box.y + box.h) - 10, round(box.x) + 10 : round(box.x + box.w) - 10]
    assert abs(inside - np.array(FILL)).max() < 30


def test_a_damaged_video_is_written_and_ends_with_its_own_code(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.mp4"
    assert fer_batch(monkeypatch, "annotate", clips.overwritten.path, "--obscure", "--out", out) == 3
    said = capsys.readouterr().out
    assert "is cut short or damaged, first at 0:01: what cannot be decoded is left out, 12 of the frames" in said
    assert probe(out).n_frames == 88


def test_the_flags_say_what_the_module_does() -> None:
    assert (MISS_LESS.min_score, MISS_LESS.long_side) == (MIN_SCORE, DETECT_SIZE)
