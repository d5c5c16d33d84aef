"""Pages of a run: its tables in, HTML files out that work offline, in any browser, from the folder they lie in.

Three places: `templates/` holds the pages' text and looks, :mod:`reports.figures` turns a table into a figure,
:mod:`reports.measures` turns a table into a table. :mod:`reports.load` reads, :mod:`reports.pages` puts together.
"""

from __future__ import annotations

from reports.pages import build

__all__ = ["build"]
