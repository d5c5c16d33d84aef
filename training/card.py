"""The model card: what a model is, what it may be used for, where it came from, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fer_batch.architecture import Architecture
from fer_batch.schema import EMOTIONS

LIMITS: Final = (
    "It rates apparent expression. What a person feels cannot be read from it.",
    (
        "Trained on grey web images of 48 x 48 pixels, many of them posed, found by search words and sorted by hand: "
        "the majority of FER+'s ten annotators agrees with 63 % of the labels. On other material (children, dim rooms, "
        "side views, masks, other cultures' display rules) it is less accurate, by an amount that nobody has measured "
        "for your footage."
    ),
    (
        "Calibrated on FER2013 only: elsewhere its probabilities need not match frequencies. A probability is not an "
        "intensity."
    ),
    "Where a class is rare, most calls of it are false. Disgust is 1.5 % of FER2013 and rarer in most footage.",
    "Not examined for differences between groups of people; FER2013 does not say who is in its pictures.",
)
"""What a user must know before trusting a figure."""

MISUSE: Final = (
    "Judging single people: hiring, grading, policing, medical or credit decisions.",
    (
        "Inferring emotions of people at work or in education in the European Union, which the AI Act prohibits but "
        "for medical and safety reasons (Article 5(1)(f))."
    ),
    "Lie detection, identification, or any claim about inner states.",
)


@dataclass(frozen=True)
class Origin:
    """How a model came to be, as far as the recipe does not say it.

    Attributes:
        name: short name of the model.
        title: heading of its card.
        data: name of the training data.
        pictures: pictures trained on.
        blank: blank pictures left out.
        votes: whether FER+ votes helped as an auxiliary target.
        images_seen: pictures shown, repetitions counted.
        hours: wall-clock hours of training.
        machine: what it was trained on.
        selection: how the shipped weights were chosen.
        temperature: fitted last.
        note: a sentence on the model's standing.
    """

    name: str
    title: str
    data: str
    pictures: int
    blank: int
    votes: bool
    images_seen: int
    hours: float
    machine: str = ""
    selection: str = "The last epoch's averaged weights."
    temperature: float = 1.0
    note: str = ""

    def facts(self) -> dict[str, Any]:
        """The same for ``model.json``; the temperature has its own place there."""
        facts = asdict(self)
        for key in ("name", "title", "temperature"):
            del facts[key]
        return {**facts, "split": "Training", "temperature_fitted_on": "PublicTest"}


def provenance() -> dict[str, Any]:
    """Origin and licence status of data and weights, for ``model.json``."""
    return {
        "data": "FER2013: images found by web search for the ICML 2013 Challenges in Representation Learning "
        "(Goodfellow et al. 2013), released for research",
        "votes": "FER+ annotations (Barsoum et al. 2016, Microsoft), MIT licence",
        "weights": "trained from random initialisation on this data alone; no other weights went in",
        "licence": "the weights come under the project's licence; whether a model trained on FER2013 may be used "
        "commercially is for the user to clear",
        "limits": list(LIMITS),
    }


def model_card(origin: Origin, architecture: Architecture, input_size: int, figures: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    low, high = figures["accuracy_95"]
    f1_low, f1_high = figures["macro_f1_95"]
    rows = "\n".join(_row(emotion, figures["classes"][emotion]) for emotion in EMOTIONS)
    limits = "\n".join(f"- {limit}" for limit in LIMITS)
    misuse = "\n".join(f"- {use}" for use in MISUSE)
    came = provenance()
    votes = " FER+ votes for the same pictures served as an auxiliary target." if origin.votes else ""
    machine = f", {origin.machine}" if origin.machine else ""
    note = f"\n{origin.note}\n" if origin.note else ""
    kind = "ResNet50" if architecture.depths == Architecture().depths else f"ResNet {list(architecture.depths)}"
    return f"""# {origin.title}

Seven probabilities of apparent facial expression ({", ".join(EMOTIONS)})
for an aligned grey face crop of {input_size} x {input_size} pixels. {kind} in the layout of
`keras.applications`, trained from scratch. The probabilities follow FER2013's own labels.
{note}
## Figures

On {figures["split"]} ({figures["n"]} pictures), one pass, no test-time augmentation, 95 % intervals in brackets:

- accuracy {_percent(figures["accuracy"])} [{_percent(low)}, {_percent(high)}]
- macro F1 {figures["macro_f1"]:.3f} [{f1_low:.3f}, {f1_high:.3f}]
- expected calibration error {_percent(figures["ece_cross_fitted"])}, the temperature fitted on one half and judged
  on the other ({_percent(figures["ece"])} with the shipped temperature of {origin.temperature:g}, which was fitted
  on these very pictures)

| class | n | recall | precision | F1 |
|---|---|---|---|---|
{rows}

{figures["split"]} served to choose between recipes and to fit the temperature, so these figures are slightly
flattering. PrivateTest was not looked at. Always naming the most frequent class would score
{_percent(_majority(figures))}.

## Intended use

Summaries over many faces and much video: which expressions appear, how they change over time, and where a person
should look more closely. Research, and tests of one's own material. Check it on your own footage first.

Not for:
{misuse}

## Limits

{limits}

## Training

{origin.data}, split Training: {origin.pictures} pictures ({origin.blank} blank ones left out).{votes}
{origin.images_seen} pictures shown, {origin.hours:.1f} hours{machine}. {origin.selection} The recipe
with every hyperparameter and the seed is in `model.json`.

## Provenance and licence

- Data: {came["data"]}.
- Votes: {came["votes"]}.
- Weights: {came["weights"]}.
- Licence: {came["licence"]}.
"""


def _row(emotion: str, entry: Mapping[str, Any]) -> str:
    low, high = entry["recall_95"]
    cells = [_two(entry["recall"]), _two(entry["precision"]), _two(entry["f1"])]
    return f"| {emotion} | {entry['n']} | {cells[0]} [{low:.2f}, {high:.2f}] | {cells[1]} | {cells[2]} |"


def _majority(figures: Mapping[str, Any]) -> float:
    return float(max(entry["n"] for entry in figures["classes"].values()) / figures["n"])


def _two(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"
