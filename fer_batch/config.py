"""What a run is asked to do: frozen settings with their defaults, shared by the command line, job files and the API.

Everything in :class:`RunConfig` can change the tables. A run folder therefore has one `RunConfig`, written into its
``run.json``. What only changes how fast they are made (:class:`Resources`) may differ from start to start.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, get_args

from fer_batch.errors import RefusedError
from fer_batch.watchdog import STALL_S

SamplingMode = Literal["fps", "every", "keyframes"]
AskedPrecision = Literal["auto", "int8", "float32", "mixed_float16"]
Backend = Literal["litert-cpu", "tensorflow-cpu", "tensorflow-gpu"]
PrivacyLevel = Literal["faces", "tracks", "aggregate"]


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise RefusedError(f"{name} is {value!r}; allowed is {allowed}")


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are looked at.

    Attributes:
        mode: ``fps`` takes the first frame at or after k / fps seconds for each k = 0, 1, ...; ``every`` takes each
            frame whose index is a multiple of `every`; ``keyframes`` takes the key frames only (coarse, very fast).
        fps: samples a second, exact. Only for mode ``fps``.
        every: distance in frames. Only for mode ``every``.
        start_ms: frames before this time are left out.
        end_ms: frames at or after this time are left out; None for the whole video.
    """

    mode: SamplingMode = "fps"
    fps: Fraction = Fraction(2)
    every: int = 1
    start_ms: int = 0
    end_ms: int | None = None

    def __post_init__(self) -> None:
        _check(self.mode in get_args(SamplingMode), "sampling mode", self.mode, "fps, every or keyframes")
        _check(0 < self.fps <= 1000, "--fps", str(self.fps), "a rate above 0 and up to 1000 samples a second")
        _check(self.every >= 1, "--every", self.every, "a whole number of frames from 1")
        _check(self.start_ms >= 0, "--start", self.start_ms, "a time from 0 ms")
        _check(self.end_ms is None or self.end_ms > self.start_ms, "--end", self.end_ms, "a time after --start")


@dataclass(frozen=True)
class Detection:
    """How faces are found.

    Attributes:
        model_sha256: hash of the YuNet weights in use, filled in when they are loaded.
        long_side: frames are reduced (never enlarged) so that their long side has this many pixels.
        min_score: detections below this confidence, 0..1, are dropped.
        min_face: faces smaller than this, in display pixels (geometric mean of width and height), are dropped.
    """

    model_sha256: str = ""
    long_side: int = 640
    min_score: float = 0.7
    min_face: int = 24

    def __post_init__(self) -> None:
        _check(64 <= self.long_side <= 8192, "--detect-size", self.long_side, "64 to 8192 pixels")
        _check(0 < self.min_score < 1, "--min-score", self.min_score, "between 0 and 1")
        _check(self.min_face >= 1, "--min-face", self.min_face, "a whole number of pixels from 1")


@dataclass(frozen=True)
class Tracking:
    """How faces are joined into tracks; :mod:`fer_batch.track` explains the terms.

    Attributes:
        max_gap_ms: a track that was not seen for longer than this ends (or than two samples, where they are far apart).
        max_distance: how far a face may lie from where its track expects it, in face sizes, one sample on.
        max_growth: the largest ratio between a face's size and its track's last.
    """

    max_gap_ms: int = 3500
    max_distance: float = 1.5
    max_growth: float = 2.0

    def __post_init__(self) -> None:
        _check(self.max_gap_ms >= 0, "max_gap_ms", self.max_gap_ms, "a time from 0 ms")
        _check(self.max_distance > 0, "max_distance", self.max_distance, "a number above 0")
        _check(self.max_growth > 1, "max_growth", self.max_growth, "a number above 1")


@dataclass(frozen=True)
class Privacy:
    """How fine the tables are that reach a disk; ``docs/privacy.md`` defines the levels.

    Attributes:
        level: ``faces`` keeps a row a face; ``tracks`` a row a track and a track's means in bins of time; ``aggregate``
            the means over everybody in bins of time, and nothing finer at any moment.
        bin_s: length of a bin in seconds, for ``tracks`` and ``aggregate``.
        min_people: a bin of ``aggregate`` with fewer people, the most faces in any one frame of it, is suppressed.
        round_to: numbers of people in ``aggregate`` are rounded to multiples of this.
        pseudonymise_paths: keyed pseudonyms stand wherever a run would write a path (:mod:`fer_batch.path_names`).
        path_key: tells their key from others, filled in when it is read; nothing of it can be learned from this.
    """

    level: PrivacyLevel = "faces"
    bin_s: int = 60
    min_people: int = 10
    round_to: int = 5
    pseudonymise_paths: bool = False
    path_key: str = ""

    def __post_init__(self) -> None:
        _check(self.level in get_args(PrivacyLevel), "privacy level", self.level, "faces, tracks or aggregate")
        _check(30 <= self.bin_s <= 3600, "--bin-seconds", self.bin_s, "whole seconds from 30 to 3600")
        _check(self.min_people >= 5, "--min-people", self.min_people, "a whole number of people from 5")
        _check(2 <= self.round_to <= 100, "--round-to", self.round_to, "a whole number from 2 to 100")


@dataclass(frozen=True)
class RunConfig:
    """All that decides what the tables hold.

    Attributes:
        model_sha256: hash of the ModelBundle in use, filled in when it is loaded.
        precision: arithmetic of the model; ``auto`` until the run starts and :mod:`fer_batch.precision` has chosen.
        backend: what the model runs on, filled in with it; scores agree to 1e-5 within one backend.
    """

    sampling: Sampling = field(default_factory=Sampling)
    detection: Detection = field(default_factory=Detection)
    tracking: Tracking = field(default_factory=Tracking)
    privacy: Privacy = field(default_factory=Privacy)
    model_sha256: str = ""
    precision: AskedPrecision = "auto"
    backend: Backend | None = None

    def __post_init__(self) -> None:
        _check(self.precision in get_args(AskedPrecision), "--precision", self.precision, "auto, int8 or float32")

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``run.json``; the rate is written as a fraction, for example ``"30000/1001"``."""
        plain = dataclasses.asdict(self)
        plain["sampling"]["fps"] = str(self.sampling.fps)
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> RunConfig:
        """The inverse of :meth:`to_json`.

        Raises:
            RefusedError: a key is unknown or missing, or a value is not allowed.
        """
        try:
            sampling = Sampling(**{**plain["sampling"], "fps": Fraction(plain["sampling"]["fps"])})
            parts = {
                "sampling": sampling,
                "detection": Detection(**plain["detection"]),
                "tracking": Tracking(**plain["tracking"]),
                "privacy": Privacy(**plain.get("privacy", {})),  # runs of earlier versions have none: faces
            }
            return cls(**{**plain, **parts})
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"run.json holds a configuration that this version cannot read: {error}") from error

    def differences(self, other: RunConfig) -> list[str]:
        """One line a key that differs: ``sampling.fps: 2 there, 5 asked``."""
        return _differences(other.to_json(), self.to_json(), "")


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str) -> list[str]:
    lines: list[str] = []
    for key, asked in ours.items():
        there = theirs.get(key)
        if isinstance(asked, dict):
            lines += _differences(there or {}, asked, f"{prefix}{key}.")
        elif there != asked:
            lines.append(f"{prefix}{key}: {there} there, {asked} asked")
    return lines


@dataclass(frozen=True)
class Resources:
    """What a run may use; None means a default that keeps the machine busy (see :mod:`fer_batch.resources`).

    Attributes:
        workers: units decoded at the same time.
        actors: copies of the model.
        cpus: CPU cores to use.
        memory: bytes that all processes together should stay under.
        address: a Ray cluster's address; None starts an embedded Ray on this machine, on loopback only.
        gpus: GPUs to use; a fraction is a share of one. None uses those that are there, 0 none.
        stall_s: seconds after which a worker that makes no progress on a file is ended and the file tried again.
        copies: bytes of each machine's disk for copies of videos on object stores; None for 20 GB, or half of what is
            free if that is less.
        wait_s: seconds to wait for a cluster's nodes when there is none to work on.
        actor_bytes: memory of one copy of the model, filled in where it is known; None for TensorFlow's.
    """

    workers: int | None = None
    actors: int | None = None
    cpus: int | None = None
    memory: int | None = None
    address: str | None = None
    gpus: float | None = None
    stall_s: float = STALL_S
    wait_s: float = 600.0
    copies: int | None = None
    actor_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "actors", "cpus"):
            value = getattr(self, name)
            _check(value is None or value >= 1, f"--{name}", value, "a whole number from 1")
        _check(self.memory is None or self.memory > 0, "--memory", self.memory, "a size such as 4GB")
        _check(self.stall_s > 0, "--stall", self.stall_s, "seconds above 0")
        _check(self.wait_s >= 0, "--wait-for-resources", self.wait_s, "seconds from 0")
        _check(self.copies is None or self.copies >= 0, "--copies", self.copies, "a size such as 4GB, or 0")
        _check(self.gpus is None or (self.gpus >= 0 and math.isfinite(self.gpus)), "--gpus", self.gpus, "0 or more")
