"""Run a detector over a source: windows in, scored windows out, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.record.facts import ClipRef, Detection
from vidence.scoring.timeline import Curve, curve


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """One window's score: `values` per frame, `value` the highest of them, `probabilities` per class if any."""

    ref: ClipRef
    values: tuple[float, ...]
    probabilities: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The window's score: its highest frame."""
        return max(self.values)

    @property
    def last_s(self) -> float:
        """The window's last time in seconds."""
        return self.ref.times[-1]

    @property
    def first_s(self) -> float:
        """The window's first time in seconds."""
        return self.ref.times[0]

    def overlaps(self, first_s: float, last_s: float) -> bool:
        """Whether the window shares a moment with a stretch of time."""
        return self.first_s <= last_s and self.last_s >= first_s


def scored(detector: Detector, source: Source) -> Iterator[tuple[Clip, ScoredWindow]]:
    """Score a source window by window; nothing is held but the current clip."""
    session = detector.start()
    for clip in detector.windows.cut(source):
        frames = session.push(clip)
        probabilities = () if frames.probabilities is None else tuple(frames.probabilities.tolist())
        yield clip, ScoredWindow(clip.ref, tuple(frames.values.tolist()), probabilities)


def curve_of(windows: Iterable[ScoredWindow]) -> Curve:
    """The windows' scores as one curve over the source's frames."""
    return curve((window.ref.times, window.values) for window in windows)


def detection(detector: Detector, window: ScoredWindow, *, score: str, threshold: float) -> Detection:
    """The fact that a record keeps of a window."""
    return Detection(window.ref, detector.spec, detector.weights_digest, score, window.value, threshold)
