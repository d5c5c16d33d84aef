"""Every command of the page on clusters exists, with its options and files."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from tests.conftest import ROOT
from tests.test_cli import COMMANDS, options

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"```\n(.+?)```", PAGE, flags=re.DOTALL)

LINES = [line for block in BLOCKS for line in block.splitlines()]

OTHERS = ("docker", "export", "kubectl", "ray", "ssh")
"""Programs that are not ours."""


def test_there_are_five_steps() -> None:
    assert re.findall(r"^\*\*(\d)\. ", PAGE, flags=re.MULTILINE) == list("12345")
    assert len(LINES) > 15


@pytest.mark.parametrize("line", LINES)
def test_every_command_exists(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "python":
        module, *words = words[1:]
        names = _planner_options() if module == "benchmarks.planner" else set()
    elif program == "fer-batch":
        command, *words = words
        names = options(COMMANDS[command])
        if "--" in words:  # the rest is for fer-batch run
            at = words.index("--")
            rest, words = words[at:], words[:at]
            assert {word for word in rest if word.startswith("--")} - {"--"} <= options(COMMANDS["run"])
    else:
        assert program in OTHERS
        for word in words:
            if word.startswith("jobs/"):
                assert (ROOT / word).exists(), word
        return
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= names


def test_the_commands_around_the_image_and_the_manifest_are_theirs() -> None:
    said = [line for line in LINES if line.startswith(("docker", "kubectl create", "kubectl apply"))]
    written = "".join((ROOT / "jobs" / "cluster" / name).read_text() for name in ("Dockerfile", "rayjob.yaml"))
    for line in said:
        assert f"#   {line}\n" in written


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_every_option_that_the_text_names_exists() -> None:
    ours = {option for command in COMMANDS.values() for option in options(command)}
    known = ours | _planner_options() | {"--num-cpus", "--object-spilling-directory"}  # and of ray start
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known


def _planner_options() -> set[str]:
    from benchmarks.planner import parser

    made: argparse.ArgumentParser = parser()
    return {name for action in made._actions for name in action.option_strings}
