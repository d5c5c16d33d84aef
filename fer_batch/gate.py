"""May a run be, by what is declared of its purpose? Every run passes here, whatever starts it.

In the European Union, AI systems that infer emotions of people at work or in education are prohibited except for
medical or safety reasons: Regulation (EU) 2024/1689 (AI Act), Art. 5(1)(f), applied since 2 February 2025 (Art. 113).
Those who use emotion recognition elsewhere inform the people exposed to it: Art. 50(3), applied since 2 August 2026.
The gate knows what is declared, not what is true. It is no legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Literal, get_args

from fer_batch.countries import COUNTRIES, UNDER_THE_AI_ACT
from fer_batch.errors import RefusedError

LAW: Final = "Regulation (EU) 2024/1689, Art. 5(1)(f)"

NO_ADVICE: Final = "This is no legal advice."

Observed = Literal[
    "customers", "patients", "research_participants", "test_users", "employees", "job_applicants", "students",
    "teachers", "public", "other",
]  # fmt: skip
Setting = Literal["customer_research", "health_care", "research", "home", "public_space", "workplace", "education",
                  "other"]  # fmt: skip
Reason = Literal["medical", "safety"]

_AT_WORK_OR_LEARNING: Final = {"employees", "job_applicants", "students", "teachers", "workplace", "education"}
"""Job applicants too: the Commission's guidelines of 29 July 2025, C(2025) 5052, take recruitment for the workplace."""

FIXED: Final = ("observed", "setting", "jurisdiction")
"""What is declared once for a run's folder: tables made for one kind of people are not declared to be another's."""


def passed(
    declared: Mapping[str, Any] | None, recorded: Mapping[str, Any] | None, out: object, today: date | None = None
) -> dict[str, Any] | None:
    """The purpose of a run that is to be started or gone on with, as ``run.json`` is to hold it.

    Args:
        declared: what is declared now; None for what was.
        recorded: what ``run.json`` of the run says; None without.
        out: the run's folder, for messages.
        today: the day on which it passes; None for this one.

    Returns:
        The declaration with `groups_only`: whether people at work or in education are observed, so that nothing about a
        single person is shown. None where nothing is declared.

    Raises:
        RefusedError: it is prohibited, the exception has expired, nobody was informed, the run there was declared for
            other people, or the declaration lacks what the gate needs.
    """
    record = declared if declared is not None else recorded
    if record is None:
        return None
    _check_complete(record)
    if isinstance(recorded, Mapping) and declared is not None:
        differ = [name for name in FIXED if name in recorded and _plain(recorded[name]) != _plain(declared[name])]
        if differ:
            lines = [f"purpose.{name}: {_plain(recorded[name])} there, {_plain(declared[name])} asked"
                     for name in differ]  # fmt: skip
            raise RefusedError(f"{out} holds a run that was declared for another purpose:\n  " + "\n  ".join(lines)
                               + "\nChoose another --out; --redo does not change whom tables are about")  # fmt: skip
    _check(record, today or datetime.now().astimezone().date())
    return {**record, "groups_only": is_groups_only(record)}


def is_groups_only(record: Mapping[str, Any]) -> bool:
    """Whether people at work or in education are observed: then nothing about a single person is shown."""
    return bool({record["observed"], record["setting"]} & _AT_WORK_OR_LEARNING)


def _check(record: Mapping[str, Any], today: date) -> None:
    places = list(record["jurisdiction"])
    if not set(places) & UNDER_THE_AI_ACT:
        return
    if is_groups_only(record):
        exception = record.get("exception")
        if exception is None:
            raise RefusedError(
                f"the purpose {record['title']!r} is about people at work or in education (observed "
                f"{record['observed']}, setting {record['setting']}, jurisdiction {', '.join(places)}). Inferring "
                f"their emotions is prohibited in the EU but for medical or safety reasons ({LAW}). If that is the "
                "reason, declare it in [purpose.exception] with reason, approver, assessment (reference of the impact "
                f"assessment) and expires; else do not run this. {NO_ADVICE}"
            )
        if date.fromisoformat(str(exception["expires"])) < today:
            raise RefusedError(
                f"purpose.exception.expires is {exception['expires']}, which has passed: the exception that "
                f"{exception['approver']} approved no longer holds. Have it assessed and approved anew and declare "
                f"that, or stop ({LAW}). {NO_ADVICE}"
            )
    if not record["informed"]:
        raise RefusedError(
            "purpose.informed is false: who uses emotion recognition in the EU informs the people exposed to it "
            "(Regulation (EU) 2024/1689, Art. 50(3)). fer-batch init writes a notice to give them; set it to true "
            f"when they have it. {NO_ADVICE}"
        )


def _check_complete(declared: object) -> None:
    """A declaration made by hand, or of another version, may lack what decides."""
    record = declared if isinstance(declared, Mapping) else {}
    places = record.get("jurisdiction")
    exception = record.get("exception")
    for name, ok, allowed in (
        ("title", isinstance(record.get("title"), str) and record["title"].strip(), "a text that is not empty"),
        ("observed", record.get("observed") in get_args(Observed), f"one of {', '.join(get_args(Observed))}"),
        ("setting", record.get("setting") in get_args(Setting), f"one of {', '.join(get_args(Setting))}"),
        ("jurisdiction", isinstance(places, list | tuple) and places and set(places) <= COUNTRIES,
         'a list of countries in capitals (ISO 3166), such as ["DE", "CH"]'),
        ("informed", isinstance(record.get("informed"), bool), "true or false"),
        ("exception", exception is None or _is_exception(exception),
         "none, or reason (medical or safety), approver, assessment and expires (such as 2027-06-30)"),
    ):  # fmt: skip
        if not ok:
            raise RefusedError(
                f"the declared purpose cannot be judged: its {name} is {record.get(name)!r}; allowed is {allowed}. "
                "fer-batch init writes a [purpose] to fill in; declare it with --purpose FILE or in a job file, in "
                'Python with jobs.purpose.read_purpose("purpose.toml").record()'
            )


def _is_exception(value: object) -> bool:
    if not isinstance(value, Mapping) or value.get("reason") not in get_args(Reason):
        return False
    try:
        date.fromisoformat(str(value.get("expires")))
    except ValueError:
        return False
    return all(isinstance(value.get(name), str) and value[name].strip() for name in ("approver", "assessment"))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
