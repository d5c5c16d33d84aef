"""A process without progress or with too much memory ends and leaves a note; one that works or waits does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fer_batch.watchdog import EXIT_CODE, ended

BUSY = "end = time.monotonic() + 2\nwhile time.monotonic() < end:\n    time.sleep(0.05)"

SCRIPT = """
import sys, time
from pathlib import Path
from fer_batch.watchdog import beat, unwatched, watched
with watched({limit_s}, Path(sys.argv[1]), {memory_bytes}):
    beat(Path("/videos/one.mp4"))
    {body}
print("done")
"""


def run(
    body: str, notes: Path, limit_s: float = 0.6, memory_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(body=body.replace("\n", "\n    "), limit_s=limit_s, memory_bytes=memory_bytes)
    return subprocess.run(
        [sys.executable, "-c", script, str(notes)], capture_output=True, text=True, check=False, timeout=120
    )


def test_without_progress_it_ends_and_says_which_file_it_was(tmp_path: Path) -> None:
    done = run("time.sleep(100)", tmp_path / "notes")
    assert done.returncode == EXIT_CODE
    assert "/videos/one.mp4" in done.stderr
    assert ended(tmp_path / "notes") == {
        "/videos/one.mp4": ("timed_out", "no progress for 0.6 s, each time it was tried")
    }


def test_with_too_much_memory_it_ends_and_says_which_file_it_was(tmp_path: Path) -> None:
    hoard = "hoard = []\nwhile True:\n    hoard.append(b'x' * 10**7); beat(); time.sleep(0.01)"
    done = run(hoard, tmp_path / "notes", limit_s=100, memory_bytes=400 * 10**6)
    assert done.returncode == EXIT_CODE, done.stderr
    (note,) = ended(tmp_path / "notes").items()
    assert note[0] == "/videos/one.mp4"
    assert note[1][0] == "worker_died"
    assert "GB of memory of 0.4 GB, each time" in note[1][1]


@pytest.mark.parametrize(
    "body", [BUSY.replace("time.sleep(0.05)", "time.sleep(0.05); beat()"), "with unwatched():\n    time.sleep(2)"]
)
def test_with_progress_or_while_waiting_it_lives(body: str, tmp_path: Path) -> None:
    done = run(body, tmp_path / "notes", memory_bytes=4 * 10**9)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert ended(tmp_path / "notes") == {}
