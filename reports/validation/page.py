"""The findings of a validation as one HTML file that works offline; it holds no picture and can be passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fer_batch import page
from fer_batch.page import GRID, INK, LAYOUT
from fer_batch.palette import COLOURS
from fer_batch.schema import EMOTIONS
from fer_batch.store import Run, atomic_write
from reports import wording
from reports.validation.key import key_path

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"


def write_findings(run: Run, found: dict[str, Any]) -> Path:
    """Write the page beside the key, replacing an earlier one.

    Args:
        run: the run.
        found: from :func:`reports.validation.findings.findings`.

    Raises:
        StoppedError: the page cannot be written.
    """
    import plotly.offline
    from markupsafe import Markup

    scripts = [plotly.offline.get_plotlyjs(), (page.TEMPLATES / "page.js").read_text(encoding="utf-8")]
    environment = page.environment(_TEMPLATES)
    environment.filters.update(figure=figure)
    calibration = found["calibration"]
    html = environment.get_template("validation.html").render(
        script_source=page.inline_source(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        run=str(run.path.resolve()),
        purpose=wording.purpose(run.info),
        not_declared=wording.NOT_DECLARED,
        found=found,
        rates=page.embedded(rates(found["classes"])),
        reliability=page.embedded(reliability(calibration)) if calibration else None,
    )
    path = key_path(run, found["sample_id"]).with_suffix(".html")
    with atomic_write(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
    return path


def figure(estimate: dict[str, Any] | None, sign: bool = False) -> str:
    """An estimate as ``0.71 [0.60, 0.80]``; a dash where it cannot be said."""
    if estimate is None or estimate["value"] is None:
        return page.NONE
    form = "+.2f" if sign else ".2f"
    texts = [f"{estimate[name]:{form}}" for name in ("value", "low", "high") if estimate[name] is not None]
    text = texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"
    return text.replace("-", "\u2212").replace(" ", "\u00a0")


def rates(classes: dict[str, Any]) -> dict[str, Any]:
    """Precision and recall of each class with their intervals, as a Plotly figure."""
    traces = []
    for name, symbol, shift in (("precision", "circle", 0.16), ("recall", "diamond-open", -0.16)):
        rows = [(i, classes[emotion][name]) for i, emotion in enumerate(EMOTIONS)]
        rows = [(i, row) for i, row in rows if row["value"] is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [row["value"] for _, row in rows],
                "y": [len(EMOTIONS) - 1 - i + shift for i, _ in rows],
                "error_x": _whiskers([row for _, row in rows]),
                "marker": {"symbol": symbol, "size": 11, "color": [COLOURS[EMOTIONS[i]] for i, _ in rows],
                           "line": {"width": 2 if "open" in symbol else 0}},
                "text": [f"{EMOTIONS[i]}: {name} {figure(row)}, n = {row['n']}" for i, row in rows],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )  # fmt: skip
    layout = {
        **LAYOUT,
        "height": 380,
        "margin": {"l": 74, "r": 16, "t": 34, "b": 46},
        "xaxis": {**GRID, "range": [-0.02, 1.02], "tickformat": ".1f", "title": {"text": "Share of faces"}},
        "yaxis": {**GRID, "range": [-0.6, 6.6], "tickvals": list(range(7)), "ticktext": list(EMOTIONS[::-1])},
        "legend": {"orientation": "h", "x": 0, "y": 1.12},
        "showlegend": True,
    }
    return {"data": traces, "layout": layout}


def reliability(calibration: dict[str, Any]) -> dict[str, Any]:
    """Share of right answers against confidence, a point a bin, with the line on which both are equal."""
    bins = calibration["bins"]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [row["confidence"] for row in bins],
        "y": [row["accuracy"]["value"] for row in bins],
        "error_y": _whiskers([row["accuracy"] for row in bins]),
        "marker": {"size": 10, "color": "#4477AA"},
        "text": [f"right {figure(row['accuracy'])}, n = {row['accuracy']['n']}" for row in bins],
        "hovertemplate": "confidence %{x:.2f}<br>%{text}<extra></extra>",
    }
    line = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip",
            "line": {"color": INK, "dash": "dot", "width": 1.5}}  # fmt: skip
    layout = {
        **LAYOUT,
        "height": 380,
        "margin": {"l": 58, "r": 16, "t": 10, "b": 46},
        "xaxis": {**GRID, "range": [0, 1.02], "title": {"text": "Confidence of the model"}},
        "yaxis": {**GRID, "range": [-0.02, 1.02], "title": {"text": "Share that coders confirm"}},
        "showlegend": False,
    }
    return {"data": [line, points], "layout": layout}


def _whiskers(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """Error bars; Plotly draws all of a trace in one colour."""
    known = [row if row["low"] is not None else {**row, "low": row["value"], "high": row["value"]} for row in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["high"] - row["value"] for row in known],
        "arrayminus": [row["value"] - row["low"] for row in known],
        "color": INK,
        "thickness": 1.5,
        "width": 4,
    }
