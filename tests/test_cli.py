"""The command line as people meet it: help, messages, exit codes, and that the documentation tells the truth."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest
import typer.main
from typer.testing import CliRunner

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from fer_batch.errors import RefusedError
from fer_batch.schema import EMOTIONS, FACES, FRAMES, VIDEOS
from jobs import cli
from jobs.cli import app
from jobs.values import clock, milliseconds, rate, size
from tests.clips import Clips
from tests.conftest import ROOT

COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

README = (ROOT / "README.md").read_text(encoding="utf-8")


def fer_batch(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    command = Path(sys.executable).with_name("fer-batch")
    return subprocess.run(
        [command, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def options(command: Any) -> set[str]:
    return {name for param in command.params for name in param.opts if name.startswith("--")} - {"--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_explains_itself(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name].help
    for param in COMMANDS[name].params:
        assert getattr(param, "help", None), f"{name} {param.name} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_command_and_all_options_of_run(name: str) -> None:
    assert f"fer-batch {name}" in README
    if name == "run":
        assert {option for option in options(COMMANDS[name]) if f"`{option}" not in README} == set()


def test_every_command_line_in_the_readme_exists() -> None:
    lines = re.findall(r"^(?:\$ )?fer-batch (.+)$", README, flags=re.MULTILINE)
    assert lines
    for line in lines:
        name, *rest = line.split("#")[0].split()
        if name == "--version":
            continue
        assert name in COMMANDS, line
        for option in (word.split("=")[0] for word in rest if word.startswith("--")):
            assert option in options(COMMANDS[name]), line


def test_the_readme_names_every_column_of_the_tables() -> None:
    for name in {*FACES.names, *FRAMES.names, *VIDEOS.names}:
        known = name in README or re.sub(r"_[xy]$", "", name) in README
        assert known, f"the README does not mention the column {name}"


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    heavy = "{'ray', 'tensorflow', 'keras', 'av', 'cv2', 'plotly', 'pyarrow', 'pandas', 'sklearn', 'scipy'}"
    code = f"import sys; import jobs.cli; print(sorted(set(sys.modules) & {heavy}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nowhere", "--out", "x"], 2, "nowhere: there is no such file or folder"),
        (["run", ".", "--out", "x", "--fps", "fast"], 2, "is no rate"),
        (["run", ".", "--out", "x", "--fps", "0"], 2, "--fps"),
        (["run", ".", "--out", "x", "--start", "1:75"], 2, "is no time"),
        (["run", ".", "--out", "x", "--start", "9", "--end", "8"], 2, "--end"),
        (["run", ".", "--out", "x", "--fps", "2", "--every", "3"], 2, "one of --fps, --every and --keyframes"),
        (["run", ".", "--out", "x", "--memory", "lots"], 2, "is no size"),
        (["run", ".", "--out", "x", "--memory", "1GB"], 2, "too little: Ray"),
        (["run", ".", "--out", "x", "--cpus", "9999"], 2, "there are"),
        (["run", ".", "--out", "x", "--gpus", "64"], 2, "there are"),
        (["run", ".", "--out", "x", "--model", "nowhere"], 2, "does not exist"),
        (["run", ".", "--out", "x", "--detector-model", "nowhere.onnx"], 2, "nowhere.onnx"),
        (["run", ".", "--out", "/proc/nothing"], 1, "cannot make the folder"),
        (["run", ".", "--out", "x", "--sometimes"], 2, "No such option"),
        (["status", "nowhere"], 2, "holds no run"),
        (["report", "nowhere"], 2, "holds no run"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fer-batch", *arguments])
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code
    assert not (tmp_path / "x").exists()


def test_messages_of_refusal_say_what_and_why(tmp_path: Path) -> None:
    result = fer_batch("run", tmp_path / "nowhere", "--out", tmp_path / "x")
    assert result.returncode == 2
    assert f"fer-batch: refused: {tmp_path}/nowhere: there is no such file or folder" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.fixture(scope="module")
def run_by_command(
    clips: Clips, tiny: ModelBundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """One run by the installed command, good and bad files, on an embedded Ray of its own."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "in").mkdir()
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        (folder / "tmp").symlink_to(short)
        yield _run_by_command(clips, tiny, folder, Path(short))


def _run_by_command(
    clips: Clips, tiny: ModelBundle, folder: Path, temporary: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    shutil.copy(clips.two_faces.path, folder / "in" / "two <b>&amp; 'x'.mp4")
    shutil.copy(clips.not_videos["text"], folder / "in" / "letter.mp4")
    home = folder / "home"
    home.mkdir()
    result = fer_batch("run", folder / "in", "--out", folder / "out", "--model", tiny.path, TMPDIR=str(temporary),
                       HOME=str(home))  # fmt: skip
    return folder, result


@pytest.mark.ray
def test_a_run_prints_where_its_results_are_and_says_that_a_file_failed(
    run_by_command: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, result = run_by_command
    out = folder / "out"
    assert result.returncode == 3
    assert "2 videos: 1 ok, 0 partial, 1 failed" in result.stdout
    for path in (out / "faces", out / "frames", out / "videos.parquet", out / "report" / "index.html"):
        assert str(path) in result.stdout
        assert path.exists()
    assert result.stderr.splitlines()[0].startswith("starting")
    for chatter in ("tensorflow", "TensorFlow", "ray", "INFO", "WARNING", "cuda", "Traceback"):
        assert chatter not in result.stderr + result.stdout


@pytest.mark.ray
def test_a_run_leaves_nothing_behind(run_by_command: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = run_by_command
    assert not (folder / "out" / "work").exists()
    commands = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(folder) in command]
    assert list((folder / "home").rglob("*ray*")) == []
    assert list((folder / "tmp").resolve().iterdir()) == []  # Ray's files, its logs and sockets among them


@pytest.mark.ray
def test_status_tells_what_failed_and_why(run_by_command: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out = run_by_command[0] / "out"
    result = fer_batch("status", out)
    assert result.returncode == 0
    assert "complete" in result.stdout
    assert "failed: not_a_video" in result.stdout
    plain = json.loads(fer_batch("status", out, "--json").stdout)
    assert plain["counts"] == {"ok": 1, "partial": 0, "failed": 1}
    assert {Path(video["path"]).name for video in plain["videos"]} == {"letter.mp4", "two <b>&amp; 'x'.mp4"}


@pytest.mark.ray
def test_report_builds_the_pages_again(run_by_command: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out = run_by_command[0] / "out"
    shutil.rmtree(out / "report")
    result = fer_batch("report", out)
    assert result.returncode == 0
    assert "two &lt;b&gt;" in (out / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.ray
def test_json_output_is_one_object(
    run_by_command: tuple[Path, subprocess.CompletedProcess[str]], tiny: ModelBundle
) -> None:
    folder = run_by_command[0]
    result = fer_batch(
        "run", folder / "in", "--out", folder / "out", "--model", tiny.path, "--json", "--report", "none"
    )
    outcome = json.loads(result.stdout)
    assert result.stderr == ""
    assert (outcome["ok"], outcome["failed"], outcome["report"]) == (1, 1, None)


def test_dry_run_writes_nothing(clips: Clips, tmp_path: Path) -> None:
    for name, source in (("a.mp4", clips.one_face.path), ("b.mp4", clips.not_videos["text"])):
        shutil.copy(source, tmp_path / name)
    result = CliRunner().invoke(app, ["run", str(tmp_path), "--out", str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 0
    assert "1 video, 0:06 in all, about 13 samples (0 other files passed over)" in result.stdout
    assert "cannot be used:" in result.stdout
    assert not (tmp_path / "out").exists()
    plain = CliRunner().invoke(app, ["run", str(tmp_path), "--out", str(tmp_path / "out"), "--dry-run", "--json"])
    assert json.loads(plain.stdout)["videos"] == 1
    unknown = CliRunner().invoke(app, ["run", str(tmp_path), "--out", "out", "--dry-run", "--model", str(tmp_path)])
    assert isinstance(unknown.exception, RefusedError)


def test_predict_prints_class_index_emotion_and_probabilities(clips: Clips, tiny: ModelBundle, tmp_path: Path) -> None:
    capture = cv2.VideoCapture(str(clips.two_faces.path))
    picture = tmp_path / "two.png"
    cv2.imwrite(str(picture), capture.read()[1])
    result = CliRunner().invoke(app, ["predict", str(picture), "--model", str(tiny.path), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert len(found["faces"]) == 2
    for face in found["faces"]:
        assert list(face["probabilities"]) == list(EMOTIONS)
        assert EMOTIONS[face["class_index"]] == face["emotion"]
        assert face["probabilities"][face["emotion"]] == max(face["probabilities"].values())
        assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    plain = CliRunner().invoke(app, ["predict", str(picture), "--model", str(tiny.path)])
    assert "2 faces" in plain.stdout
    whole = CliRunner().invoke(app, ["predict", str(picture), "--whole", "--model", str(tiny.path), "--json"])
    assert len(json.loads(whole.stdout)["faces"]) == 1
    broken = CliRunner().invoke(app, ["predict", str(tmp_path / "none.png"), "--model", str(tiny.path)])
    assert broken.exit_code == 3
    assert "cannot be read" in broken.output


def test_doctor_checks_and_says_so() -> None:
    result = fer_batch("doctor", "--json")
    report = json.loads(result.stdout)
    checks = {check["check"]: check for check in report["checks"]}
    assert {"Python", "packages", "cores", "memory", "shared memory", "face detector", "model"} <= set(checks)
    assert result.returncode == (0 if report["ok"] else 1)
    assert all(check["remedy"] for check in report["checks"] if check["state"] != "ok")


@pytest.mark.parametrize(
    ("text", "ms"), [("0", 0), ("90", 90_000), ("90.5", 90_500), ("1:30", 90_000), ("1:02:03.25", 3_723_250)]
)
def test_times_as_people_type_them(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize("text", ["", "soon", "1:60", "-5", "1:2:3:4", "nan", "inf"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        milliseconds(text)


def test_rates_and_sizes() -> None:
    assert rate("30000/1001") == rate("30000/1001")
    assert (rate("0.1").numerator, rate("0.1").denominator) == (1, 10)
    assert [size(text) for text in ("4GB", "512 MiB", "1.5kb", "77")] == [4 * 10**9, 512 * 2**20, 1500, 77]
    for wrong in ("x", "4 XB", "-1GB", ""):
        with pytest.raises(typer.BadParameter):
            size(wrong)


def test_clock() -> None:
    assert [clock(ms) for ms in (None, 0, 61_000, 3_723_999)] == ["-", "0:00", "1:01", "1:02:03"]


@pytest.mark.ray
def test_a_runs_tables_are_read_in_three_lines(
    run_by_command: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out = run_by_command[0] / "out"
    faces = Run(out).faces().to_pandas()
    assert set(faces["emotion"]) <= set(EMOTIONS)
    (lines,) = re.findall(r"```python\n(pandas\..+?)```", README, flags=re.DOTALL)
    for line in lines.strip().splitlines():
        module = line.split(".")[0]
        table = eval(line.replace("results", str(out)), {module: importlib.import_module(module)})  # noqa: S307
        assert len(table) == len(faces)
