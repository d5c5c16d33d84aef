"""Job files as people fill them in."""

from __future__ import annotations

from typing import Any

PURPOSE: dict[str, Any] = {
    "title": "Test of an advertisement",
    "observed": "customers",
    "setting": "customer_research",
    "jurisdiction": ["DE"],
    "legal_basis": "consent",
    "informed": True,
}

EXCEPTION = {
    "reason": "medical",
    "approver": "Dr A. Example",
    "assessment": "DPIA-7",
    "expires": "2099-06-30",
}


def purpose_toml(exception: bool = False, **changes: Any) -> str:
    """The table [purpose], filled in; a key that is changed to None is left out."""
    lines = ["[purpose]", *(_line(name, value) for name, value in (PURPOSE | changes).items() if value is not None)]
    if exception:
        lines += ["[purpose.exception]", *(_line(name, value) for name, value in EXCEPTION.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    if name == "expires":
        return f"{name} = {value}"
    if isinstance(value, bool):
        return f"{name} = {str(value).lower()}"
    return f"{name} = {value!r}".replace("'", '"')


def job_toml(kind: str = "customer_feedback", more: str = "", purpose: str | None = None) -> str:
    """A short job file; `more` are further tables, `purpose` another [purpose]."""
    people = "" if kind == "classroom" else '[participants]\ntable = "people.csv"\n'
    return f'kind = "{kind}"\n[inputs]\npaths = ["in"]\n{people}{purpose_toml() if purpose is None else purpose}{more}'
