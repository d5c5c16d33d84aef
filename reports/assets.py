"""What a report's pages share on disk and in their templates: scripts beside them or inside, words, safe writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fer_batch import page
from fer_batch.errors import StoppedError
from fer_batch.store import atomic_write
from reports import wording

if TYPE_CHECKING:
    import jinja2

TEMPLATES: Final = Path(__file__).parent / "templates"

_LIBRARY: Final = "plotly.min.js"


def prepare(folder: Path, below: Sequence[str], own: Sequence[str], *, single_file: bool) -> jinja2.Environment:
    """Make the folders of some pages, write their scripts, and return their templates with the report's own words.

    Args:
        folder: of the report.
        below: folders in it.
        own: the pages' own scripts among the templates, in the order in which they are loaded, before ``page.js``.
        single_file: scripts go into each page; else into ``assets/``, which all pages share.

    Raises:
        StoppedError: the disk is full or `folder` cannot be written.
    """
    from markupsafe import Markup

    try:
        for name in (*below, *(() if single_file else ("assets",))):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot write {folder}: {error.strerror}. Choose a folder that can be written.") from error
    scripts = _scripts(own)
    if not single_file:
        _write_assets(folder / "assets", scripts)
    environment = page.environment(TEMPLATES)
    environment.filters.update(clock=wording.clock, signed=wording.signed, moment=wording.moment)
    environment.globals.update(
        sampling=wording.sampling,
        detector=wording.detector,
        accuracy=wording.accuracy,
        doubtful=wording.doubtful,
        not_declared=wording.NOT_DECLARED,
        scripts=[Markup(text) for text in scripts.values()] if single_file else None,  # noqa: S704
        script_names=[name for name in scripts if name != _LIBRARY],
        has_pictures=False,
        # Pages of a run share their scripts; some browsers do not count a file beside the page as its own.
        script_source=page.inline_source(list(scripts.values())) if single_file else "'self' file:",
    )
    return environment


def _scripts(own: Sequence[str]) -> dict[str, str]:
    """All scripts by file name, in the order in which a page loads them, Plotly's first."""
    import plotly.offline

    paths = [*(TEMPLATES / name for name in own), page.TEMPLATES / "page.js"]
    return {_LIBRARY: plotly.offline.get_plotlyjs(), **{path.name: path.read_text(encoding="utf-8") for path in paths}}


def _write_assets(folder: Path, scripts: dict[str, str]) -> None:
    """The scripts that all pages share; Plotly's is large and only written where it differs."""
    for name, script in scripts.items():
        path, content = folder / name, script.encode()
        if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
            with atomic_write(path) as file:
                file.write(content)


def write_page(path: Path, html: str) -> None:
    """Write a page whole or not at all."""
    with atomic_write(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
