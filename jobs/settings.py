"""What a run is asked to do, whoever asks: flags of the command line and job files both end in :class:`Settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_batch.config import Resources, RunConfig
from fer_batch.object_path import AnyPath

if TYPE_CHECKING:
    from jobs.job_file import Job
    from jobs.purpose import Purpose

Pages = Literal["full", "index", "none"]

Precision = Literal["auto", "int8", "float32"]
"""What may be asked of the model's arithmetic; :mod:`fer_batch.precision` decides."""


@dataclass(frozen=True)
class Settings:
    """All that a run needs.

    Attributes:
        inputs: files, folders or patterns, or addresses of such.
        out: the run's folder.
        config: what decides what the tables hold.
        model, detector_model, include, exclude, resources: as :func:`fer_batch.api.run` takes them.
        pages: which pages of the videos to build at the end.
        purpose: what was declared; not yet past the gate.
        job: the job file, where there is one: its kind, its participants table and its report.
    """

    inputs: tuple[str, ...]
    out: AnyPath
    config: RunConfig = field(default_factory=RunConfig)
    model: Path | None = None
    detector_model: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    pages: Pages = "full"
    purpose: Purpose | None = None
    job: Job | None = None

    def for_run(self) -> dict[str, Any]:
        """Arguments of :func:`fer_batch.api.run` but for the two that change from start to start, the purpose past
        the gate.

        Raises:
            RefusedError: the gate is in the way, or what a job file names is not there.
        """
        from jobs.purpose import settle

        purpose = settle(self.out, self.purpose)
        if self.job is not None:
            self.job.check_inputs()
        return {
            "inputs": self.inputs,
            "out": self.out,
            "config": self.config,
            "model": self.model,
            "detector_model": self.detector_model,
            "include": self.include,
            "exclude": self.exclude,
            "resources": self.resources,
            "purpose": None if purpose is None else purpose.record(),
            "job": None if self.job is None else self.job.record(),
        }
