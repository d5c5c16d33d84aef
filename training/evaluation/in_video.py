"""What a model loses from plain crops to video: labelled faces pasted into frames, encoded, found and cut out again.

The pictures are enlarged, set into a frame that goes on from their edges, drift a little and are compressed; then the
engine's own stages decode, detect, align and score. The loss is the difference on the faces found, so that it does not
mix with how many are found. It holds for FER2013's faces, which are no sharper in a frame than 48 pixels are; real
footage differs in more than that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from fer_batch.bundle import ModelBundle
from fer_batch.config import Detection, RunConfig, Sampling
from fer_batch.detect import Face, FaceDetector, check_detector
from fer_batch.plan import whole
from fer_batch.probe import probe
from fer_batch.process import CropSpec, RunContext, Seconds, process_segments
from fer_batch.score import Scorer
from training.data.faces import FaceSet
from training.evaluation.metrics import paired_difference, wilson

Frame = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360
"""Size of the frames in pixels: what the detector reduces larger frames of this shape to by default."""

SIDES: Final = (112, 224)
"""Sides in pixels to which the pictures are enlarged: people at a table, one who talks into the camera."""

ROOM: Final = 1.6
"""Side of the square that a face gets in the frame, in sides of the picture."""

MOST_FACES: Final = 4
"""Most faces in a frame; each frame has one to so many, or as many as fit."""

SCENE_FRAMES: Final = 5
"""Frames in which a group of faces is shown. One of them is looked at, :data:`BEFORE` frames after the cut."""

BEFORE: Final = 2
"""Frames of a scene before the one that is looked at: it is predicted from them, as most frames of a video are."""

FPS: Final = 10

QUALITY: Final = {"crf": "23", "preset": "veryfast", "threads": "1"}
"""Options of x264: its default quality."""

NEAR: Final = 0.4
"""A detection belongs to a pasted picture when their centres are nearer than this, in sides of the picture."""


@dataclass(frozen=True)
class Pasted:
    """Where a picture was put: its row among the pictures, centre and side in pixels of the frame looked at."""

    row: int
    x: float
    y: float
    side: int


@dataclass(frozen=True, eq=False)
class InVideo:
    """What became of N pictures at one size.

    Attributes:
        side: to which they were enlarged, in pixels of a frame of 640 x 360.
        labels: (N,) int64.
        plain: (N, 7) probabilities of the plain crops.
        video: (N, 7) probabilities from the video, NaN for a face that was not found.
        spurious: detections that belong to no picture.
    """

    side: int
    labels: npt.NDArray[np.int64]
    plain: npt.NDArray[np.float32]
    video: npt.NDArray[np.float32]
    spurious: int

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the face was found."""
        return np.asarray(np.isfinite(self.video).all(axis=1))

    def figures(self) -> dict[str, Any]:
        """All figures as JSON can hold them; rates from 0 to 1, intervals at 95 %; null where no face was found."""
        found = self.found
        count = int(found.sum())
        told: dict[str, Any] = {
            "side": self.side,
            "frame": [WIDTH, HEIGHT],
            "n": len(found),
            "n_found": count,
            "detection_rate": round(count / len(found), 4),
            "detection_rate_95": [round(end, 4) for end in wilson(count, len(found))],
            "spurious": self.spurious,
        }
        labels = self.labels[found]
        right = {
            "accuracy_plain": self.plain[found].argmax(axis=1) == labels,
            "accuracy_in_video": self.video[found].argmax(axis=1) == labels,
        }
        for name, hits in right.items():
            told[name] = round(float(hits.mean()), 4) if count else None
            told[f"{name}_95"] = [round(end, 4) for end in wilson(int(hits.sum()), count)]
        difference, ends = paired_difference(*right.values()) if count else (None, (-1.0, 1.0))
        told["difference"] = None if difference is None else round(difference, 4)
        told["difference_95"] = [round(end, 4) for end in ends]
        return told


def in_video(
    bundle: ModelBundle,
    faces: FaceSet,
    plain: npt.NDArray[np.float32],
    *,
    sides: Sequence[int] = SIDES,
    seed: int = 0,
    threads: int | None = None,
) -> list[InVideo]:
    """Shows labelled pictures to the engine as parts of a video. Blank ones are left out.

    Args:
        bundle: the model.
        faces: the pictures.
        plain: (N, 7), the model's probabilities for the plain pictures, from
            :func:`training.evaluation.evaluate.predict`.
        sides: sizes to try, in pixels.
        seed: of the frames' arrangement.
        threads: TensorFlow's threads; all cores by default.

    Returns:
        One result a side. The same arguments give the same one on one machine.

    Raises:
        RefusedError: the face detector's weights are missing.
    """
    rows = np.flatnonzero(~faces.blank())
    scorer = Scorer(bundle, threads=threads, batch_sizes=(32,))
    results = []
    for side in sides:
        with tempfile.TemporaryDirectory(prefix="fer-batch-") as folder:
            path = Path(folder) / "faces.mp4"
            pasted = write_video(path, faces.images, rows, side, seed)
            video, spurious = _watch(path, pasted, bundle, scorer)
        probabilities = np.full((len(faces), plain.shape[1]), np.nan, np.float32)
        for row, values in video.items():
            probabilities[row] = values
        results.append(InVideo(side, faces.labels[rows], plain[rows], probabilities[rows], spurious))
    return results


def write_video(
    path: Path, images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], side: int, seed: int
) -> list[list[Pasted]]:
    """A video in which the pictures come one group after the other.

    Args:
        path: of the file, .mp4 (H.264).
        images: (N, S, S) uint8.
        rows: which of them to show.
        side: of the pictures in the video, in pixels.
        seed: of everything that is left to chance.

    Returns:
        What the frames with an index that :data:`SCENE_FRAMES` divides show.
    """
    rng = np.random.default_rng([seed, side])
    order = rng.permutation(rows)
    shown: list[list[Pasted]] = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=dict(QUALITY))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        done = 0
        while done < len(order):
            places = _places(side, rng)[: len(order) - done]
            group = order[done : done + len(places)]
            done += len(places)
            still = _scene(images, group, places, side, rng)
            drift = rng.integers(-1, 2, 2)
            # The first scene has lost the frames before its middle one, so that an index counts from there.
            for step in range(BEFORE if not shown else 0, SCENE_FRAMES):
                moved = np.roll(still, tuple((step - BEFORE) * drift), axis=(0, 1))
                for packet in stream.encode(
                    av.VideoFrame.from_ndarray(moved, format="gray").reformat(format="yuv420p")
                ):
                    container.mux(packet)
            shown.append([Pasted(int(row), x, y, side) for row, (x, y) in zip(group, places, strict=True)])
        for packet in stream.encode():
            container.mux(packet)
    return shown


def _places(side: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Centres of the faces of a scene: cells of a grid, at random within each."""
    room = side * ROOM
    columns, lines = max(1, int(WIDTH // room)), max(1, int(HEIGHT // room))
    count = int(rng.integers(1, min(MOST_FACES, columns * lines) + 1))
    cells = rng.permutation(columns * lines)[:count]
    places = []
    for cell in np.sort(cells):
        spare = np.maximum(0, (WIDTH / columns - room, HEIGHT / lines - room))
        corner = (cell % columns * WIDTH / columns, cell // columns * HEIGHT / lines) + rng.random(2) * spare
        centre = np.rint(corner + room / 2)
        places.append((float(centre[0]), float(centre[1])))
    return places


def _scene(
    images: npt.NDArray[np.uint8],
    group: npt.NDArray[np.int64],
    places: list[tuple[float, float]],
    side: int,
    rng: np.random.Generator,
) -> Frame:
    """A grey frame (360, 640): a blurred background, out of which each picture emerges."""
    # Any picture, blurred beyond recognition, has the lightness of real surroundings.
    backdrop = cv2.resize(cv2.GaussianBlur(images[rng.choice(group)], (0, 0), 8), (WIDTH, HEIGHT)).astype(np.float32)
    margin = int(side * (ROOM - 1) / 2)
    for row, (x, y) in zip(group, places, strict=True):
        enlarged = cv2.resize(images[row], (side, side), interpolation=cv2.INTER_CUBIC)
        patch, weight = _surrounded(enlarged, margin)
        left, top = int(x) - side // 2 - margin, int(y) - side // 2 - margin
        # What does not fit into the frame is cut off; only the surroundings can be that far out.
        inner = np.s_[max(0, -top) : HEIGHT - top, max(0, -left) : WIDTH - left]
        patch, weight = patch[inner], weight[inner]
        top, left = max(0, top), max(0, left)
        area = backdrop[top : top + patch.shape[0], left : left + patch.shape[1]]
        area += weight * (patch - area)
    frame: Frame = np.clip(np.rint(backdrop), 0, 255).astype(np.uint8)
    return frame


def _surrounded(picture: Frame, margin: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A picture that goes on beyond its edges and fades out, and how opaque it is, both of its side + 2 margins.

    Repeated edges alone would be stripes, which no camera sees: they are blurred, the more the farther out.
    """
    wide = np.pad(picture, margin, mode="edge").astype(np.float32)
    size = len(wide)
    reach = np.maximum(0, np.abs(np.arange(size) - (size - 1) / 2) - len(picture) / 2)
    distance = np.hypot(reach[:, None], reach[None, :]).astype(np.float32) / margin
    out = wide.copy()
    for sigma, begin in ((0.04, 0.0), (0.12, 0.3)):
        blurred = cv2.GaussianBlur(wide, (0, 0), sigma * len(picture))
        share = np.clip((distance - begin) / 0.3, 0, 1)
        out += share * (blurred - out)
    opaque = np.clip((1 - distance) / 0.6, 0, 1)
    return out, opaque


def _watch(
    path: Path, shown: list[list[Pasted]], bundle: ModelBundle, scorer: Scorer
) -> tuple[dict[int, npt.NDArray[np.float32]], int]:
    """Probabilities of the pictures that the engine's stages found in the video by row, and detections of nothing."""
    weights, _ = check_detector(None)
    config = RunConfig(sampling=Sampling(mode="every", every=SCENE_FRAMES), detection=Detection())
    context = RunContext(
        path.parent, config, weights, CropSpec(bundle.template, bundle.input_size, bundle.channels), metadata={}
    )
    segment = whole(probe(path))
    (result,) = process_segments(
        (segment,), context, FaceDetector(weights, config.detection), _Direct(scorer), Seconds()
    )
    if len(result.samples) != len(shown):
        raise RuntimeError(f"{len(shown)} scenes were written, {len(result.samples)} samples came back")
    scores = iter(result.probabilities)
    video: dict[int, npt.NDArray[np.float32]] = {}
    spurious = 0
    for sample, pasted in zip(result.samples, shown, strict=True):
        with_scores = [(face, next(scores)) for face in sample.faces]
        matched = dict(match([face for face, _ in with_scores], pasted))
        spurious += len(with_scores) - len(matched)
        for index, picture in matched.items():
            video[picture.row] = with_scores[index][1]
    return video, spurious


def match(faces: Sequence[Face], pasted: Sequence[Pasted]) -> Iterator[tuple[int, Pasted]]:
    """Which detection shows which picture: the nearest pairs first, each face and picture once.

    Yields:
        Index of a face, and its picture.
    """
    pairs = []
    for index, face in enumerate(faces):
        x, y, w, h = face.box
        for place, picture in enumerate(pasted):
            distance = float(np.hypot(x + w / 2 - picture.x, y + h / 2 - picture.y)) / picture.side
            if distance < NEAR:
                pairs.append((distance, index, place))
    seen: set[int] = set()
    used: set[int] = set()
    for _, index, place in sorted(pairs):
        if index not in seen and place not in used:
            seen.add(index)
            used.add(place)
            yield index, pasted[place]


class _Direct:
    """Scores in this process, at once; see :class:`fer_batch.process.Scores`."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def submit(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._scorer(crops)

    def result(self, ticket: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return ticket
