"""Windows of frames, cut by count or by time: the clips that a detector sees."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from vidence.errors import SourceError, SpecError
from vidence.frames.clip import Clip, Frame
from vidence.frames.source import Source
from vidence.record.facts import ClipRef
from vidence.spec import Settings

Partial = Literal["pad", "keep", "drop", "shift", "tail"]
MILLISECOND = 1e-3  # what containers round time stamps to


class _Sample(NamedTuple):
    """A sampled frame and its place among the source's frames (repeats share it)."""

    place: int
    frame: Frame


@dataclass(frozen=True)
class Windows(Settings):
    """Cuts a source into clips of `length` sampled frames, a new one every `stride`.

    **Sampling.** Without a `rate`, every frame is a sample. With one, sample k is the frame shown at k / rate seconds
    after the first frame: the last one at or before that time, or the next one if that is nearer and less than half a
    sample ahead, so that a jittering or a faster camera gives the same moments. A source slower than `rate` repeats
    frames, with their own times: time is never stretched. No time is made up after the last frame, and in a gap of the
    recording a frame stands for at most `length` samples; then sampling goes on behind the gap.

    **Windows.** `first` of a clip counts samples. A window is left out if all its frames have been in earlier ones. The
    last window may be partial: `pad` repeats its last frame and that frame's time up to `length`; `shift` begins it
    earlier instead, so that it is whole and ends with the source (a source shorter than `length` is padded); `keep`
    leaves it short; `drop` leaves it out, which leaves no window at all of a source with fewer samples than `length`;
    `tail` leaves it short and hands the overlap out again where a whole window was the last: a short window says that
    nothing follows.
    """

    length: int = 16
    stride: int = 8
    rate: float | None = None
    partial: Partial = "pad"

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("stride", self.stride)):
            if value < 1:
                raise SpecError(f"windows: {name} must be at least 1 frame; got {value!r}.")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise SpecError(
                f"windows: rate must be a positive number of frames per second, or None; got {self.rate!r}."
            )
        if self.partial not in get_args(Partial):
            raise SpecError(f"windows: partial must be one of {', '.join(get_args(Partial))}; got {self.partial!r}.")

    @property
    def overlap(self) -> int:
        """Frames that a window shares with the one before."""
        return max(0, self.length - self.stride)

    def cut(self, source: Source) -> Iterator[Clip]:
        """Clips in order, one at a time; at most `length` frames are held, and one that is read ahead."""
        return self._clips(source)

    def at(self, source: Source, first: int) -> Clip:
        """The one clip of `cut` that starts at sample `first`, decoded anew from the beginning of the source.

        Raises `SourceError` where `cut` yields no such clip.
        """
        with closing(self._clips(source, only=first)) as clips:
            for clip in clips:
                return clip
        raise SourceError(
            f"a window must start at a multiple of the stride {self.stride} (or be the last) and show a new frame; "
            f"{source.name!r} has none at sample {first}. Check that these are the windows it was cut with."
        )

    def _clips(self, source: Source, *, only: int | None = None) -> Generator[Clip]:
        held: list[_Sample] = []
        recent: deque[_Sample] = deque(maxlen=self.length if self.partial == "shift" else 0)
        first = skip = unseen = 0  # unseen: the place of the first frame that no window has shown
        with closing(self._samples(source)) as samples:
            for sample in samples:
                recent.append(sample)
                if skip:
                    skip -= 1
                    continue
                held.append(sample)
                if len(held) == self.length:
                    clip = _clip(source, first, held) if sample.place >= unseen and only in (None, first) else None
                    unseen = sample.place + 1
                    del held[: self.stride]  # before the clip is handed out: nothing is kept for longer
                    first, skip = first + self.stride, max(0, self.stride - self.length)
                    if clip is not None:
                        yield clip
                        del clip
                    shifted = self.partial == "shift" and only is not None and only % self.stride != 0
                    if only is not None and first > only and not shifted:
                        return
        if not held or self.partial == "drop" or (held[-1].place < unseen and self.partial != "tail"):
            return
        if len(recent) == self.length:
            first, held = first + len(held) - self.length, list(recent)
        missing = 0 if self.partial in ("keep", "tail") else self.length - len(held)
        if only in (None, first):
            yield _clip(source, first, held + held[-1:] * missing)

    def _samples(self, source: Source) -> Generator[_Sample]:
        frames = iter(source)
        try:
            if self.rate is None:
                yield from (_Sample(place, frame) for place, frame in enumerate(frames))
            else:
                yield from self._timed(frames, rate=self.rate)
        finally:
            close = getattr(frames, "close", None)  # generators have it; a source of another kind may not
            if close is not None:
                close()

    def _timed(self, frames: Iterator[Frame], *, rate: float) -> Generator[_Sample]:
        """The samples at k / rate seconds after the first frame."""
        shown: _Sample | None = None
        start, k = 0.0, 0
        for place, frame in enumerate(frames):
            start = frame.time if shown is None else start
            times = 0
            while shown is not None and (target := start + k / rate) < frame.time:
                ahead, behind = frame.time - target, target - shown.frame.time
                if ahead < 0.5 / rate and ahead < behind - MILLISECOND:
                    break  # the next frame is nearer
                if times == self.length:
                    k = math.floor((frame.time - start) * rate - 0.5) + 1
                    break  # a gap: go on with the first sample that the next frame may stand for
                yield shown
                k, times = k + 1, times + 1
            shown = _Sample(place, frame)
        if shown is not None and start + k / rate <= shown.frame.time + MILLISECOND:
            yield shown


def _clip(source: Source, first: int, samples: list[_Sample]) -> Clip:
    times = tuple(sample.frame.time for sample in samples)
    return Clip(
        ClipRef(source.name, source.digest, first, times), np.stack([sample.frame.pixels for sample in samples])
    )
