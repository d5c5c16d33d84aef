"""The sound of a video, taken over into a new MP4: copied where MP4 can hold it, encoded as AAC where not."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias

import av
import av.audio.frame
import av.audio.resampler
import av.audio.stream
import av.container
from av.error import FFmpegError

from fer_batch.container import open_video, read_packets

COPIED: Final = ("aac", "mp3", "ac3", "eac3", "alac")
"""Codecs that every common player expects in MP4, and whose packets mean the same there: they are not encoded anew."""

_AAC_RATES: Final = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
_AAC_FRAME: Final = 1024
_AAC_LAYOUTS: Final = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")

_Packet: TypeAlias = "av.Packet[Any]"


class Sound:
    """All sound tracks of a file, read in step with the pictures; a context manager.

    Every packet keeps its time, so that sound and pictures stay together, whether the one or the other begins first.
    What an edit list cuts off stays cut off. Times that do not grow mark the start of a new time line, which is joined
    to the end of the one before, as for the pictures (see :mod:`fer_batch.decode`).

    Attributes:
        how: for each track ``copied``, ``encoded``, or ``left out`` where it cannot be decoded.
        is_damaged: parts of it could not be read or decoded.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            VideoError: the file cannot be opened.
        """
        self._container = open_video(path)
        self._streams = [s for s in self._container.streams.audio if s.codec_context is not None]
        self.how = ["left out"] * (len(self._container.streams.audio) - len(self._streams))
        self.is_damaged = False
        self._tracks: dict[int, _Copied | _Encoded] = {}
        self._packets: Iterator[_Packet] = iter(())
        self._next: _Packet | None = None

    def __enter__(self) -> Sound:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def start(self) -> Fraction | None:
        """When the first sound is heard, in seconds of the file's own time line; None without sound.

        Never before zero: what lies there is the codec's run-up, which is not heard.
        """
        starts = [s.start_time * s.time_base for s in self._streams if s.start_time is not None and s.time_base]
        return max(Fraction(0), min(starts)) if starts else None

    @property
    def rate(self) -> int | None:
        """Samples a second of the first track; None without sound."""
        return self._streams[0].codec_context.sample_rate if self._streams else None

    def attach(self, output: av.container.OutputContainer, shift: Fraction) -> None:
        """Add the tracks to a file that is to be written, all times moved back by `shift` seconds."""
        for stream in self._streams:
            is_copied = stream.codec_context.codec.canonical_name in COPIED
            kind = _Copied if is_copied else _Encoded
            self._tracks[stream.index] = kind(stream, output, shift)
            self.how.append("copied" if is_copied else "encoded")
        if self._streams:
            self._packets = self._readable(read_packets(self._container, self._streams))
            self._next = next(self._packets, None)

    def packets(self, until: Fraction | None) -> Iterator[_Packet]:
        """Packets to be written, up to a time in seconds of the file that was read; all that are left for None."""
        while self._next is not None:
            packet = self._next
            track = self._tracks[packet.stream.index]
            at = track.place(packet)
            if until is not None and at > until:
                return
            self._next = next(self._packets, None)
            try:
                yield from track.take(packet)
            except FFmpegError:
                self.is_damaged = True  # a packet that cannot be decoded leaves silence
        if until is None:
            for track in self._tracks.values():
                yield from track.finish()

    def _readable(self, packets: Iterator[_Packet]) -> Iterator[_Packet]:
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                self.is_damaged = True
                return
            if packet is None:
                return
            if packet.size and packet.dts is not None:
                yield packet


class _Track:
    """Gives a track's packets their place on one time line."""

    def __init__(self, stream: av.audio.stream.AudioStream) -> None:
        self.time_base = Fraction(stream.time_base or 1)
        self._offset = 0
        self._end: int | None = None
        self._placed: _Packet | None = None

    def place(self, packet: _Packet) -> Fraction:
        """Move a packet onto the joined time line, once, and give its time in seconds."""
        if packet is not self._placed:
            own = packet.dts or 0  # never None, see Sound._readable
            dts = own + self._offset
            if self._end is not None and dts < self._end - (packet.duration or 1):
                self._offset += self._end - dts
                dts = self._end
            packet.pts = (own if packet.pts is None else packet.pts) + self._offset
            packet.dts = dts
            self._end = max(self._end or dts, dts + (packet.duration or 1))
            self._placed = packet
        return (packet.dts or 0) * self.time_base


class _Copied(_Track):
    """Hands packets on as they are.

    Where the container rounded times to more than a sample (Matroska and FLV: milliseconds), they are put back to
    where the codec's own frame length has them.
    """

    def __init__(
        self, stream: av.audio.stream.AudioStream, output: av.container.OutputContainer, shift: Fraction
    ) -> None:
        super().__init__(stream)
        self._out = output.add_stream_from_template(stream)
        self._shift = shift
        context = stream.codec_context
        self._rate, self._frame = context.sample_rate, context.frame_size
        self._is_rounded = bool(self._frame) and self.time_base > Fraction(1, self._rate)
        self._expected: int | None = None
        self._last: int | None = None

    def take(self, packet: _Packet) -> Iterator[_Packet]:
        """The packet with its time in the new file.

        Left out is what does not come after the packet before, and what an edit list hides but the new file would let
        be heard: it can hide the codec's run-up at time zero only.
        """
        unit = Fraction(1, self._rate) if self._is_rounded else self.time_base
        at = (packet.pts or 0) * self.time_base
        if self._is_rounded and self._expected is not None and abs(at - self._expected * unit) < 1.5 * self.time_base:
            ticks = self._expected
        else:
            ticks = round(at / unit)
        if self._is_rounded:
            self._expected = ticks + self._frame
            packet.duration = self._frame
        ticks -= round(self._shift / unit)
        if (self._last is not None and ticks <= self._last) or (packet.is_discard and ticks >= 0):
            return
        self._last = ticks
        packet.time_base, packet.pts, packet.dts, packet.stream = unit, ticks, ticks, self._out
        yield packet

    def finish(self) -> Iterator[_Packet]:
        """Nothing is held back."""
        return iter(())


class _Encoded(_Track):
    """Decodes packets and encodes them as AAC; holes in the sound become silence."""

    def __init__(
        self, stream: av.audio.stream.AudioStream, output: av.container.OutputContainer, shift: Fraction
    ) -> None:
        super().__init__(stream)
        self._stream = stream
        context = stream.codec_context
        self._rate = next((rate for rate in _AAC_RATES if rate <= context.sample_rate), _AAC_RATES[-1])
        layout = context.layout.name.partition("(")[0]  # "5.1(side)" becomes "5.1"
        self._layout = layout if layout in _AAC_LAYOUTS else "mono" if context.channels == 1 else "stereo"
        self._out = output.add_stream("aac", rate=self._rate)
        self._out.layout = self._layout
        self._out.bit_rate = 96_000 * min(2, context.channels) if context.channels <= 2 else 384_000
        self._shift = round(shift * self._rate)
        self._form: tuple[str, str, int] | None = None
        self._resampler: av.audio.resampler.AudioResampler | None = None

    def take(self, packet: _Packet) -> Iterator[_Packet]:
        """Packets that are finished once this one is decoded."""
        for frame in self._stream.codec_context.decode(packet):
            yield from self._frames(frame)

    def finish(self) -> Iterator[_Packet]:
        """What is still on its way."""
        try:
            for frame in self._stream.codec_context.decode(None):
                yield from self._frames(frame)
        except FFmpegError:
            pass  # nothing was left in the decoder
        yield from self._resampled(None)
        yield from self._out.encode(None)

    def _frames(self, frame: av.audio.frame.AudioFrame) -> Iterator[_Packet]:
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form:  # the first, or the stream changes its form
            yield from self._resampled(None)
            self._form = form
            self._resampler = av.audio.resampler.AudioResampler(
                "fltp", self._layout, self._rate, _AAC_FRAME, options={"async": "1"}
            )
        yield from self._resampled(frame)

    def _resampled(self, frame: av.audio.frame.AudioFrame | None) -> Iterator[_Packet]:
        if self._resampler is None:
            return
        for part in self._resampler.resample(frame):
            if part.pts is not None:
                part.pts -= self._shift
            yield from self._out.encode(part)
