"""What all HTML pages of the project share: a strict template environment, figures as data, the look of both.

The pages themselves belong to the layers that make them; their templates extend ``templates/page.html`` and use the
macros of ``templates/parts.html``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS

if TYPE_CHECKING:
    import jinja2
    import plotly.graph_objects as go
    from markupsafe import Markup

TEMPLATES: Final = Path(__file__).parent / "templates"
"""The folder of ``page.html``, ``page.css``, ``page.js`` and ``parts.html``."""

NONE: Final = "\u2013"
"""What stands where nothing is known."""

INK: Final = "#7a8494"
"""Lines of a figure, on light ground and on dark."""

GRID: Final[dict[str, Any]] = {
    "gridcolor": "rgba(122,132,148,0.25)",
    "linecolor": INK,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": INK,
    "ticklen": 4,
}
"""How an axis of a figure looks."""

LAYOUT: Final[dict[str, Any]] = {
    "template": None,
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 12},
}
"""How every figure looks; ``page.js`` adds the page's colours."""


def environment(folder: Path) -> jinja2.Environment:
    """Templates of `folder` and those that all pages share; what they are given is escaped, what they miss an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(percent=percent, number=number)
    made.globals.update(counted=counted, emotions=EMOTIONS, colours=COLOURS)
    return made


def embedded(figure: go.Figure | dict[str, Any]) -> Markup:
    """A figure, or other plain data, as JSON that may stand inside a script element: nothing in it can close that.

    NumPy's arrays in plain data are written in Plotly's packed form, base64 of their bytes, and equal ones once only.
    """
    from markupsafe import Markup

    if isinstance(figure, dict):
        text = json.dumps(figure, default=_packer(), allow_nan=False, separators=(",", ":"))
    else:
        text = figure.to_json() or ""
    escaped = re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match.group()):04x}", text)
    # A line break in a label stays as it is: it does no harm, and there are thousands.
    escaped = re.sub(r"(?<!\\)\\u003cbr\\u003e", "<br>", escaped)
    return Markup(escaped)  # noqa: S704


def _packer() -> Callable[[Any], dict[str, Any]]:
    """Writes arrays in Plotly's packed form; one that was written before as its number, which ``page.js`` looks up."""
    written: dict[str, int] = {}

    def packed(value: Any) -> dict[str, Any]:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{type(value).__name__} has no place in a figure")
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        array = {"dtype": little.dtype.str[1:], "bdata": base64.b64encode(little.tobytes()).decode("ascii")}
        if value.ndim > 1:
            array["shape"] = ", ".join(map(str, value.shape))
        key = str(array)
        if key in written:
            return {"same": written[key]}
        written[key] = len(written)
        return array

    return packed


def inline_source(scripts: Sequence[str]) -> str:
    """The content policy's `script-src` for a page with these scripts inside: no other can run, wherever from."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)


def percent(share: float | None) -> str:
    """A share of 1 in whole per cent; what is not quite nothing or not quite all says so."""
    if share is None:
        return NONE
    if 0 < share < 0.005:
        return "<1\u00a0%"
    if 0.995 <= share < 1:
        return ">99\u00a0%"
    return f"{share:.0%}".replace("%", "\u00a0%")


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands separated."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", "\u2212")


def counted(count: int, one: str, many: str = "") -> str:
    """`1 face`, `2 faces`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
