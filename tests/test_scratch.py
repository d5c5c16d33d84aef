"""What a killed process left in the temporary folder goes; what lives, or is not ours, stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fer_batch.scratch import OWNER, scratch_folder


@pytest.fixture(autouse=True)
def short_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("fer_batch.scratch.MAX_PATH", 1000)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_private_and_gone_at_the_end() -> None:
    with scratch_folder() as folder:
        (folder / "something").write_text("x")
        folder.chmod(0o777)  # as Ray does with its own
        assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert not folder.parent.exists()


def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    left = tmp_path / "fer-dead"
    left.mkdir()
    (left / OWNER).write_text(json.dumps({"pid": int(dead.stdout), "process_started": "1"}))
    (left / "file").write_text("x")
    foreign = tmp_path / "fer-foreign"  # of another program, by the same beginning of its name
    foreign.mkdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / OWNER).write_text((left / OWNER).read_text())
    link = tmp_path / "fer-link"
    link.symlink_to(precious)
    with scratch_folder() as alive, scratch_folder():
        assert alive.is_dir()
        assert not left.exists()
        assert foreign.is_dir()
        assert link.is_symlink()
        assert (precious / OWNER).is_file()
