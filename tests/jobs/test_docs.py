"""The pages of documentation tell the truth: commands, options, keys and columns in them exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from jobs.cli import app
from jobs.job_tables import KINDS, JobTables
from jobs.toml_file import table_of
from reports.groups.trials import COLUMNS
from tests.conftest import ROOT

PAGES = [ROOT / "docs" / f"{name}.md" for name in ("sessions", "customer_feedback", "privacy")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(r"^fer-batch (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        name, *rest = line.split()
        assert name in commands, line
        known = {option for param in commands[name].params for option in param.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line
        if name == "init":
            assert rest[0] in KINDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_keys_of_job_files_exist(page: Path) -> None:
    for text in re.findall(r"```toml\n(.+?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for name, content in tomllib.loads(text).items():
            schema = table_of(JobTables.model_fields[name])
            assert schema is not None
            assert set(content) <= set(schema.model_fields), text


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.stem)
def test_tables_to_fill_in_have_the_columns_that_are_read(page: Path) -> None:
    (text,) = re.findall(r"```\n(participant,.+?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    head, *rows = text.strip().splitlines()
    assert set(head.split(",")) <= {*COLUMNS, "age_group", "customer_since"}
    assert all(row.count(",") == head.count(",") for row in rows)


def test_pages_are_linked_from_the_readme_and_their_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"docs/{page.name}" in readme
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), target
