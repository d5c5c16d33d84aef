"""Exports: a run's tables as files that statistics packages, spreadsheets and annotation tools open.

:mod:`reports.export.columns` declares what each exported table holds, :mod:`reports.export.tables` and
:mod:`reports.export.trials` make its rows; `text` (CSV, TSV, sidecars), `spss` and `elan` write them, `methods` says in
words how they were made, and :mod:`reports.export.make` puts an export together.
"""

from __future__ import annotations

from reports.export.make import FORMATS, Exported, Format, export

__all__ = ["FORMATS", "Exported", "Format", "export"]
