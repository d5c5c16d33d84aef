"""What a run is for: the table ``[purpose]`` and its way through the gate, which is :mod:`fer_batch.gate`."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ValidationError

from fer_batch import gate
from fer_batch.countries import COUNTRIES
from fer_batch.errors import RefusedError
from fer_batch.gate import Observed, Reason, Setting
from fer_batch.object_errors import at_once
from fer_batch.object_path import AnyPath
from jobs.toml_file import Table, checked, key, read_toml

LegalBasis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "other"
]
"""The six of GDPR Art. 6(1)(a) to (f), and one for law that knows others."""


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

    reason: Reason = key("Why emotions are inferred.", '"medical" or "safety"', example='"medical"')
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
        return gate.is_groups_only({"observed": self.observed, "setting": self.setting})

    def check(self, today: date | None = None) -> None:
        """Pass the gate.

        Args:
            today: the day on which it is passed; None for this one.

        Raises:
            RefusedError: the purpose is prohibited, the exception has expired, or nobody was informed.
        """
        gate.passed(self.record(), None, "", today)

    def record(self) -> dict[str, Any]:
        """As it stands in ``run.json``; ``groups_only`` tells the reports what they may show."""
        return {**self.model_dump(mode="json", exclude_none=True), "groups_only": self.is_groups_only}

    @classmethod
    def from_record(cls, record: dict[str, Any], file: AnyPath) -> Purpose:
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


def read_purpose(file: str | os.PathLike[str]) -> Purpose:
    """The table ``[purpose]`` of a TOML file; other tables are not looked at, so a job file will do.

    Raises:
        RefusedError: the file cannot be read or the table is wrong.
    """
    path = Path(file)
    text, content = read_toml(path)
    declared = content.get("purpose")
    if not isinstance(declared, dict):
        raise RefusedError(f"{path}: has no table [purpose]; fer-batch init writes one to fill in")
    return checked(Purpose, declared, path, text, ("purpose",))


def settle(out: AnyPath, declared: Purpose | None, today: date | None = None) -> Purpose | None:
    """The purpose of a run that is to be started or gone on with, past the gate.

    What ``run.json`` in `out` says stands where nothing is declared anew. A new declaration replaces it, for example to
    renew an exception, but for :data:`fer_batch.gate.FIXED`.

    Raises:
        RefusedError: the gate refuses it, or the run there was declared for other people.
    """
    passed = gate.passed(None if declared is None else declared.record(), _recorded(out), out, today)
    if passed is None or declared is not None:
        return declared
    return Purpose.from_record(passed, out / "run.json")


def _recorded(out: AnyPath) -> dict[str, Any] | None:
    from fer_batch.mend import known

    with at_once():
        return known(out).get("purpose") if out.is_dir() else None
