"""Training's pages: one HTML file each, with its figures, pictures and scripts inside, so that it can be passed on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fer_batch import page

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, figures: Mapping[str, go.Figure], **values: Any) -> Path:
    """Write a page.

    Args:
        path: the HTML file; replaced where it exists, its folder made if need be.
        template: name of a file in ``training/templates/`` that extends ``base.html``.
        figures: name to Plotly figure. The template shows one by
            ``{{ p.plot("name", figures.name, "full", "what it shows") }}``.
        values: what else the template uses. Everything is escaped.

    Returns:
        `path`.

    Raises:
        StoppedError: the page cannot be written.
    """
    import plotly.offline
    from markupsafe import Markup

    from fer_batch.errors import StoppedError
    from fer_batch.store import atomic_write

    scripts = [plotly.offline.get_plotlyjs(), (page.TEMPLATES / "page.js").read_text(encoding="utf-8")]
    html = (
        page.environment(_TEMPLATES)
        .get_template(template)
        .render(
            # The policy names each script by its hash: no other one can run, wherever it came from.
            script_source=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
            scripts=[Markup(script) for script in scripts],  # noqa: S704
            figures={name: page.embedded(figure) for name, figure in figures.items()},
            **values,
        )
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot write {path}: {error.strerror}. Choose a folder that can be written.") from error
    with atomic_write(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
    return path


def picture(image: npt.NDArray[np.uint8]) -> str:
    """A grey (H, W) or RGB (H, W, 3) uint8 picture as a PNG in a data address, for ``<img src>``."""
    import cv2

    ordered = image if image.ndim == 2 else image[..., ::-1]
    written, encoded = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not written:  # pragma: no cover - PNG takes any picture of these shapes
        raise ValueError(f"a picture of shape {image.shape} cannot be written as PNG")
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
