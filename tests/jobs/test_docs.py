"""The pages of documentation tell the truth: commands, options, keys and columns in them exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer.main

from fer_batch.config import PrivacyLevel
from fer_batch.errors import RefusedError
from jobs.cli import app
from jobs.job_file import Job
from jobs.job_tables import KINDS, JobTables
from jobs.toml_file import table_of
from reports.groups.trials import COLUMNS
from tests.conftest import ROOT
from tests.jobs.filled import job_toml

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


def test_the_table_of_kinds_and_levels_is_what_job_files_are_held_to(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    head, _, *rows = re.search(r"^\| kind of job .+?\n\n", text, re.DOTALL | re.MULTILINE)[0].strip().splitlines()  # type: ignore[index]
    levels = re.findall(r"`(\w+)`", head)
    assert levels == list(get_args(PrivacyLevel))
    assert [line.split("|")[1].strip(" `") for line in rows] == ["none", *KINDS]
    for kind, *cells in ([cell.strip(" `") for cell in line.split("|")[1:-1]] for line in rows):
        for level, said in zip(levels, cells, strict=True):
            file = tmp_path / f"{kind}-{level}.toml"
            more = f'[privacy]\nlevel = "{level}"\n'
            file.write_text(job_toml(kind, more) if kind != "none" else f'[inputs]\npaths = ["in"]\n{more}')
            if said.startswith("refused"):
                with pytest.raises(RefusedError, match=f"privacy.level is '{level}'.+ allowed is"):
                    Job(file)
            else:
                assert Job(file).settings().config.privacy.level == level
