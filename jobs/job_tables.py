"""The schema of ``job.toml``: its tables and keys, what they mean, what is allowed and what is taken without them.

Keys are named like the flags of ``fer-batch run``; what both take is checked in :mod:`fer_batch.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeVar

import typer
from pydantic import BeforeValidator

from fer_batch.config import Detection, Privacy, Resources
from fer_batch.watchdog import STALL_S
from jobs import values
from jobs.purpose import Purpose
from jobs.settings import Precision
from jobs.toml_file import Table, key

Kind = Literal["sessions", "customer_feedback", "classroom"]

KINDS: Final[tuple[Kind, ...]] = ("sessions", "customer_feedback", "classroom")

_D, _P = Detection(), Privacy()

Value = TypeVar("Value")


def _read(read: Callable[[str], Value]) -> Callable[[Any], Any]:
    """A reader of the command line's values for values of a TOML file, where a number may stand without quotes."""

    def reader(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("neither a number nor a text")
        try:
            return read(str(value))
        except typer.BadParameter as error:
            raise ValueError(error.message) from error

    return reader


def _duration(text: str) -> int:
    """``90 days`` or ``18 months`` in days; a month counts 30."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*(day|week|month|year)s?\s*", text)
    if found is None or int(found[1]) < 1:
        raise ValueError(f"{text!r} is no length of time")
    return int(found[1]) * {"day": 1, "week": 7, "month": 30, "year": 365}[found[2]]


Rate = Annotated[Fraction, BeforeValidator(_read(values.rate))]
Time = Annotated[int, BeforeValidator(_read(values.milliseconds))]
Size = Annotated[int, BeforeValidator(_read(values.size))]
Days = Annotated[int, BeforeValidator(_read(_duration))]

_A_TIME: Final = 'seconds, or a text such as "1:30"'
_A_SPAN: Final = 'a length of time such as "90 days", "18 months" or "10 years"'
_A_PRECISION: Final = '"auto", "int8" or "float32"'
_PATTERNS: Final = 'a list of patterns such as ["*.mp4"]'


class Inputs(Table):
    """Which videos."""

    paths: list[str] = key(
        "Videos, folders (searched recursively) or patterns, also as addresses (s3://...).",
        "a list of at least one text", min_length=1,
        example='["recordings"]',
    )  # fmt: skip
    include: list[str] = key("In folders, only such files.", _PATTERNS, [])
    exclude: list[str] = key("In folders, not such files.", _PATTERNS, [])


class Participants(Table):
    """Who is who, what they watched or did, and when."""

    table: str = key(
        "The participants table, CSV or TSV. It may still be empty: the run then goes on without it.", "a path",
        example='"participants.csv"',
    )  # fmt: skip
    baseline: str | None = key(
        "Rows whose column stimulus says so are each person's neutral stretch; its mean is subtracted.",
        "a text as in the column stimulus", None, '"neutral"',
    )  # fmt: skip
    attributes: list[str] = key(
        "Columns of the table by which answers are broken down (kind customer_feedback).",
        'a list of columns such as ["age_group"]', [],
    )  # fmt: skip
    min_group: int = key("Groups of fewer people are not shown.", "a whole number from 2", 5, ge=2)
    min_coverage: float = key(
        "Trials with the face in a smaller share of the time are left out.", "a number from 0 to 1", 0.0, ge=0, le=1
    )


class SamplingTable(Table):
    """Which frames are looked at; give one of fps, every and keyframes."""

    fps: Rate | None = key("Samples a second.", 'a number or a fraction such as "30000/1001"', None, "2")
    every: int | None = key("Every Nth frame instead.", "a whole number from 1", None, "15")
    keyframes: bool = key("Key frames only instead: coarse, very fast.", "true or false", False)
    start: Time = key("Begin there, in each video.", _A_TIME, 0)
    end: Time | None = key("Stop there.", _A_TIME, None, '"45:00"')


class Detector(Table):
    """How faces are found."""

    model: str | None = key("Other YuNet weights (ONNX).", "a path", None, '"yunet.onnx"')
    detect_size: int = key("Find faces in frames reduced to this long side, in pixels.", "64 to 8192", _D.long_side)
    min_face: int = key("Smallest face, in pixels.", "a whole number from 1", _D.min_face)
    min_score: float = key("Least confidence of a detection.", "a number between 0 and 1", _D.min_score)


class Model(Table):
    """What scores the faces."""

    name: str = key("A model that ships (compact, resnet50) or a bundle's folder.", "a name or a path", "compact")
    precision: Precision = key("Its arithmetic: auto is int8 on a CPU where that costs little.", _A_PRECISION, "auto")


class ResourcesTable(Table):
    """What may be used; flags of the command line replace these."""

    workers: int | None = key("Units decoded at once.", "a whole number from 1", None, "4")
    actors: int | None = key("Copies of the model.", "a whole number from 1", None, "1")
    cpus: int | None = key("Cores.", "a whole number from 1", None, "8")
    gpus: float | None = key("GPUs; 0.5 is half of one.", "0 or more", None, "1")
    memory: Size | None = key("Stay under this.", 'a size such as "8GB"', None, '"8GB"')
    copies: Size | None = key("Disk for copies of videos from object stores.", 'a size such as "8GB"', None, '"20GB"')
    address: str | None = key("A Ray cluster instead of this machine.", "a text", None, '"head:6379"')
    stall: float = key("Seconds without progress after which a file is tried again.", "seconds above 0", STALL_S)
    wait_for_resources: float = key("How long to wait for a cluster's nodes.", "seconds from 0", Resources().wait_s)


class Output(Table):
    """Where results go."""

    folder: str = key(
        "The run's folder: tables and report; the same job goes on in it.", "a path, an address", "results"
    )


class PrivacyTable(Table):
    """How fine the tables are that are kept; docs/privacy.md defines the levels."""

    level: Literal["faces", "tracks", "aggregate"] | None = key(
        "A row a face, a row a track, or means over everybody only.",
        'one of "faces", "tracks", "aggregate"; kind classroom has "aggregate"', None, '"faces"',
    )  # fmt: skip
    bin_seconds: int = key("Length of a bin of time (tracks and aggregate).", "from 30 to 3600", _P.bin_s)
    min_people: int = key("Bins of fewer people are suppressed (aggregate).", "from 5", _P.min_people)
    round_to: int = key("Numbers of people are rounded to multiples of this (aggregate).", "2 to 100", _P.round_to)
    pseudonymise_paths: bool = key(
        "Keyed pseudonyms in the place of paths in all that is written; the key is kept elsewhere (docs/privacy.md).",
        "true or false", False,
    )  # fmt: skip


class Retention(Table):
    """How long results stay: written into run.json, applied by fer-batch purge."""

    faces: Days | None = key("Rows of faces, frames and tracks.", _A_SPAN, None, '"90 days"')
    aggregates: Days | None = key("Tables that hold no single person.", _A_SPAN, None, '"2 years"')
    pages: Days | None = key("The report.", _A_SPAN, None, '"1 year"')


class Report(Table):
    """What is shown."""

    pages: Literal["full", "index", "none"] = key(
        "A page a video, the list of videos alone, or neither.", '"full", "index" or "none"', "full"
    )
    single_file: bool = key("Each page holds its scripts, to be passed on alone (5 MB each).", "true or false", False)
    thumbnails: bool = key("Faces beside peaks: pages then hold faces.", "true or false", False)
    stimuli: str | None = key(
        "Folder with the stimuli's own videos, named like them, shown beside the curves.", "a path", None, '"stimuli"'
    )
    positive_above: float = key(
        "Valence above which a sample counts as positive.", "from -1 to below 1", 0.0, ge=-1, lt=1
    )
    share_measure: Literal["valence", "expressiveness", "p_angry", "p_disgust", "p_fear", "p_happy", "p_sad",
                           "p_surprise", "p_neutral"] = key(
        "Measure of the share of respondents over a threshold (kind customer_feedback).",
        "valence, expressiveness or one of p_angry, p_disgust, p_fear, p_happy, p_sad, p_surprise, p_neutral",
        "p_happy",
    )  # fmt: skip
    share_above: float = key("That threshold.", "from -1 to below 1", 0.5, ge=-1, lt=1)
    resamples: int = key("Bootstrap resamples of intervals.", "from 999 to 100000", 9_999, ge=999, le=100_000)
    seed: int = key("Seed of the resamples.", "a whole number from 0", 0, ge=0)


class JobTables(Table):
    """A job file."""

    kind: Kind | None = key(
        "Which report is made beside the videos' pages.", f"one of {', '.join(KINDS)}", None, '"sessions"'
    )
    inputs: Inputs = key("", "a table")
    participants: Participants | None = key("", "a table", None)
    sampling: SamplingTable = key("", "a table", SamplingTable())
    detector: Detector = key("", "a table", Detector())
    model: Model = key("", "a table", Model())
    resources: ResourcesTable = key("", "a table", ResourcesTable())
    output: Output = key("", "a table", Output())
    purpose: Purpose | None = key("", "a table; every job with a kind has one", None)
    privacy: PrivacyTable = key("", "a table", PrivacyTable())
    retention: Retention = key("", "a table", Retention())
    report: Report = key("", "a table", Report())
