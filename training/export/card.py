"""The model card: what a model is, what it may be used for, where it came from, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from fer_batch.architecture import Architecture, weight_shapes
from fer_batch.bundle import ModelBundle
from fer_batch.schema import EMOTIONS
from training.evaluation.metrics import RESAMPLES, TAILS, Interval

TEMPLATE: Final = Path(__file__).parent.parent / "templates" / "card.md"

LIMITS: Final = (
    "It rates apparent expression. What a person feels cannot be read from it.",
    (
        "Trained on grey web images of 48 x 48 pixels, many of them posed, found by search words and sorted by hand: "
        "the majority of FER+'s ten annotators agrees with 63 % of the labels. Most show adults, facing the camera. On "
        "other material (children, dim rooms, side views, masks, unposed faces, other cultures' display rules) it is "
        "less accurate, by an amount that nobody has measured for your footage."
    ),
    (
        "Calibrated on FER2013 only: elsewhere its probabilities need not match frequencies. A probability is not an "
        "intensity."
    ),
    (
        "Where a class is rare, most calls of it are false: see the worked example. Disgust is 1.5 % of FER2013 and "
        "rarer in most footage."
    ),
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


RARE: Final = "disgust"
"""The rarest class of FER2013, which the card's worked example is about."""

SHARES: Final = (0.01, 0.001)
"""Shares of faces that show it, in footage, for which the example is worked out."""


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
        teachers: models whose answers it learnt beside the labels, in words.
        initial: what its weights began with, in words; empty for random ones.
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
    teachers: tuple[str, ...] = ()
    initial: str = ""

    @classmethod
    def of(cls, bundle: ModelBundle) -> Origin:
        """What a bundle says of its own origin."""
        known = {each.name for each in fields(cls)}
        facts = {name: value for name, value in bundle.training.items() if name in known}
        title = bundle.card.partition("\n")[0].removeprefix("# ")
        teachers = tuple(facts.pop("teachers", ()))
        return cls(name=bundle.name, title=title, temperature=bundle.temperature, teachers=teachers, **facts)

    def facts(self) -> dict[str, Any]:
        """The same for ``model.json``; the temperature has its own place there."""
        facts = asdict(self)
        for key in ("name", "title", "temperature"):
            del facts[key]
        return {**facts, "teachers": list(self.teachers), "split": "Training", "temperature_fitted_on": "PublicTest"}


def provenance(origin: Origin | None = None) -> dict[str, Any]:
    """Origin and licence status of data and weights, for ``model.json``."""
    began = f"began as {origin.initial}" if origin and origin.initial else "began at random"
    taught = f"; taught by {' and '.join(origin.teachers)}" if origin and origin.teachers else ""
    if began == "began at random" and not taught:
        weights = "trained from random initialisation on this data alone; no other weights went in"
    else:
        weights = f"{began}, trained on this data{taught}; what those came from is theirs to say"
    return {
        "data": "FER2013: images found by web search for the ICML 2013 Challenges in Representation Learning "
        "(Goodfellow et al. 2013), released for research",
        "votes": "FER+ annotations (Barsoum et al. 2016, Microsoft), MIT licence",
        "weights": weights,
        "licence": "the weights come under the project's licence; whether a model trained on FER2013 may be used "
        "commercially is for the user to clear",
        "limits": list(LIMITS),
    }


def model_card(origin: Origin, architecture: Architecture, input_size: int, figures: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        origin: how the model came to be.
        architecture: its network.
        input_size: side of its crops in pixels.
        figures: of :meth:`training.evaluation.evaluate.Evaluation.figures`, with ``split``, the name of what was
            scored; and with ``ferplus`` and ``int8`` where they were measured.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - Markdown: escaped for HTML it would be wrong
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(percent=_percent, two=_two, ends=_ends, mean_share=_mean_share)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        origin=origin,
        network=network_in_words(architecture),
        emotions=EMOTIONS,
        input_size=input_size,
        figures=figures,
        majority=max(entry["n"] for entry in figures["classes"].values()) / figures["n"],
        rare=RARE,
        examples=[rare_calls(figures["confusion"], share) for share in SHARES if figures["classes"][RARE]["n"]],
        limits=LIMITS,
        misuse=MISUSE,
        came=provenance(origin),
    )


def network_in_words(architecture: Architecture) -> str:
    """The network's family, size and what is special about it."""
    count = sum(math.prod(shape) for shape in weight_shapes(architecture).values())
    depths = ", ".join(map(str, architecture.depths))
    if architecture.family == "vgg":
        top = architecture.width << (len(architecture.depths) - 1)
        kind = f"A VGG of four stages with {depths} convolutions of 3x3 and {architecture.width} to {top} channels"
    elif (architecture.depths, architecture.width) == (Architecture().depths, Architecture().width):
        kind = "ResNet50 in the layout of `keras.applications`"
    else:
        kind = f"A ResNet in the layout of `keras.applications` with {depths} blocks and {architecture.width} channels"
    if architecture.family == "resnet" and architecture.stem == "small":
        kind += ", but for a 3x3 first convolution of stride 1"
    if architecture.se:
        kind += ", with squeeze-and-excitation"
    return f"{kind}: {count / 1e6:.1f} million weights"


@dataclass(frozen=True)
class RareCalls:
    """What calls of a rare class are worth, from the figures of a labelled split.

    Attributes:
        share: of the faces that show it, 0..1, in the footage that is thought of.
        hits: pictures of the class that were called so, of ``present``.
        present: pictures of the class.
        false_calls: other pictures that were called so, of ``absent``.
        absent: other pictures.
        right: share of the calls that would be right there; NaN where the model never makes the call.
        interval: its 95 % interval.
    """

    share: float
    hits: int
    present: int
    false_calls: int
    absent: int
    right: float
    interval: Interval


def rare_calls(confusion: list[list[int]], share: float, emotion: str = RARE, seed: int = 0) -> RareCalls:
    """Bayes' rule with the recall and the false-positive rate of a confusion matrix (row is the label).

    The interval comes from draws of both rates from their Beta distributions under Jeffreys' prior.
    """
    counts, index = np.array(confusion), EMOTIONS.index(emotion)
    present, hits = int(counts[index].sum()), int(counts[index, index])
    absent, false_calls = int(counts.sum()) - present, int(counts[:, index].sum()) - hits

    def right(recall: Any, false_rate: Any) -> Any:
        return share * recall / (share * recall + (1 - share) * false_rate)

    random = np.random.default_rng(seed)
    draws = (
        random.beta(hit + 0.5, count - hit + 0.5, 10 * RESAMPLES)
        for hit, count in ((hits, present), (false_calls, absent))
    )
    low, high = np.quantile(right(*draws), TAILS)
    known = present > 0 and absent > 0 and hits + false_calls > 0
    value = float(right(hits / present, false_calls / absent)) if known else math.nan
    return RareCalls(share, hits, present, false_calls, absent, value, (float(low), float(high)))


def _two(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _mean_share(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _percent(sum(known) / len(known) if known else None)


def _percent(value: float | None, digits: int = 1) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def _ends(interval: Interval | None, digits: int = 2, scale: float = 1) -> str:
    """An interval in brackets; nothing where it is not known."""
    if interval is None:
        return ""
    return f"[{scale * interval[0]:.{digits}f}, {scale * interval[1]:.{digits}f}]"
