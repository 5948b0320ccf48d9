"""Run a detector over a source: windows in, scored windows out, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vidence.errors import ShapeError
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.record.facts import ClipRef, Event
from vidence.scoring.timeline import MERGE_S, Curve, curve, events


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """One window's score: `values` per scored frame, `value` the highest of them, `probabilities` per class if any.

    `times` are the scored frames'; a predictor scores only frames that it predicts. Empty: all frames of the window.
    `doubts` are what the detector holds against the footage, in plain words.
    """

    ref: ClipRef
    values: tuple[float, ...]
    probabilities: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    doubts: tuple[str, ...] = ()

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

    @property
    def scored_s(self) -> Sequence[float]:
        """The scored frames' times in seconds, one per value."""
        return self.times or self.ref.times

    def within(self, first_s: float, last_s: float) -> dict[float, float]:
        """The frames scored in a stretch of time: score by second."""
        scores = zip(self.scored_s, self.values, strict=True)
        return {time: value for time, value in scores if first_s <= time <= last_s}

    def overlaps(self, first_s: float, last_s: float) -> bool:
        """Whether the window shares a moment with a stretch of time."""
        return self.first_s <= last_s and self.last_s >= first_s


def scored(detector: Detector, source: Source) -> Iterator[tuple[Clip, ScoredWindow]]:
    """Score a source window by window, but for windows without a scored frame, as a predictor may have where a source
    is short; nothing is held but the current clip.
    """
    session = detector.start()
    for clip in detector.windows.cut(source):
        frames = session.push(clip)
        if not len(frames.times):
            continue
        probabilities = () if frames.probabilities is None else tuple(frames.probabilities.tolist())
        times = tuple(frames.times.tolist())
        yield clip, ScoredWindow(clip.ref, tuple(frames.values.tolist()), probabilities, times, frames.doubts)


def curve_of(windows: Iterable[ScoredWindow]) -> Curve:
    """The windows' scores as one curve over the source's frames."""
    return curve((window.scored_s, window.values) for window in windows)


def scored_curve(detector: Detector, source: Source) -> Curve:
    """The score of each frame of a source; empty where no frame has one."""
    return curve_of(window for _, window in scored(detector, source))


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a detector says of a source: its windows, the curve over frames, and the alarms at a threshold."""

    windows: tuple[ScoredWindow, ...]
    threshold: float
    curve: Curve
    events: tuple[Event, ...]

    @property
    def anomalous(self) -> tuple[ScoredWindow, ...]:
        """The windows above the threshold."""
        return tuple(window for window in self.windows if window.value > self.threshold)

    @property
    def peak(self) -> ScoredWindow:
        """The highest window of the whole source."""
        return max(self.windows, key=lambda window: window.value)

    def scoring(self, event: Event) -> tuple[ScoredWindow, ...]:
        """The windows that scored a frame of an event."""
        return tuple(each for each in self.windows if each.within(event.first_s, event.last_s))

    def during(self, first_s: float, last_s: float) -> tuple[ScoredWindow, ...]:
        """The windows that share a moment with a stretch of time."""
        return tuple(window for window in self.windows if window.overlaps(first_s, last_s))


def judge(
    detector: Detector,
    source: Source,
    *,
    threshold: float,
    step: Callable[[Clip, ScoredWindow], None] = lambda clip, window: None,
) -> Judgement:
    """Score a source; `step` sees each window as it is scored, with its pixels, which are then let go.

    Above the detector's own threshold, stretches make one alarm as its rule counted them. Raises `ShapeError` for a
    source without a frame that gets a score.
    """
    windows = []
    for clip, window in scored(detector, source):
        windows.append(window)
        step(clip, window)
    if not windows:
        raise ShapeError(
            f"a source must hold a frame that the detector scores; {source.name} is too short for one. Give a longer "
            "video, or choose a detector that reconstructs."
        )
    whole = curve_of(windows)
    merge_s = own_rule(detector, threshold).get("merge_s", MERGE_S)
    return Judgement(tuple(windows), threshold, whole, tuple(events(whole, threshold, merge_s=merge_s)))


def own_rule(detector: Detector, threshold: float) -> dict[str, Any]:
    """The facts of the detector's own threshold, if it is this one; else none."""
    own = detector.threshold
    return own if own is not None and own["value"] == threshold else {}
