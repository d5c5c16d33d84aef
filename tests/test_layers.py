"""Imports point down only: jobs stands on training and reports, both on fer_batch; one module of each end knows Ray."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {
    "fer_batch": set[str](),
    "training": {"fer_batch"},
    "reports": {"fer_batch"},
    "jobs": {"fer_batch", "training", "reports"},
}
"""What each package may import of the others."""

KNOW_RAY = {*(f"fer_batch/engine/{name}.py" for name in ("__init__", "cluster", "start", "workers")), "jobs/submit.py"}

MODULES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported_packages(source: str) -> set[str]:
    """Top-level packages that a module imports anywhere, within functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
        elif (
            isinstance(node, ast.Call)
            and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value).partition(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_there_is_something_to_check(package: str) -> None:
    assert any(path.is_relative_to(ROOT / package) for path in MODULES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    package = name.partition("/")[0]
    imported = imported_packages(path.read_text(encoding="utf-8"))
    upward = imported & MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    assert not upward, f"{name} imports {upward}: only {MAY_IMPORT[package] or 'nothing'} lies below {package}"
    assert "tests" not in imported
    assert "ray" not in imported or name in KNOW_RAY, f"{name} imports ray: only {KNOW_RAY} do"


def test_the_check_sees_every_kind_of_import() -> None:
    source = """
import ray.data as x, json
def f():
    from jobs.cli import main
    import importlib
    return importlib.import_module("training.data.faces"), __import__("reports")
"""
    assert imported_packages(source) == {"ray", "json", "jobs", "importlib", "training", "reports"}
