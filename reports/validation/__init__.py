"""Checks a run against human judgement: draws faces for blind coding, reads the codes, says how far both agree.

On the way out: :mod:`~reports.validation.draw` chooses faces and knows each one's chance to be chosen,
:mod:`~reports.validation.key` keeps that and the model's answers with the run,
:mod:`~reports.validation.pictures` cuts the faces out of the videos, and :mod:`~reports.validation.material` adds the
page that coders use. On the way back: :mod:`~reports.validation.codes` reads what they wrote,
:mod:`~reports.validation.estimate` and :mod:`~reports.validation.findings` compute the figures, and
:mod:`~reports.validation.page` shows them.
"""

from __future__ import annotations
