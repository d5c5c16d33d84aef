"""The command itself, from store to store, killed in its midst and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fer_batch import Run, run
from fer_batch.bundle import ModelBundle
from fer_batch.object_path import remove_all
from fer_batch.score import Scorer
from tests.clips import Clips
from tests.faults.inline import Inline, Scores, on
from tests.object_store import CREDENTIALS, Store
from tests.same import assert_same_tables
from tests.storage.test_object_path import at

pytestmark = [pytest.mark.ray, pytest.mark.long]

PATIENCE_S = 200


def test_a_run_that_was_killed_goes_on_from_what_is_committed(
    store: Store, clips: Clips, tiny: ModelBundle, tmp_path: Path
) -> None:
    remove_all(at("ray"))
    (tmp_path / "in").mkdir()
    for clip in (clips.ntsc, clips.one_face, clips.two_faces):
        content = clip.path.read_bytes()
        (tmp_path / "in" / clip.path.name).write_bytes(content)
        (at("ray/in") / clip.path.name).write_bytes(content)
    command = [str(Path(sys.executable).with_name("fer-batch")), "run", "s3://bucket/ray/in", "--out",
               "s3://bucket/ray/out", "--model", str(tiny.path), "--report", "none", "--cpus", "2"]  # fmt: skip
    ledger = at("ray/out/work/ledger")
    # Once something is committed nothing else can be: the run is in its midst when it is killed.
    store.fail = lambda method, path: 503 if method == "PUT" and "/faces/" in path and _committed(store) else None
    first = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while not ledger.is_dir():
        assert first.poll() is None, first.stderr
        assert time.monotonic() < deadline
        time.sleep(0.2)
    family = psutil.Process(first.pid).children(recursive=True)
    os.killpg(first.pid, signal.SIGKILL)
    for process in family:
        if process.is_running():
            process.kill()
    first.communicate()
    committed = {path.name for path in ledger.iterdir()}
    store.reset()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    for name in committed:
        part = f"part-{name.partition('-')[2]}"
        assert not [path for path in store.puts if path.endswith(f"/faces/{part}")]
    with on(Inline(Scores(Scorer(tiny)))):
        expected = run(tmp_path / "in", tmp_path / "out", model=tiny.path)
    found = Run("s3://bucket/ray/out")
    assert_same_tables(found, expected)
    assert sorted(found.videos()["video_id"].to_pylist()) == sorted(expected.videos()["video_id"].to_pylist())
    assert not at("ray/out/work").exists()
    told = done.stdout + done.stderr + "".join(path.read_bytes().decode("latin-1") for path in at("ray/out").files())
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in told


def _committed(store: Store) -> bool:
    return any("/work/ledger/" in path for path in store.puts)
