"""A video's page: its figures in every view, its peaks and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_batch import page
from fer_batch.schema import EMOTIONS
from reports import figures, measures, wording

if TYPE_CHECKING:
    import jinja2

TRACKS_SHOWN: Final = 200
"""The table of tracks lists so many, those seen longest; the rest are counted."""

PEOPLE_SHOWN: Final = 12
"""So many tracks, those seen longest, can be chosen in the figures."""

PEAKS_SHOWN: Final = 40
"""The table of peaks lists so many, the most prominent ones; the rest are counted."""

ABOUT_PEAK_MS: Final = 10_000
"""Time before and after a peak that its link shows; as in ``report.js``."""

_MOST_STRETCHES: Final = 600
_MOST_POINTS_OF_PEOPLE: Final = 6_000


@dataclass(frozen=True)
class Content:
    """One content and what its tables say.

    Attributes:
        rows: the ledger's rows of this content: a file, and its copies.
        frames, faces: see :class:`reports.load.VideoTables`.
        summary: :func:`reports.measures.summary`.
    """

    rows: list[dict[str, Any]]
    frames: pa.Table
    faces: pa.Table
    summary: dict[str, Any]

    @property
    def extent_ms(self) -> int:
        """Length of the time axis: of the video, or of its samples if they reach further."""
        ends = [0, self.rows[0]["duration_ms"] or 0]
        if self.frames.num_rows:
            ends.append(self.frames["timestamp_ms"][-1].as_py() + self.frames["duration_ms"][-1].as_py())
        return max(ends)


def peaks_shown(content: Content) -> tuple[pa.Table, int]:
    """The most prominent peaks, by time, and how many more there are."""
    found = measures.peaks(content.faces, measures.window_ms(content.frames))
    best = found.sort_by([("prominence", "descending")]).slice(0, PEAKS_SHOWN)
    return best.sort_by([("at_ms", "ascending"), ("track_id", "ascending")]), found.num_rows - best.num_rows


def render(
    environment: jinja2.Environment,
    common: dict[str, Any],
    content: Content,
    pictures: dict[tuple[int, int], str] | None = None,
    no_pictures: str | None = None,
) -> str:
    """The page as HTML.

    Args:
        environment: see :func:`reports.pages.build`.
        common: what all pages of the run are given.
        content: the video.
        pictures: of peaks, as data addresses by track and time, see :mod:`reports.thumbnails`.
        no_pictures: why there are none although they were asked for.
    """
    frames, faces, summary = content.frames, content.faces, content.summary
    extent, window = content.extent_ms, measures.window_ms(frames)
    tracks = measures.tracks(faces, summary["sampled_ms"])
    longest = tracks.sort_by([("seen_ms", "descending")]) if tracks.num_rows else tracks
    chosen = longest.slice(0, PEOPLE_SHOWN)
    if chosen.num_rows:
        chosen = chosen.sort_by("track_id")
    expressions = measures.expressions(frames).to_pylist()
    means = {row["emotion"]: row["mean"] for row in expressions}
    peaks, peaks_left = peaks_shown(content)
    drawn = _Drawn(content, chosen["track_id"].to_pylist(), window, peaks)
    model = common["info"]["model"]
    return environment.get_template("video.html").render(
        **common,
        row=content.rows[0],
        copies=[other["path"] for other in content.rows[1:]],
        name=content.rows[0]["path"].rpartition("/")[2],
        reason=wording.reason(content.rows[0]),
        summary=summary,
        figures={name: page.embedded(figure) for name, figure in drawn.figures(means, chosen).items()},
        drawn_points=drawn.drawn_points,
        bridge_ms=drawn.bridge_ms,
        window_ms=window,
        expressions=expressions,
        people=chosen.to_pylist(),
        tracks=sorted(longest.slice(0, TRACKS_SHOWN).to_pylist(), key=lambda track: int(track["track_id"])),
        tracks_left=max(0, tracks.num_rows - TRACKS_SHOWN),
        n_tracks=tracks.num_rows,
        peaks=[
            {**peak, "warning": wording.caution(peak["emotion"], model, means[peak["emotion"]]),
             "picture": (pictures or {}).get((peak["track_id"], peak["at_ms"]))}
            for peak in peaks.to_pylist()
        ],
        peaks_left=peaks_left,
        prominence=measures.PROMINENCE,
        rare=wording.RARE,
        unsure=wording.UNSURE,
        has_pictures=bool(pictures),
        no_pictures=no_pictures,
        slices=measures.slices(frames, extent).to_pylist() if extent >= 1000 and frames.num_rows else [],
        base="../",
    )  # fmt: skip


class _Drawn:
    """The figures of one video, each with its views of everyone and of the chosen tracks.

    Attributes:
        bridge_ms: the longest gap that is not drawn, 0 for none.
        drawn_points: samples drawn in the first view, of all.
    """

    def __init__(self, content: Content, track_ids: list[int], window: int, peaks: pa.Table) -> None:
        self._content = content
        self._window = window
        self._extent = content.extent_ms
        self.bridge_ms = 0.0
        frames = content.frames
        self._stretches = self._bridged(measures.conditions(frames))
        # A person's view needs fewer points the more persons there are, so that the page stays light.
        limit = min(measures.LONGEST_FIGURE, max(240, _MOST_POINTS_OF_PEOPLE // max(1, 2 * len(track_ids))))
        self._views = list(self._two("all", frames, self._stretches, measures.LONGEST_FIGURE))
        self._tables = {"all": frames}
        for track_id in track_ids:
            own = measures.of_track(frames, content.faces, track_id)
            self._tables[str(track_id)] = own
            stretches = self._bridged(measures.conditions(own))
            mine = peaks.filter(pc.equal(peaks["track_id"], track_id)).to_pylist()
            # A reader who jumps to a peak sees every sample about it.
            whole = [(peak["start_ms"] - ABOUT_PEAK_MS, peak["end_ms"] + ABOUT_PEAK_MS) for peak in mine]
            self._views += self._two(str(track_id), own, stretches, limit, whole)
        self.drawn_points = self._views[0].points.num_rows

    def _bridged(self, stretches: pa.Table) -> pa.Table:
        """Stretches that a screen can show; a face that flickers has thousands."""
        if stretches.num_rows <= _MOST_STRETCHES:
            return stretches
        bridge_ms = self._extent / (2 * _MOST_STRETCHES)
        self.bridge_ms = max(self.bridge_ms, bridge_ms)
        return measures.bridged(stretches, bridge_ms)

    def _two(
        self, who: str, frames: pa.Table, stretches: pa.Table, limit: int, whole: Sequence[tuple[int, int]] = ()
    ) -> tuple[figures.TimelineView, figures.TimelineView]:
        smooth = measures.smoothed(frames, self._window)
        return (
            figures.TimelineView(f"{who}/smooth", measures.thinned(smooth, stretches, limit, whole), stretches),
            figures.TimelineView(f"{who}/raw", measures.thinned(frames, stretches, limit), stretches),
        )

    def figures(self, means: dict[str, float | None], chosen: pa.Table) -> dict[str, figures.Figure]:
        """By name; without a face there is a timeline only, and nothing at all without a sample."""
        if not self._content.frames.num_rows:
            return {}
        extent, faces, window = self._extent, self._content.faces, self._window
        ribbon = measures.lanes(measures.presence(faces, extent / 800), extent / 50)
        made = {"timeline": figures.timeline(self._views, ribbon, extent)}
        if not faces.num_rows:
            return made
        times = measures.slots(self._content.frames, extent)
        affect, quality = {}, {}
        for who in self._tables:
            mine = faces if who == "all" else faces.filter(pc.equal(faces["track_id"], int(who)))
            affect[who] = measures.spread(mine, times, window, figures.AFFECT)
            quality[who] = measures.spread(mine, times, window, figures.QUALITY)
        heat = {who: measures.heat(frames, extent) for who, frames in self._tables.items()}
        return {
            **made,
            "heat": figures.heatmap(heat, self._stretches, extent),
            "affect": figures.affect(affect, self._stretches, extent, window),
            "people": figures.people({name: means[name] for name in EMOTIONS}, chosen),
            "quality": figures.quality(quality, self._stretches, extent, window),
        }
