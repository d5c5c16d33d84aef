"""The benchmarks measure what they say: processes' CPU and memory, stages alone on the right frames, goals."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from benchmarks.clips import Clip, repeated
from benchmarks.floors import floors
from benchmarks.goals import goals
from benchmarks.parts import Measured, _titled
from benchmarks.show import print_tables, sheets, write_page
from benchmarks.usage import used
from fer_batch.probe import probe
from tests.conftest import ROOT

BUSY = """
import subprocess, sys, time
held = bytearray(60_000_000)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
    open(sys.argv[2], "w").close()
while time.process_time() < 0.5:
    pass
time.sleep(1.5)  # they are looked at once more
"""


def test_all_processes_of_a_command_are_counted_and_its_first_result_seen(tmp_path: Path) -> None:
    usage = used([sys.executable, "-c", BUSY, BUSY, tmp_path / "first.txt"], (tmp_path, ["*.txt"]))
    assert usage.cpu_s >= 0.9
    assert 0.4 <= usage.driver_cpu_s < usage.cpu_s
    assert usage.peak_bytes >= 120_000_000  # both at once
    assert usage.first_s is not None
    assert 0.5 <= usage.first_s <= usage.wall_s


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: so it is"):
        used([sys.executable, "-c", "import sys; print('so it is'); sys.exit(3)"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(height=480, faces=2, seconds=1).make(tmp_path_factory.mktemp("clips"))


def test_clips_are_what_their_names_say(clip: Path) -> None:
    found = probe(clip)
    assert (found.width, found.height, found.n_frames, found.duration_ms) == (852, 480, 24, 1000)
    long = probe(repeated(clip, 3))
    assert (long.n_frames, long.duration_ms, long.timing) == (72, 3000, "packets")
    _titled(clip, clip.with_name("titled.mp4"), "another")
    titled = probe(clip.with_name("titled.mp4"))
    assert (titled.n_frames, titled.duration_ms) == (24, 1000)
    assert titled.video_id != found.video_id


def test_stages_alone_see_the_samples_and_all_faces(clip: Path, tmp_path: Path) -> None:
    found = floors(clip, Fraction(2), tmp_path)
    assert (found.samples, found.faces) == (2, 4)
    stages = [found.detect_s, found.align_s, found.score_s, found.write_s]
    assert min(found.reader_s, found.plain_s, *stages[:3]) > 0
    assert found.write_s == 0  # there were no rows
    assert found.total_s == pytest.approx(min(found.reader_s, found.plain_s) + sum(stages))


def ours(**figures: float) -> dict[str, Any]:
    return vars(Measured(12.0, 9.0, 4.0, 1.0, 700.0, {}, 120, 118)) | figures


FOUND: dict[str, Any] = {
    "machine": {"when": "now", "cores": 2, "system": "<b>", "load": 0.1, "versions": {"ray": "2"}},
    "start_up": {"bare": ours(), "whole": ours(first_s=9.0), "commands": {"--help": 0.5}, "worker_cpu_s": 0.5},
    "stages": [
        {
            "clip": "one",
            "floors": {f"{name}_s": 1.0 for name in ("reader", "plain", "detect", "align", "score", "write", "total")},
            "ours": ours(wall_s=15.0, peak_mb=900.0),
            "beyond_cpu_s": 5.0,
            "beyond_wall_s": 3.0,
            "cpu_ratio": 1.2,
            "started_cpu_ratio": 1.1,
            "wall_ratio": 0.75,
            "further": {"cpu_s": 4.0, "wall_s": 2.5, "cpu_ratio": 1.1, "wall_ratio": 0.71},
        }
    ],
    "peer": [
        {
            "clip": "one",
            "start_s": 4.0,
            "steady_s": 60.0,
            "wall_s": 66.0,
            "cpu_s": 80.0,
            "peak_mb": 600.0,
            "frames_with_faces": 9,
        }
    ],
}


def test_goals_are_judged_by_the_figures() -> None:
    judged = {goal.text: goal for goal in goals(FOUND)}
    assert judged["times faster than fer, steady: one"].figure == 24
    assert judged["times faster than fer, start-up counted: one"].figure == pytest.approx(4.4)
    assert [goal.is_met for goal in judged.values()] == [
        True, True, False, True, False, True, False, False, False, True, None, True, None, None, None,
    ]  # fmt: skip
    assert judged["a short clip, all told"].figure == 12


def test_tables_and_page_show_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(FOUND)
    assert "not measured" in capsys.readouterr().out
    text = write_page(FOUND, tmp_path / "index.html").read_text()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert text.count("<h2>") == len(sheets(FOUND)) == 5


def test_the_peer_has_a_script_of_its_own(tmp_path: Path) -> None:
    """It must not need this project: another environment runs it."""
    source = (ROOT / "benchmarks" / "peer.py").read_text()
    assert "fer_batch" not in source
    assert "from benchmarks" not in source


@pytest.mark.long
@pytest.mark.ray
def test_the_whole_of_it_works(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks", "--quick", "--out", tmp_path], cwd=ROOT, check=True)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["stages"][0]["ours"]["faces"] == 24
    with av.open(next((tmp_path / "clips").glob("*.mp4"))) as container:
        assert container.streams.video[0].frames
