"""How a run spreads over the machine: how many workers and models, and what each may use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from fer_batch.config import Resources, RunConfig
from fer_batch.errors import RefusedError

GB = 1000**3

BASE_BYTES = int(0.75 * GB)
"""Ray's own processes and the driver, measured."""

WORKER_BYTES = int(0.35 * GB)
"""A worker that decodes 1080p, measured."""

ACTOR_BYTES = int(0.9 * GB)
"""A model actor with TensorFlow, measured."""

INT8_ACTOR_BYTES = int(0.2 * GB)
"""A model actor with an int8 model, without TensorFlow, measured."""

STORE_BYTES = 200 * 1000**2
"""Ray's object store: it only ever holds crops on their way to a model."""

MIN_STORE_BYTES = 80 * 1000**2
"""Ray refuses a smaller object store."""

WORKER_LIMITS = (1 * GB, 4 * GB)
"""A worker's limit of memory is its share of the machine's, but at least and at most so much. The largest pictures that
are decoded at all have 67 million pixels, of which H.264 and HEVC may keep sixteen."""

CPUS_PER_ACTOR = 8
"""On CPU one model serves this many cores; more models would mostly cost memory."""


@dataclass(frozen=True)
class Placement:
    """What is started, and Ray's logical share of each.

    Attributes:
        cpus: cores used in all.
        workers, actors: how many.
        worker_cpus, actor_cpus: logical CPUs of each. Together never more than `cpus`: an actor holds its share for
            life, and workers that find none left would wait for ever.
        actor_gpus: GPUs of each actor, may be a fraction.
        actor_threads: threads of a model on CPU. All cores: whichever of decoding and scoring has more to do gets
            more of them from the operating system.
        store_bytes: size of the object store.
        worker_bytes: how much memory a worker may take before it is ended: a file that exhausts the machine's would
            take others' work with it. None on a cluster, where Ray itself ends workers when a node's runs out.
    """

    cpus: int
    workers: int
    actors: int
    worker_cpus: float
    actor_cpus: float
    actor_gpus: float
    actor_threads: int
    store_bytes: int
    worker_bytes: int | None = None

    def describe(self) -> str:
        """One line for the log and `--dry-run`."""
        gpu = f", {self.actor_gpus:g} GPU each" if self.actor_gpus else ""
        return (
            f"{_count(self.workers, 'worker')} and {_count(self.actors, 'model')}{gpu} on {_count(self.cpus, 'core')}"
        )


def usable_cpus() -> int:
    """Cores that this process may use: its affinity, and the limit of its container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return affinity
    return affinity if quota == "max" else max(1, min(affinity, math.ceil(int(quota) / int(period))))


def local_gpus() -> int:
    """GPUs that NVIDIA's driver shows on this machine and CUDA_VISIBLE_DEVICES does not hide."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def shared_memory_bytes() -> int | None:
    """Free bytes of /dev/shm, where Ray keeps its objects; None where there is none, as on macOS."""
    try:
        status = os.statvfs("/dev/shm")  # noqa: S108 - asked for its size only
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def place(asked: Resources, cpus: int, gpus: float) -> Placement:
    """Spread a run over `cpus` cores and `gpus` GPUs.

    Raises:
        RefusedError: it can never fit; the message gives the sums.
    """
    if asked.cpus is not None and asked.cpus > cpus:
        raise RefusedError(f"--cpus {asked.cpus} asked, but there are {cpus}; ask for at most {cpus}")
    if asked.gpus is not None and asked.gpus > gpus:
        raise RefusedError(f"--gpus {asked.gpus:g} asked, but there are {gpus:g}; ask for at most {gpus:g}")
    used = asked.cpus or cpus
    actor_bytes = asked.actor_bytes or ACTOR_BYTES
    used_gpus = gpus if asked.gpus is None else asked.gpus
    actors = asked.actors or (max(1, int(used_gpus)) if used_gpus else math.ceil(used / CPUS_PER_ACTOR))
    workers = asked.workers or used
    store = STORE_BYTES if asked.address is not None else _store_bytes()
    if asked.memory is not None:
        least = BASE_BYTES + store + (asked.workers or 1) * WORKER_BYTES
        if asked.actors is None:
            actors = max(1, min(actors, (asked.memory - least) // actor_bytes))
        fixed = BASE_BYTES + store + actors * actor_bytes
        fitting = (asked.memory - fixed) // WORKER_BYTES
        if fitting < (asked.workers or 1):
            wanted = asked.workers or 1
            need = fixed + wanted * WORKER_BYTES
            raise RefusedError(
                f"--memory {asked.memory / GB:.1f} GB is too little: Ray {(BASE_BYTES + store) / GB:.2f} GB + "
                f"{_count(actors, 'model')} x {actor_bytes / GB:.2f} GB + {_count(wanted, 'worker')} x "
                f"{WORKER_BYTES / GB:.2f} GB = {need / GB:.2f} GB"
            )
        workers = min(workers, int(fitting))
    # Half of the logical CPUs for either kind: they only decide what Ray starts, not how much it may compute.
    return Placement(
        cpus=used,
        workers=workers,
        actors=actors,
        worker_cpus=_share(used / 2, workers),
        actor_cpus=_share(used / 2, actors),
        actor_gpus=_share(used_gpus, actors) if used_gpus < actors else float(used_gpus // actors),
        actor_threads=max(1, used // actors),
        store_bytes=store,
        worker_bytes=None
        if asked.address is not None
        else _worker_bytes(asked.memory, store + actors * actor_bytes, workers),
    )


def _worker_bytes(memory: int | None, store_and_actors: int, workers: int) -> int:
    share = ((memory or memory_bytes()) - BASE_BYTES - store_and_actors) // workers
    least, most = WORKER_LIMITS
    return max(least, min(most, share))


def memory_bytes() -> int:
    """Memory that this process and its children may use: the machine's, and the limit of its container."""
    total: int = psutil.virtual_memory().total
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return total if limit == "max" else min(total, int(limit))


def _store_bytes() -> int:
    """Size of the object store on this machine. A larger one than fits into shared memory would lie on a disk.

    Raises:
        RefusedError: not even the smallest one fits.
    """
    shared = shared_memory_bytes()
    if shared is None:
        return STORE_BYTES
    if shared * 0.9 < MIN_STORE_BYTES:
        raise RefusedError(
            f"shared memory (/dev/shm) has {shared / 1e6:.0f} MB free; {MIN_STORE_BYTES / 0.9e6:.0f} MB are needed, "
            "lest face crops be written to a disk. In a container: docker run --shm-size=512m"
        )
    return min(STORE_BYTES, int(shared * 0.9))


def check_stays_in_memory(config: RunConfig, asked: Resources) -> None:
    """Refuse privacy level `aggregate` where Ray might write face crops to a disk.

    Raises:
        RefusedError: it is asked for on a system without shared memory. A cluster's nodes prove it themselves, see
            :mod:`fer_batch.memory_only`.
    """
    if config.privacy.level != "aggregate":
        return
    if asked.address is None and shared_memory_bytes() is None:
        raise RefusedError(
            "privacy.level 'aggregate' promises that no face crop reaches a disk; this system has no shared memory "
            "(/dev/shm), so Ray's object store is a file. Run it on Linux"
        )


def _share(total: float, parts: int) -> float:
    """An equal share, rounded down to Ray's precision of a ten-thousandth."""
    return math.floor(total / parts * 1e4) / 1e4


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
