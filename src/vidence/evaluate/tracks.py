"""A detector watches one source: errors, live scores and maps from the same pass, beside the truth of the frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vidence.datasets.dataset import Dataset, Sample, Truth
from vidence.errors import DataError
from vidence.evaluate.alarms import Watched
from vidence.evaluate.cost import Meter
from vidence.evaluate.pixel_level import PixelTally
from vidence.frames.clip import Clip, Frame
from vidence.frames.source import Source
from vidence.models.detector import Detector, FrameScores, Session
from vidence.models.motion_session import MotionSession
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.models.reconstruction_detector import LiveScores, ReconstructionDetector
from vidence.scoring.timeline import Curve, curve


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One source: `live` scores and `raw` errors of its scored `frames` (their places in the source).

    `times` and `anomalous` are those of all frames of the source; `told_s` is how much later than a frame its score is
    told, at most (of all windows but the first, where there are more: a source's first frames wait until that is full);
    a frame that several windows hold has the mean of their errors, and the highest of their live scores, as in a
    timeline. `ahead` are the raw errors of each window's
    normal frames by how many steps ahead they were predicted, nan for the others; k is 0 where nothing is.
    `notes` say what went wrong while the source was read.
    """

    sample: Sample
    frames: Int[np.ndarray, " s"]
    live: Float[np.ndarray, " s"]
    raw: Float[np.ndarray, " s"]
    times: Float[np.ndarray, " t"]
    anomalous: Bool[np.ndarray, " t"]
    ahead: Float[np.ndarray, "w k"]
    told_s: float
    notes: tuple[str, ...] = ()

    @property
    def truth(self) -> Bool[np.ndarray, " s"]:
        """Which of the scored frames are anomalous."""
        return self.anomalous[self.frames]

    @property
    def watched(self) -> Watched:
        """For the alarms: the live curve beside the truth of all frames."""
        return Watched(self.times, self.anomalous, Curve(self.times[self.frames], self.live))


class Timed:
    """A source that keeps its frames' times while it is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.times: list[float] = []

    @property
    def name(self) -> str:
        """The source's."""
        return self._source.name

    @property
    def digest(self) -> str:
        """The source's."""
        return self._source.digest

    @property
    def fps(self) -> float | None:
        """The source's."""
        return self._source.fps

    @property
    def size(self) -> tuple[int, int]:
        """The source's."""
        return self._source.size

    @property
    def duration(self) -> float | None:
        """The source's."""
        return self._source.duration

    @property
    def clock(self) -> str:
        """The source's."""
        return self._source.clock

    @property
    def dropped(self) -> int | None:
        """The source's."""
        return self._source.dropped

    @property
    def notes(self) -> list[str]:
        """The source's."""
        return self._source.notes

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order."""
        self.times = []
        for frame in self._source:
            self.times.append(frame.time)
            yield frame


class Maps:
    """The densities of a source's frames, a frame's being the mean over the windows that hold it."""

    def __init__(self) -> None:
        self._held: dict[float, tuple[Float[np.ndarray, "h w"], int]] = {}

    def add(self, times: Float[np.ndarray, " s"], density: Float[np.ndarray, "s h w"]) -> None:
        """A window's frames; a frame that the window repeats counts once."""
        for time, values in dict(zip(times.tolist(), density, strict=True)).items():
            total, count = self._held.get(time, (0.0, 0))
            self._held[time] = (total + values, count + 1)

    def before(self, time: float) -> tuple[list[float], Float[np.ndarray, "m h w"]]:
        """Take out the frames before a time, with their times."""
        done = sorted(each for each in self._held if each < time)
        means = [total / count for total, count in map(self._held.pop, done)]
        return done, np.stack(means) if means else np.empty((0, 1, 1), np.float32)


def follow(
    detector: Detector,
    dataset: Dataset,
    sample: Sample,
    *,
    meter: Meter,
    tally: PixelTally | None = None,
    step: Callable[[float], None] = lambda share: None,
) -> Track:
    """Score one source, and count its pixels in `tally`. `step` is told which share of the source is done.

    Without masks, normal sources are counted as they are read, and anomalous ones are not counted.
    """
    source, session = Timed(sample.open()), detector.start()
    quiet = sample.mask is None and sample.label in dataset.normal
    maps = Maps() if tally is not None and (quiet or sample.mask is not None) else None
    raw: list[FrameScores] = []
    live: list[FrameScores] = []
    waits: list[float] = []
    for clip in detector.windows.cut(source):
        errors, scores, density = _look(detector, session, clip, meter, mapped=maps is not None)
        raw.append(errors)
        live.append(scores)
        waits += [clip.times[-1] - time for time in scores.times[:1].tolist()]
        if meter.window is None and len(errors.times):
            meter.window, meter.fresh = clip, min(detector.windows.stride, len(errors.times))
        if maps is not None and density is not None:
            maps.add(errors.times, density)
            if quiet and tally is not None:
                _count(tally, detector, source, maps.before(clip.times[0]), masks=None)
        step(clip.times[-1] / source.duration if source.duration else 0.0)
    truth = dataset.truth(sample, len(source.times))
    if maps is not None and tally is not None and not (truth.masks is None and truth.anomalous.any()):
        _count(tally, detector, source, maps.before(np.inf), masks=truth.masks)
    ahead = _ahead(detector, source.times, raw, truth)
    return _track(sample, source, raw, live, truth, ahead=ahead, told_s=max(waits[1:] or waits, default=0.0))


def _look(
    detector: Detector, session: Session, clip: Clip, meter: Meter, *, mapped: bool
) -> tuple[FrameScores, FrameScores, Float[np.ndarray, "s h w"] | None]:
    """Raw errors, live scores and density of one window. Without a network that reconstructs, raw errors are the live
    scores.

    Only what live scoring would do is timed, so that detectors with and without maps compare.
    """
    with meter.running():
        if not (isinstance(detector, ReconstructionDetector) and isinstance(session, LiveScores)):
            live = session.push(clip)
            return live, live, session.density() if mapped and isinstance(session, MotionSession) else None
        raw, density = detector.examined(clip)
        live = session.follow(raw)
    return raw, live, density() if mapped else None


def _count(
    tally: PixelTally,
    detector: Detector,
    source: Timed,
    settled: tuple[list[float], Float[np.ndarray, "m h w"]],
    *,
    masks: Bool[np.ndarray, "t H W"] | None,
) -> None:
    """Count settled frames; those of a source without masks are normal everywhere."""
    times, density = settled
    if times:
        size = source.size
        held = np.broadcast_to(False, (len(times), *size)) if masks is None else _chosen(masks, source.times, times)
        tally.add(density, held, affine=detector.fit.to_source(size, density.shape[1:]))


def _chosen(
    masks: Bool[np.ndarray, "t H W"], known: Sequence[float], times: Sequence[float]
) -> Bool[np.ndarray, "m H W"]:
    """The masks of the frames at some times; without a copy where these follow each other."""
    places = np.searchsorted(known, times)
    together = places[-1] - places[0] + 1 == len(places)
    return masks[places[0] : places[-1] + 1] if together else masks[places]


def _ahead(
    detector: Detector, known: Sequence[float], raw: list[FrameScores], truth: Truth
) -> Float[np.ndarray, "w k"]:
    """A frame's place in its window says how many steps ahead it was predicted."""
    network = detector.network
    if not isinstance(network, ReconstructionNetwork) or network.predicts_from is None:
        return np.empty((len(raw), 0))
    found = np.full((len(raw), detector.windows.length - network.predicts_from), np.nan)
    for row, each in zip(found, raw, strict=True):
        anomalous = truth.anomalous[np.searchsorted(known, each.times)]
        errors = np.where(anomalous, np.nan, each.values)[network.predicts_from - network.first_frame :]
        row[: len(errors)] = errors
    return found


def _track(
    sample: Sample,
    source: Timed,
    raw: list[FrameScores],
    live: list[FrameScores],
    truth: Truth,
    *,
    ahead: Float[np.ndarray, "w k"],
    told_s: float,
) -> Track:
    errors = curve(((each.times.tolist(), each.values.tolist()) for each in raw), overlap="mean")
    scores = curve((each.times.tolist(), each.values.tolist()) for each in live)
    if not (np.isfinite(errors.values).all() and np.isfinite(scores.values).all()):
        raise DataError(f"scores must be finite; those of {sample.path} are not. Train the detector again.")
    times = np.array(source.times, dtype=np.float64)
    frames = np.searchsorted(times, scores.times)
    return Track(
        sample, frames, scores.values, errors.values, times, truth.anomalous, ahead, told_s, tuple(source.notes)
    )
