"""Privacy level `aggregate` on a cluster: only nodes that prove that they keep Ray's objects in memory get work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fer_batch
from fer_batch import Resources, Run, RunConfig
from fer_batch.bundle import ModelBundle
from fer_batch.config import Privacy
from fer_batch.memory_only import is_in_memory, judged
from fer_batch.schema import BINS
from fer_batch.scratch import SHARED_MEMORY
from tests.cluster.raylets import Raylets, raylets
from tests.cluster.test_nodes_lost import wait_until
from tests.privacy.people import write_class
from tests.privacy.traces import holds_only_bins

SAFE = ["raylet", "--plasma_directory=/dev/shm", "--fallback_directory=/dev/shm/x", "--head"]
OFF = {"RAY_automatic_object_spilling_enabled": "0"}


@pytest.mark.parametrize(
    ("arguments", "environment", "why"),
    [
        (SAFE, OFF, None),
        (SAFE, {"RAY_automatic_object_spilling_enabled": "False"}, None),
        (SAFE, {}, "it may spill objects to a disk"),
        (SAFE, {"RAY_automatic_object_spilling_enabled": "1"}, "it may spill objects to a disk"),
        (
            [*SAFE, "--fallback_directory=/tmp/ray"],
            OFF,
            "a full object store goes on in /tmp/ray, which is not in memory",
        ),
        ([*SAFE, "--plasma_directory=/tmp"], OFF, "its object store lies in /tmp, which is not in memory"),
        (SAFE[:2], OFF, "its raylet does not say what fallback_directory is"),
    ],
)
def test_what_a_raylet_was_started_with_is_judged(
    arguments: list[str], environment: dict[str, str], why: str | None
) -> None:
    assert judged(arguments, environment, lambda folder: folder.is_relative_to(SHARED_MEMORY)) == why


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs /dev/shm")
def test_what_lies_in_memory_is_known_by_its_file_system(tmp_path: Path) -> None:
    assert is_in_memory(SHARED_MEMORY)
    assert is_in_memory(SHARED_MEMORY / "not" / "there" / "yet")
    assert not is_in_memory(Path("/proc"))
    (tmp_path / "link").symlink_to(SHARED_MEMORY)
    assert is_in_memory(tmp_path / "link")


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("ray_session")
def test_a_class_on_a_cluster(tiny: ModelBundle, tmp_path: Path) -> None:
    """A node on a disk gets nothing when it comes in mid-run, and the run is refused where it is there at the start."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_class(tmp_path / "in" / f"{name}.mp4", gop=7 + ord(name) % 3)
    (tmp_path / "job.toml").write_text(
        f'[inputs]\npaths = ["in"]\n[sampling]\nfps = 1\n[model]\nname = "{tiny.path}"\n[privacy]\n'
        'level = "aggregate"\nbin_seconds = 30\n[output]\nfolder = "out"\n[report]\npages = "none"\n'
    )
    config = RunConfig(fer_batch.Sampling(fps=1), privacy=Privacy("aggregate", bin_s=30))  # type: ignore[arg-type]
    alone = fer_batch.run(tmp_path / "in", tmp_path / "alone", config, model=tiny.path, resources=Resources(cpus=2))
    with raylets(1) as cluster:
        log = tmp_path / "out" / "run.log"
        first = _start(cluster, tmp_path / "job.toml")
        wait_until(lambda: first.poll() is not None or (log.exists() and "on 1 node" in log.read_text()), "its nodes")
        first.send_signal(signal.SIGSTOP)
        cluster.add(1, on_disk=True)
        first.send_signal(signal.SIGCONT)
        said, _ = first.communicate(timeout=400)
        assert first.returncode == 0, said
        second = _start(cluster, tmp_path / "job.toml")
        refused, _ = second.communicate(timeout=400)
    text = log.read_text()
    assert "on 2 nodes" not in text
    assert holds_only_bins(tmp_path / "out") == []
    ours, theirs = Run(tmp_path / "out").bins(), alone.bins()
    assert ours.num_rows == 12
    exact = BINS.names[:8]
    assert ours.select(exact).equals(theirs.select(exact))
    assert second.returncode == 2, refused
    said = " ".join(refused.split())
    assert "a full object store goes on in" in said
    assert "--object-spilling-directory=/dev/shm" in said


def _start(cluster: Raylets, job: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [Path(sys.executable).with_name("fer-batch"), "run", job, "--address", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=cluster.environment,
    )  # fmt: skip
