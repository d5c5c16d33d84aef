"""A process without progress ends and leaves a note; one that works or waits for others does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fer_batch.watchdog import EXIT_CODE, stalled

BUSY = "end = time.monotonic() + 2\nwhile time.monotonic() < end:\n    time.sleep(0.05)"

SCRIPT = """
import sys, time
from pathlib import Path
from fer_batch.watchdog import beat, unwatched, watched
with watched(0.6, Path(sys.argv[1])):
    beat(Path("/videos/one.mp4"))
    {body}
print("done")
"""


def run(body: str, notes: Path) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(body=body.replace("\n", "\n    "))
    return subprocess.run(
        [sys.executable, "-c", script, str(notes)], capture_output=True, text=True, check=False, timeout=120
    )


def test_without_progress_it_ends_and_says_which_file_it_was(tmp_path: Path) -> None:
    done = run("time.sleep(100)", tmp_path / "notes")
    assert done.returncode == EXIT_CODE
    assert "/videos/one.mp4" in done.stderr
    assert stalled(tmp_path / "notes") == {"/videos/one.mp4"}


def test_with_progress_or_while_waiting_it_lives(tmp_path: Path) -> None:
    working = run(BUSY.replace("time.sleep(0.05)", "time.sleep(0.05); beat()"), tmp_path / "notes")
    waiting = run("with unwatched():\n    time.sleep(2)", tmp_path / "notes")
    assert (working.returncode, working.stdout) == (0, "done\n"), working.stderr
    assert (waiting.returncode, waiting.stdout) == (0, "done\n"), waiting.stderr
    assert stalled(tmp_path / "notes") == set()
