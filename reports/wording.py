"""Numbers and states of a run as a reader likes them: 1:02:03, 82 %, 1,234."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fer_batch.page import NONE, counted, number

NOT_DECLARED: Final = "No purpose declared. Not for use on people at work or in education in the EU."
"""The notice on every page of a run whose purpose nobody stated."""

STATES: Final = {
    "running": "This run is still going on. The page shows what is finished so far; build it again for more.",
    "broken off": "This run broke off. The page shows what was finished; the same command continues it.",
    "interrupted": "This run was interrupted. The page shows what was finished; the same command continues it.",
    "stopped": "This run had to stop. The page shows what was finished; the same command continues it.",
}
"""What a reader of an unfinished run must know first."""


def clock(ms: float | None, *, tenths: bool = False) -> str:
    """Milliseconds as m:ss, or h:mm:ss from an hour on, or with tenths of a second; rounded down, as players do."""
    if ms is None:
        return NONE
    units = int(ms // 100) if tenths else int(ms // 1000)
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


def accuracy(model: dict[str, Any]) -> str | None:
    """How often the model is right, with n and interval, where its description says so: `65.9 % (64.3 to 67.4 ...)`."""
    figures = model.get("figures")
    if not isinstance(figures, dict):
        return None
    split, found = figures.get("split"), figures
    if "accuracy" not in figures:
        split, found = next(((k, v) for k, v in figures.items() if isinstance(v, dict) and "accuracy" in v), (None, {}))
    value = found.get("accuracy")
    if not isinstance(value, int | float):
        return None
    text = f"{100 * value:.1f}\u00a0%"
    if (ends := found.get("accuracy_95")) is not None:
        text += f" (95\u00a0% interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
    return text + (f" of FER2013 {split}" if split else "") + (f", n = {number(found['n'])}" if "n" in found else "")


def limits(model: dict[str, Any]) -> list[str]:
    """What the model's card says of its limits."""
    provenance = model.get("provenance")
    found = provenance.get("limits") if isinstance(provenance, dict) else None
    return [str(text) for text in found] if isinstance(found, list) else []


RARE: Final = 0.05
"""A class below this share, of the model's test pictures or of a video, is rare there."""

UNSURE: Final = 0.6
"""A class is uncertain if fewer of the model's calls of it on the test pictures than this share were right."""


def caution(emotion: str, model: dict[str, Any], mean: float | None) -> str | None:
    """The warning that goes with a peak of a class that is rare or uncertain; None for the others.

    Args:
        emotion: class of the peak.
        model: ``run.json``'s entry.
        mean: the mean probability of the class over the video.
    """
    share, precision = _tested(model).get(emotion, (None, None))
    said = []
    if share is not None and share < RARE:
        said.append(f"Rare class: {emotion} is {100 * share:.1f}\u00a0% of the pictures that the model was tested on.")
    elif mean is not None and mean < RARE:
        size = f"{100 * mean:.0f}\u00a0%" if mean >= 0.005 else "below 1\u00a0%"
        said.append(f"Rare class: {emotion} is rare in this video (mean {size}).")
    if said:
        said.append("Where a class is rare, most calls of it are false.")
    if precision is not None and precision < UNSURE:
        said.append(
            f"Uncertain class: of the test pictures that the model called {emotion}, {100 * precision:.0f}\u00a0% "
            "were labelled so."
        )
    return " ".join(said) or None


def doubtful(model: dict[str, Any]) -> list[str]:
    """The classes that are rare or uncertain whatever the video, each with its reason; see :func:`caution`."""
    found = []
    for emotion, (share, precision) in _tested(model).items():
        rare = f"{100 * share:.1f}\u00a0% of the test pictures" if share is not None and share < RARE else ""
        unsure = (
            f"{100 * precision:.0f}\u00a0% of its calls right" if precision is not None and precision < UNSURE else ""
        )
        if rare or unsure:
            found.append(f"{emotion} ({', '.join(text for text in (rare, unsure) if text)})")
    return found


def _tested(model: dict[str, Any]) -> dict[str, tuple[float | None, float | None]]:
    """By class: its share of the model's test pictures, and the share of its calls on them that were right."""
    figures = model.get("figures") if isinstance(model.get("figures"), dict) else {}
    classes = figures.get("classes") if isinstance(figures, dict) else None
    if not isinstance(classes, dict):
        return {}
    total = sum(row.get("n", 0) for row in classes.values())
    return {
        name: (row["n"] / total if total and "n" in row else None, row.get("precision"))
        for name, row in classes.items()
    }


REMEDIES: Final = {
    "not_a_video": "If it is a video, convert it, for example to MP4; else take it out.",
    "no_video_stream": "Take it out: there is no picture to look at.",
    "empty": "Copy the file again from where it came from.",
    "no_frames": "Copy or export the file again.",
    "undecodable": "Copy or export the file again; nothing of it could be used.",
    "too_large": "Reduce the picture's size, for example to 1920 pixels wide.",
    "damaged": "For the rest, copy or export the file again; the same command then reads the new one.",
    "worker_died": "Try again with --retry-failed and fewer --workers; most often memory ran out. run.log says more.",
    "unfinished": "Copy the file again from where it came from, or end and export the recording again.",
    "timed_out": "Look at the file in a player; copy or export it again. On slow storage: --stall, --retry-failed.",
    "vanished": "Then use --retry-failed.",
    "unreadable": "When that is mended, use --retry-failed.",
    "internal_error": "Try again with --retry-failed. If it stays, run.log holds what the makers need to know.",
}
"""What to do about a failure, for codes whose message in the ledger does not say so itself."""


def reason(row: dict[str, Any]) -> str:
    """Why a video failed, is partial or was removed, and what to do, in one line; empty for one that is ok."""
    if row["status"] == "ok" and row["error_code"] is None:
        return ""
    text = str(row["error"] or "No reason was recorded.")
    text = text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    remedy = REMEDIES.get(str(row["error_code"]), "")
    return f"{text} {remedy}".strip()


def purpose(info: dict[str, Any]) -> str | None:
    """The declared purpose in words, None where there is none.

    Args:
        info: the run's ``run.json``; its purpose as :meth:`jobs.purpose.Purpose.record` has it.
    """
    declared = info.get("purpose")
    if not isinstance(declared, dict):
        return str(declared) if declared else None
    title = declared.get("title") or declared.get("name") or declared.get("kind") or "declared in run.json"
    facts = [
        f"{name}: {str(value).replace('_', ' ')}"
        for name, value in (
            ("people recorded", declared.get("observed")),
            ("setting", declared.get("setting")),
            ("jurisdiction", ", ".join(declared.get("jurisdiction") or ())),
            ("legal basis", declared.get("legal_basis")),
            ("responsible", declared.get("controller")),
        )
        if value
    ]
    text = f"{title} ({'; '.join(facts)})" if facts else str(title)
    exception = declared.get("exception")
    if isinstance(exception, dict):
        text += (
            f". Declared exception for {exception.get('reason')} reasons (Regulation (EU) 2024/1689, Art. 5(1)(f)): "
            f"approved by {exception.get('approver')}, impact assessment {exception.get('assessment')}, until "
            f"{exception.get('expires')}"
        )
    return text


def groups_only(info: dict[str, Any]) -> bool:
    """Whether the run is declared to be about people at work or in education: nothing about single people is shown."""
    declared = info.get("purpose")
    return isinstance(declared, dict) and bool(declared.get("groups_only"))


GROUPS_ONLY: Final = (
    "About people at work or in education: reports are on groups only, so there are no pages of videos, no faces and "
    "no expressions of single recordings."
)
"""The notice on the list of videos of such a run."""


def hidden(info: dict[str, Any], level: str) -> str | None:
    """Why there are no pages of videos and no faces, None if there are.

    Args:
        info: the run's ``run.json``.
        level: its privacy level.
    """
    if level == "aggregate":
        return "At privacy level aggregate nothing but bins over everybody is kept."
    if level == "tracks":
        return (
            "At privacy level tracks no rows of faces are kept, so there are no pages of videos: means of each track, "
            "over its whole time and in bins, are in the tables tracks and track_bins."
        )
    return GROUPS_ONLY if groups_only(info) else None
