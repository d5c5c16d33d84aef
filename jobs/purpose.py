"""What a run is for, and whether that may be: the gate that every command passes which starts a run or shows faces.

In the European Union, AI systems that infer emotions of people at work or in education are prohibited except for
medical or safety reasons: Regulation (EU) 2024/1689 (AI Act), Art. 5(1)(f), applied since 2 February 2025 (Art. 113).
Those who use emotion recognition elsewhere inform the people exposed to it: Art. 50(3), applied since 2 August 2026.
The gate knows what is declared, not what is true. It is no legal advice.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ValidationError

from fer_batch.errors import RefusedError
from jobs.countries import COUNTRIES, UNDER_THE_AI_ACT
from jobs.toml_file import Table, checked, key, read_toml

LAW: Final = "Regulation (EU) 2024/1689, Art. 5(1)(f)"

NO_ADVICE: Final = "This is no legal advice."

Observed = Literal[
    "customers", "patients", "research_participants", "test_users", "employees", "job_applicants", "students",
    "teachers", "public", "other",
]  # fmt: skip
Setting = Literal["customer_research", "health_care", "research", "home", "public_space", "workplace", "education",
                  "other"]  # fmt: skip
LegalBasis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "other"
]
"""The six of GDPR Art. 6(1)(a) to (f), and one for law that knows others."""

_AT_WORK_OR_LEARNING: Final = {"employees", "job_applicants", "students", "teachers", "workplace", "education"}
"""Job applicants too: the Commission's guidelines of 29 July 2025, C(2025) 5052, take recruitment for the workplace."""


def _text(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("nothing stands there")
    return value


def _places(value: Any) -> Any:
    """One code or a list of them, in capitals."""
    codes = [value] if isinstance(value, str) else value
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) for code in codes):
        raise ValueError("no list of codes")
    upper = [code.strip().upper() for code in codes]
    if unknown := [code for code in upper if code not in COUNTRIES]:
        hint = "; the United Kingdom is GB" if "UK" in unknown else ""
        raise ValueError(f"{', '.join(unknown) or 'empty'} is no country's code{hint}")
    return tuple(upper)


Text = Annotated[str, BeforeValidator(_text)]

SOME_TEXT: Final = "a text that is not empty"


class MedicalOrSafety(Table):
    """The exception for medical or safety reasons, as somebody answers for it."""

    reason: Literal["medical", "safety"] = key(
        "Why emotions are inferred.", '"medical" or "safety"', example='"medical"'
    )
    approver: Text = key("Who approved it: name and office.", SOME_TEXT, example='"Dr A. Example, head of safety"')
    assessment: Text = key(
        "Reference of the impact assessment (GDPR Art. 35, AI Act Art. 27).", SOME_TEXT, example='"DPIA-2026-014"'
    )
    expires: date = key("The last day on which it holds.", "a date such as 2027-06-30, without quotes",
                        example="2027-06-30")  # fmt: skip


class Purpose(Table):
    """Who is observed, where, under which law, and on which legal basis."""

    title: Text = key("What it is for, in a few words; stands on every page.", SOME_TEXT, example='"Ad test, spring"')
    observed: Observed = key(
        "Who is recorded.",
        "one of customers, patients, research_participants, test_users, employees, job_applicants, students, teachers, "
        "public, other",
        example='"customers"',
    )
    setting: Setting = key(
        "Where they are recorded.",
        "one of customer_research, health_care, research, home, public_space, workplace, education, other",
        example='"customer_research"',
    )
    jurisdiction: Annotated[tuple[str, ...], BeforeValidator(_places)] = key(
        "Where people are recorded, where you are, and where the results are used.",
        'a list of countries as two letters (ISO 3166), or "EU", such as ["DE", "CH"]',
        example='["DE"]',
    )
    legal_basis: LegalBasis = key(
        "On which basis personal data are processed (GDPR Art. 6(1)).",
        "one of consent, contract, legal_obligation, vital_interests, public_task, legitimate_interests, other",
        example='"consent"',
    )
    informed: bool = key(
        "Whether the people recorded have been told that their expressions are analysed (AI Act Art. 50(3)).",
        "true or false",
        example="true",
    )
    controller: Text | None = key("Who answers for it, and how to reach them.", SOME_TEXT, None,
                                  '"Example Ltd, privacy@example.org"')  # fmt: skip
    note: Text | None = key("What else should stand on record.", SOME_TEXT, None, '"Ethics vote 2026/17"')
    exception: MedicalOrSafety | None = key(
        "For people at work or in education: the exception for medical or safety reasons.", "a table", None
    )

    @property
    def is_groups_only(self) -> bool:
        """Whether people at work or in education are observed: then nothing about a single person is shown."""
        return bool({self.observed, self.setting} & _AT_WORK_OR_LEARNING)

    @property
    def is_in_eu(self) -> bool:
        """Whether the AI Act applies, by what is declared."""
        return bool(set(self.jurisdiction) & UNDER_THE_AI_ACT)

    def check(self, today: date | None = None) -> None:
        """Pass the gate.

        Args:
            today: the day on which it is passed; None for this one.

        Raises:
            RefusedError: the purpose is prohibited, the exception has expired, or nobody was informed.
        """
        if not self.is_in_eu:
            return
        day = today or datetime.now().astimezone().date()
        if self.is_groups_only:
            if self.exception is None:
                raise RefusedError(
                    f"the purpose {self.title!r} is about people at work or in education (observed {self.observed}, "
                    f"setting {self.setting}, jurisdiction {', '.join(self.jurisdiction)}). Inferring their emotions "
                    f"is prohibited in the EU but for medical or safety reasons ({LAW}). If that is the reason, "
                    "declare it in [purpose.exception] with reason, approver, assessment (reference of the impact "
                    f"assessment) and expires; else do not run this. {NO_ADVICE}"
                )
            if self.exception.expires < day:
                raise RefusedError(
                    f"purpose.exception.expires is {self.exception.expires}, which has passed: the exception that "
                    f"{self.exception.approver} approved no longer holds. Have it assessed and approved anew, or stop "
                    f"({LAW}). {NO_ADVICE}"
                )
        if not self.informed:
            raise RefusedError(
                "purpose.informed is false: who uses emotion recognition in the EU informs the people exposed to it "
                "(Regulation (EU) 2024/1689, Art. 50(3)). fer-batch init writes a notice to give them; set it to true "
                f"when they have it. {NO_ADVICE}"
            )

    def record(self) -> dict[str, Any]:
        """As it stands in ``run.json``; ``groups_only`` tells the reports what they may show."""
        return {**self.model_dump(mode="json", exclude_none=True), "groups_only": self.is_groups_only}

    @classmethod
    def from_record(cls, record: dict[str, Any], file: Path) -> Purpose:
        """The inverse of :meth:`record`.

        Raises:
            RefusedError: the record is damaged.
        """
        declared = {name: value for name, value in record.items() if name != "groups_only"}
        try:
            return cls.model_validate_json(json.dumps(declared))
        except (ValidationError, TypeError) as error:
            raise RefusedError(f"{file} holds a purpose that this version cannot read; declare it anew with --purpose "
                               "FILE") from error  # fmt: skip


def read_purpose(file: Path) -> Purpose:
    """The table ``[purpose]`` of a TOML file; other tables are not looked at, so a job file will do.

    Raises:
        RefusedError: the file cannot be read or the table is wrong.
    """
    text, content = read_toml(file)
    declared = content.get("purpose")
    if not isinstance(declared, dict):
        raise RefusedError(f"{file}: has no table [purpose]; fer-batch init writes one to fill in")
    return checked(Purpose, declared, file, text, ("purpose",))


FIXED: Final = ("observed", "setting", "jurisdiction")
"""What is declared once for a run's folder: tables made for one kind of people are not declared to be another's."""


def settle(out: Path, declared: Purpose | None, today: date | None = None) -> Purpose | None:
    """The purpose of a run that is to be started or gone on with, past the gate.

    What ``run.json`` in `out` says stands where nothing is declared anew. A new declaration replaces it, for example to
    renew an exception, but for :data:`FIXED`.

    Raises:
        RefusedError: the gate refuses it, or the run there was declared for other people.
    """
    recorded = _recorded(out)
    purpose = declared or recorded
    if purpose is None:
        return None
    if recorded is not None and declared is not None:
        differ = [name for name in FIXED if getattr(recorded, name) != getattr(declared, name)]
        if differ:
            lines = [f"purpose.{n}: {_plain(getattr(recorded, n))} there, {_plain(getattr(declared, n))} asked" for n in
                     differ]  # fmt: skip
            raise RefusedError(f"{out} holds a run that was declared for another purpose:\n  " + "\n  ".join(lines)
                               + "\nChoose another --out; --redo does not change whom tables are about")  # fmt: skip
    purpose.check(today)
    return purpose


def _plain(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _recorded(out: Path) -> Purpose | None:
    if not out.is_dir():
        return None
    from fer_batch.mend import known

    record = known(out).get("purpose")
    return Purpose.from_record(record, out / "run.json") if isinstance(record, dict) else None
