"""Job files: ``job.toml`` read, checked, and turned into the settings of a run. Paths are relative to the job file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from fer_batch.config import Detection, Privacy, PrivacyLevel, Resources, RunConfig, Sampling
from fer_batch.errors import RefusedError
from fer_batch.object_path import as_path
from jobs.job_tables import JobTables, Kind
from jobs.settings import Settings
from jobs.toml_file import checked, located, read_toml

RATES: Final[dict[Kind | None, Fraction]] = {"customer_feedback": Fraction(10)}
"""Samples a second where the job does not say: smiles are short. Two for all others."""

Made = TypeVar("Made")


class Job:
    """A job file that was read and checked.

    Attributes:
        file: its path.
        tables: its content.
    """

    def __init__(self, file: Path) -> None:
        """
        Raises:
            RefusedError: it cannot be read or something in it is wrong; every problem is named with its line.
        """
        self.file = file
        self._text, content = read_toml(file)
        self.tables = checked(JobTables, content, file, self._text)
        self._check()

    @property
    def kind(self) -> Kind | None:
        """Which report is made beside the videos' pages; None for none."""
        return self.tables.kind

    @property
    def level(self) -> PrivacyLevel:
        """How fine the run's tables are."""
        return self.tables.privacy.level or ("aggregate" if self.kind == "classroom" else "faces")

    @property
    def participants(self) -> Path | None:
        """The participants table, which need not be there."""
        return None if self.tables.participants is None else Path(self.path(self.tables.participants.table))

    @property
    def stimuli(self) -> Path | None:
        """The folder of the stimuli's videos."""
        return None if self.tables.report.stimuli is None else Path(self.path(self.tables.report.stimuli))

    def path(self, text: str) -> str:
        """A path of the file as one from the working folder. Addresses with ``://`` stay as they are."""
        base = str(self.file.parent)
        if "://" in text or os.path.isabs(text):
            return text
        plain = os.path.join(base, text)
        if glob.has_magic(text) and not os.path.lexists(plain):
            return os.path.join(glob.escape(base), text)
        return plain

    def _unsigned(self, text: str) -> str:
        if getattr(shown := as_path(text), "is_signed", False):
            raise self._refuse(("inputs", "paths"), f"names {shown}, whose signature lets in whoever reads this file: "
                               "name it on the command line, or use credentials (docs/storage.md)")  # fmt: skip
        return text

    def check_inputs(self) -> None:
        """Look whether what the job reads is there; object stores are not asked.

        Raises:
            RefusedError: a path is of nothing, and matches nothing as a pattern.
        """
        for text in self.tables.inputs.paths:
            path = as_path(self.path(text))
            if isinstance(path, Path) and not os.path.lexists(path) and not glob.glob(str(path), recursive=True):
                is_relative = "://" not in text and not os.path.isabs(text)
                where = f" in {self.file.parent.absolute()}, the job file's own folder," if is_relative else ""
                raise self._refuse(("inputs", "paths"), f"names {text!r}:{where} there is no such file or folder, and "
                                   "no file matches it as a pattern")  # fmt: skip

    def record(self) -> dict[str, Any]:
        """What of the job stands in ``run.json``, retention in days."""
        return {"kind": self.kind, "retention": self.tables.retention.model_dump(exclude_none=True)}

    def settings(self) -> Settings:
        """What is asked of the run.

        Raises:
            RefusedError: a value is not allowed.
        """
        tables = self.tables
        config = RunConfig(
            sampling=self._made("sampling", self._sampling),
            detection=self._made(
                "detector",
                lambda: Detection(
                    long_side=tables.detector.detect_size,
                    min_face=tables.detector.min_face,
                    min_score=tables.detector.min_score,
                ),
            ),
            privacy=self._made("privacy", self._privacy),
            precision=tables.model.precision,
        )
        own = Path(self.path(tables.model.name))
        detector = tables.detector.model
        res = tables.resources
        return Settings(
            inputs=tuple(self._unsigned(self.path(text)) for text in tables.inputs.paths),
            out=as_path(self.path(tables.output.folder)),
            config=config,
            model=own if own.is_dir() else Path(tables.model.name),
            detector_model=None if detector is None else Path(self.path(detector)),
            include=tuple(tables.inputs.include),
            exclude=tuple(tables.inputs.exclude),
            resources=self._made(
                "resources",
                lambda: Resources(
                    res.workers,
                    res.actors,
                    res.cpus,
                    res.memory,
                    res.address,
                    res.gpus,
                    res.stall,
                    res.wait_for_resources,
                    res.copies,
                ),
            ),
            pages=tables.report.pages,
            purpose=tables.purpose,
            job=self,
        )

    def _sampling(self) -> Sampling:
        asked = self.tables.sampling
        if sum((asked.fps is not None, asked.every is not None, asked.keyframes)) > 1:
            raise RefusedError("give one of --fps, --every and --keyframes")
        if asked.every is not None:
            return Sampling(mode="every", every=asked.every, start_ms=asked.start, end_ms=asked.end)
        mode: Literal["fps", "keyframes"] = "keyframes" if asked.keyframes else "fps"
        rate = asked.fps if asked.fps is not None else RATES.get(self.kind, Sampling().fps)
        return Sampling(mode=mode, fps=Sampling().fps if asked.keyframes else rate, start_ms=asked.start,
                        end_ms=asked.end)  # fmt: skip

    def _privacy(self) -> Privacy:
        asked = self.tables.privacy
        return Privacy(self.level, asked.bin_seconds, asked.min_people, asked.round_to, asked.pseudonymise_paths)

    def _made(self, table: str, make: Callable[[], Made]) -> Made:
        """What `make` makes; its errors, which name flags, name the keys of a table of this file."""
        try:
            return make()
        except RefusedError as error:
            message = re.sub(r"--([a-z-]+)", lambda flag: f"{table}.{flag[1].replace('-', '_')}", str(error))
            found = re.search(rf"{table}\.(\w+)", message)
            where = located(self._text, (table, found[1]) if found else (table,)).partition(": ")
            line = f"{where[0]}: " if where[1] else ""
            raise RefusedError(f"{self.file}: {line}{message}") from error

    def _refuse(self, place: tuple[str, ...], problem: str) -> RefusedError:
        return RefusedError(f"{self.file}: {located(self._text, place)} {problem}")

    def _check(self) -> None:
        """What keys of several tables have to do with each other."""
        tables, kind = self.tables, self.kind
        if self.level != "faces" and tables.report.thumbnails:
            raise self._refuse(("report", "thumbnails"), f"is true; at privacy.level {self.level!r} no face is shown: "
                               "allowed is false")  # fmt: skip
        if tables.privacy.pseudonymise_paths and tables.report.thumbnails:
            raise self._refuse(("report", "thumbnails"), "is true; with privacy.pseudonymise_paths nobody can go back "
                               "to the recordings: allowed is false")  # fmt: skip
        if kind is None:
            return
        if tables.purpose is None:
            raise self._refuse(("purpose",), f"is missing: a job of kind {kind} says what it is for. fer-batch init "
                               f"{kind} writes the table to fill in")  # fmt: skip
        if kind == "classroom":
            if tables.privacy.level not in {None, "aggregate"}:
                raise self._refuse(("privacy", "level"), f"is {tables.privacy.level!r}; kind classroom is about the "
                                   'class as a whole: allowed is "aggregate"')  # fmt: skip
            if tables.participants is not None:
                raise self._refuse(("participants",), "is no table of kind classroom, which knows nobody; remove it")
            return
        if tables.privacy.level == "aggregate":
            raise self._refuse(("privacy", "level"), f"is 'aggregate', which keeps nobody apart, but kind {kind} "
                               'compares people; allowed is "faces" or "tracks"')  # fmt: skip
        if kind == "sessions" and tables.purpose.is_groups_only:
            raise self._refuse(("kind",), "is 'sessions', whose report is about single people. About people at work or "
                               "in education there are reports on groups only (kinds classroom and customer_feedback), "
                               "and in the EU none but for medical or safety reasons: docs/privacy.md")  # fmt: skip
        if tables.participants is None:
            raise self._refuse(("participants",), f"is missing: kind {kind} needs to know who is who. Add the table "
                               "with table = \"participants.csv\"")  # fmt: skip
        if tables.purpose.is_groups_only and tables.report.thumbnails:
            raise self._refuse(("report", "thumbnails"), "is true; about people at work or in education no faces are "
                               "shown: allowed is false")  # fmt: skip
