"""Numbers and states of a run as a reader likes them: 1:02:03, 82 %, 1,234."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fer_batch.page import NONE, counted

NOT_DECLARED: Final = "No purpose declared. Not for use on people at work or in education in the EU."
"""The notice on every page of a run whose purpose nobody stated."""

STATES: Final = {
    "running": "This run is still going on. The page shows what is finished so far; build it again for more.",
    "interrupted": "This run was interrupted. The page shows what was finished; the same command continues it.",
    "stopped": "This run had to stop. The page shows what was finished; the same command continues it.",
}
"""What a reader of an unfinished run must know first."""


def clock(ms: float | None, *, tenths: bool = False) -> str:
    """Milliseconds as m:ss, or h:mm:ss from an hour on; with tenths of a second on request."""
    if ms is None:
        return NONE
    units = round(ms / 100) if tenths else round(ms / 1000)
    seconds, tenth = divmod(units, 10) if tenths else (units, 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{text}.{tenth}" if tenths else text


def moment(text: str) -> str:
    """A time in ISO 8601 as date, hour and minute in UTC; as it stands where it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else f"{at:%Y-%m-%d %H:%M}"


def signed(value: float | None) -> str:
    """A number between -1 and 1 with its sign."""
    return NONE if value is None else f"{value:+.2f}".replace("-", "\u2212")


def common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths share, with its closing slash; empty where they share none."""
    folders = [path.split("/")[:-1] for path in paths]
    if not folders:
        return ""
    shared = 0
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1:
            break
        shared += 1
    return "".join(f"{name}/" for name in folders[0][:shared])


def sampling(config: dict[str, Any]) -> str:
    """What a run's sampling rule says, in words."""
    rule = config.get("sampling", {})
    mode = rule.get("mode")
    text = {
        "fps": f"{rule.get('fps')} a second",
        "every": f"every {counted(rule.get('every') or 1, 'frame')}",
        "keyframes": "key frames only",
    }.get(str(mode), NONE)
    start, end = rule.get("start_ms") or 0, rule.get("end_ms")
    if start or end is not None:
        text += f", from {clock(start)} to {clock(end) if end is not None else 'the end'}"
    return text


def detector(config: dict[str, Any]) -> str:
    """How faces were looked for, in words."""
    asked = config.get("detection", {})
    if not asked:
        return NONE
    weights = asked.get("model_sha256") or ""
    name = f"YuNet ({weights[:12]})" if weights else "YuNet"
    return (
        f"{name}, long side {asked.get('long_side')} px, score from {asked.get('min_score')}, "
        f"faces from {asked.get('min_face')} px"
    )


def accuracy(model: dict[str, Any]) -> float | None:
    """The model's accuracy on FER2013's PublicTest, where its card gives it."""
    figures = model.get("figures")
    if not isinstance(figures, dict):
        return None
    split = figures.get("PublicTest", figures)
    value = split.get("accuracy") if isinstance(split, dict) else None
    return float(value) if isinstance(value, int | float) else None


def purpose(info: dict[str, Any]) -> str | None:
    """The declared purpose, None where there is none."""
    declared = info.get("purpose")
    if isinstance(declared, dict):
        declared = declared.get("title") or declared.get("name") or declared.get("kind") or "declared in run.json"
    return str(declared) if declared else None
