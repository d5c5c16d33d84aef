"""A methods paragraph with versions, settings, figures and references, ready to paste, and notes for its author."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fer_batch.page import NONE, counted, percent
from reports import measures, wording
from reports.export.tables import Committed

TITLE: Final = "fer-batch: batch facial emotion recognition in video"
AUTHORS: Final = "The fer-batch authors"
"""As CITATION.cff has them, which lies beside the source code and is not installed; a test holds them together."""

_DETECTOR: Final = (
    "Wu, W., Peng, H., & Yu, S. (2023). YuNet: A tiny millisecond-level face detector. Machine Intelligence Research, "
    "20(5), 656-665. https://doi.org/10.1007/s11633-023-1423-y"
)
_FER2013: Final = (
    "Goodfellow, I. J., Erhan, D., Carrier, P. L., Courville, A., Mirza, M., Hamner, B., ... Bengio, Y. (2013). "
    "Challenges in representation learning: A report on three machine learning contests. In Neural Information "
    "Processing (ICONIP 2013), LNCS 8228, 117-124. https://doi.org/10.1007/978-3-642-42051-1_16"
)

_UNFINISHED: Final = {
    "running": "was still going on",
    "broken off": "had broken off",
    "interrupted": "had been interrupted",
    "stopped": "had stopped",
}


def citation(of_version: str) -> str:
    """How to cite the version that made the tables."""
    return f"{AUTHORS}. {TITLE} (version {of_version}) [Computer software]. Apache-2.0."


def methods(run: Committed, *, elan: tuple[int, int] | None = None, participants: str | None = None) -> str:
    """The text, Markdown that reads well as it stands.

    Args:
        run: what is exported.
        elan: `min_segment_ms` and `max_gap_ms`, where ELAN files are written.
        participants: what the table of participants holds, in a sentence, where there is one.
    """
    made_with = str(run.info["fer_batch_version"] or version("fer-batch"))
    paragraphs = [
        _videos(run, made_with),
        _pipeline(run),
        _model(run.info["model"]),
        _measures() if run.level == "faces" else _means_of_tracks(run),
        *([participants] if participants else []),
        *([_elan(*elan)] if elan else []),
        _software(run),
    ]
    lines = [
        "# Methods",
        "",
        " ".join(paragraphs),
        "",
        "## References",
        "",
        f"- {citation(made_with)}",
        f"- {_DETECTOR}",
        f"- {_FER2013}",
        "",
        "## Before you use this",
        "",
        *(f"- {note}" for note in _notes(run)),
        "",
    ]
    return "\n".join(lines).replace("\u00a0", " ").replace(NONE, "unknown")


def _videos(run: Committed, made_with: str) -> str:
    total = measures.totals(run.ledger).to_pylist()[0]
    text = f"{counted(total['files'], 'video file')} with a total length of {_length(total['duration_ms'])}"
    if total["copies"]:
        text += f" (of which {counted(total['copies'], 'is a copy', 'are copies')} of another and counted once)"
    text += f" {'was' if total['files'] == 1 else 'were'} analysed with fer-batch {made_with} ({AUTHORS})."
    if (state := str(run.info["state"])) in _UNFINISHED:
        files = run.info["counts"]["files"]
        known = f" of {files}" if files and files != total["files"] else ""
        text += (
            f" The analysis {_UNFINISHED[state]} when these data were exported: "
            f"{counted(total['files'], 'file')}{known} had been dealt with, and all figures are of these only."
        )
    spared = [(total["partial"], "could be decoded in part only"), (total["failed"], "could not be processed")]
    text += "".join(f" {counted(n, 'file')} {what}." for n, what in spared if n)
    if total["sampled_ms"]:
        text += (
            f" At least one face was found in {_with_face(run):,} of {counted(total['n_sampled'], 'sampled frame')}, "
            f"{percent(total['coverage'])} of the sampled time ({_length(total['sampled_ms'])}): "
            f"{counted(total['n_faces'], 'face')} in {counted(total['n_tracks'], 'track')}."
        )
    return text


def _with_face(run: Committed) -> int:
    distinct = {
        row["video_id"]: row["n_with_face"] or 0
        for row in run.ledger.select(["video_id", "n_with_face"]).to_pylist()
        if row["video_id"] is not None
    }
    return sum(distinct.values())


def _pipeline(run: Committed) -> str:
    config = run.info["config"]
    rule = config.get("sampling", {})
    how = {
        "fps": f"at {rule.get('fps')} a second (for each multiple of the interval the first frame at or after it)",
        "every": f"every {rule.get('every')} frames",
        "keyframes": "at the streams' key frames only",
    }.get(str(rule.get("mode")), "by a rule that the run does not state")
    text = f"Frames were sampled {how}, timed by their presentation timestamps"
    start, end = rule.get("start_ms") or 0, rule.get("end_ms")
    if start or end is not None:
        text += f", from {start} ms to {'the end' if end is None else f'{end} ms'}"
    asked, tracking = config.get("detection", {}), config.get("tracking", {})
    text += (
        f". Faces were detected with YuNet (Wu et al., 2023; weights sha256 {_short(asked.get('model_sha256'))}) in "
        f"frames reduced to a long side of {asked.get('long_side', 'unknown')} pixels, with a detection score of at "
        f"least {asked.get('min_score', 'unknown')} and a size of at least {asked.get('min_face', 'unknown')} pixels, "
        "aligned by five landmarks, and joined into tracks by position and size"
    )
    gap = tracking.get("max_gap_ms")
    text += f" (a track ends when the face was not seen for {gap} ms)" if gap is not None else ""
    return f"{text}. A track is a person's stay in view, not an identity."


def _model(model: dict[str, Any]) -> str:
    text = (
        f"Each face was scored by the convolutional network {model['name'] or 'without a name'} "
        f"(sha256 {_short(model['sha256'])}), which gives calibrated probabilities of seven apparent expressions with "
        "the labels of FER2013 (Goodfellow et al., 2013): angry, disgust, fear, happy, sad, surprise and neutral."
    )
    known = wording.accuracy(model)
    if known is None:
        return f"{text} The run does not say how accurate this model is."
    text += f" It gives the labelled class for {known}."
    figures = model["figures"]
    if isinstance(figures, dict) and figures.get("split") == "PublicTest":
        text += " This split was also used to choose and to calibrate the model."
    classes = figures.get("classes") if isinstance(figures, dict) else None
    if isinstance(classes, dict) and classes:
        recalls = ", ".join(
            f"{name} {row['recall']:.2f} (n = {row['n']})"
            for name, row in classes.items()
            if isinstance(row, dict) and "recall" in row and "n" in row
        )
        text += f" Recall by class: {recalls}." if recalls else ""
    error = figures.get("ece_cross_fitted") if isinstance(figures, dict) else None
    if isinstance(error, int | float):
        text += f" Its expected calibration error there is {100 * error:.1f} % (cross-fitted)."
    return f"{text} It was calibrated on FER2013 only."


def _measures() -> str:
    return (
        "Means over time are over the time with a face and weight each sample by the time that it stands for; where a "
        "frame has several faces, their mean counts. Valence is p(happy) - max(p(angry), p(disgust), p(fear), p(sad)), "
        "expressiveness is 1 - p(neutral), and coverage is the time with a face divided by the sampled time. Scores "
        "are of apparent expression, what a face looks like to the model, and not of felt emotion; a probability is "
        "not an intensity."
    )


def _means_of_tracks(run: Committed) -> str:
    bin_s = run.info["config"]["privacy"]["bin_s"]
    return (
        "No rows of faces were kept (privacy level tracks), only each track's means over time, each sample weighted by "
        f"the time that it stands for, over the whole track and in bins of {bin_s} s from the start of the video; "
        "fewer than three samples have no mean. Of a trial the bins count that lie wholly in it; with person largest "
        "the track with the largest mean face in each bin, and others only while it is not in view. Valence is the "
        "mean of p(happy) - max(p(angry), p(disgust), p(fear), p(sad)), expressiveness that of 1 - p(neutral). Scores "
        "are of apparent expression, what a face looks like to the model, and not of felt emotion; a probability is "
        "not an intensity."
    )


def _elan(min_segment_ms: int, max_gap_ms: int) -> str:
    return (
        "In the ELAN files consecutive samples of a track with the same most probable expression form one segment; "
        f"segments of the same expression up to {max_gap_ms} ms apart, with no other one in between, were joined, "
        f"segments shorter than {min_segment_ms} ms were then left out, and segments were joined once more by the same "
        "rule."
    )


def _software(run: Committed) -> str:
    versions, config = run.info["versions"], run.info["config"]
    named = {"python": "Python", "ai-edge-litert": "LiteRT", "tensorflow": "TensorFlow", "ray": "Ray", "av": "PyAV",
             "onnxruntime": "ONNX Runtime", "opencv-python-headless": "OpenCV"}  # fmt: skip
    listed = ", ".join(f"{name} {versions[key]}" for key, name in named.items() if versions.get(key))
    text = f"The model ran on {config['backend'] or 'unknown'} in {config['precision'] or 'unknown'} precision"
    return f"{text} ({listed})." if listed else f"{text}."


def _notes(run: Committed) -> list[str]:
    notes = []
    if (state := str(run.info["state"])) in wording.STATES:
        notes.append(wording.STATES[state].split(".")[0] + ". Finish it and export again before you publish.")
    notes += [
        (
            "The model was calibrated on FER2013 only. Whether it agrees with people on your footage is not known "
            "until you measure it: `fer-batch validate`. Report that agreement beside the results."
        ),
        "Missing faces are rarely missing at random: report coverage for each condition.",
        "Most calls of a class are wrong where that class is rare.",
    ]
    notes += [f"Of the model: {limit}" for limit in wording.limits(run.info["model"])]
    declared = wording.purpose(run.info)
    notes.append(f"Declared purpose: {declared}." if declared else wording.NOT_DECLARED)
    exporting = version("fer-batch")
    if run.info["fer_batch_version"] not in (None, exporting):
        notes.append(f"These files were exported with fer-batch {exporting}.")
    return notes


def _short(digest: object) -> str:
    return str(digest)[:12] if digest else "unknown"


def _length(ms: int) -> str:
    """A length of time as ``1 h 2 min 3 s``, or as ``3.4 s``."""
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    seconds = round(ms / 1000)
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{value:,} {unit}" for value, unit in parts if value) or "0 s"
