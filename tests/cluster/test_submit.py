"""Jobs through Ray's own job server: what is uploaded, what comes back, and that nobody has to stay and watch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_batch import Run
from fer_batch.bundle import ModelBundle
from tests.clips import Clips
from tests.cluster.raylets import Raylets, raylets

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(1200)]

PATIENCE_S = 500
"""Longest wait; nothing here depends on how fast it goes."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Raylets]:
    pytest.importorskip("aiohttp_cors", reason="needs pip install 'fer-batch[cluster]'")
    with raylets(1, job_server=True) as found:
        yield found


def submit(cluster: Raylets, folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The installed command, in a folder of its own."""
    return subprocess.Popen(
        [Path(sys.executable).with_name("fer-batch"), "submit", "--address", cluster.job_server, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**cluster.environment, "COLUMNS": "300"},
        cwd=folder,
    )


def ended(program: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = program.communicate(timeout=PATIENCE_S)
    return program.returncode, said


def test_a_job_outlives_the_one_who_submitted_it_and_gives_its_exit_code_to_the_next(
    cluster: Raylets, clips: Clips, tiny: ModelBundle, tmp_path: Path
) -> None:
    videos, here, out = tmp_path / "videos", tmp_path / "here", tmp_path / "out"
    videos.mkdir()
    here.mkdir()
    shutil.copy(clips.two_faces.path, videos / "two.mp4")
    shutil.copy(clips.not_videos["text"], videos / "letter.mp4")
    shutil.copytree(tiny.path, here / "my model")
    (here / ".gitignore").write_text("*.safetensors\n")  # Ray would leave the weights out
    job: list[str | Path] = ["--", videos, "--out", out, "--model", "my model", "--report", "none"]

    first = submit(cluster, here, *job)
    assert first.stdout is not None
    line = first.stdout.readline()
    assert line.startswith("submitted fer-batch-"), line + first.stdout.read()
    assert f"uploaded {len(list(tiny.path.iterdir()))} files" in line
    first.kill()
    first.communicate()

    code, said = ended(submit(cluster, here, *job))
    assert "runs already: following it" in said
    assert "2 videos: 1 ok, 0 partial, 1 failed" in said
    assert code == 3
    assert len(Run(out).faces()) == 16

    code, said = ended(submit(cluster, here, *job, "--fps", "5"))  # refused on the cluster
    assert "sampling.fps: 2 there, 5 asked" in said
    assert code == 2
    code, said = ended(submit(cluster, here, "--attach", line.split()[1].removesuffix(":")))
    assert "1 failed" in said
    assert code == 3
    code, said = ended(submit(cluster, here, "--attach", "fer-batch-nothing-1"))
    assert "knows no job fer-batch-nothing-1" in said
    assert code == 2
