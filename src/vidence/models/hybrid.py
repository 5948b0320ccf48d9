"""`motion-attributes` beside a detector that has learnt how the picture looks: `hybrid`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec as spec_line
from vidence.errors import SpecError
from vidence.frames.clip import Clip
from vidence.models.attributions import Attributions
from vidence.models.detector import FrameScores
from vidence.models.identified import DetectorSettings, Identified
from vidence.models.motion_attributes import MotionAttributes, MotionAttributesDetector
from vidence.models.motion_evidence import Sentences
from vidence.models.reconstruction_detector import LiveScores, ReconstructionDetector, ReconstructionSettings
from vidence.record.facts import ClipRef


@dataclass(frozen=True, kw_only=True)
class Hybrid(DetectorSettings["HybridDetector"]):
    """How something moves and how it looks: the `rule`, mean or max, of the live scores of `motion` and of `learned`, a
    detector that reconstructs or predicts (or an ensemble of such). Frames that `learned` cannot score, such as a
    predictor's first ones, have the score of `motion` alone. What is told is the evidence of the member that is higher.
    """

    learned: ReconstructionSettings
    motion: MotionAttributes = field(default_factory=MotionAttributes)
    rule: Literal["mean", "max"] = "mean"

    def __post_init__(self) -> None:
        """Refuse members that do not see the same frames."""
        if self.rule not in ("mean", "max"):
            raise SpecError(f"hybrid: rule must be mean or max; got {self.rule!r}.")
        longest = self.motion.context + self.motion.stride + self.motion.reach
        if self.learned.length > longest or self.learned.rate != self.motion.rate or self.learned.crop is not None:
            raise SpecError(
                f"hybrid: learned must have a length of at most {longest}, the frames of a window of motion, its rate "
                f"{self.motion.rate:g}, and no crop; got {self.learned.length}, {self.learned.rate:g} and "
                f"{self.learned.crop}."
            )

    def build(self) -> HybridDetector:
        """A detector whose members have yet to learn."""
        return HybridDetector(self, self.motion.build(), self.learned.build())

    def remade(self, saved: Mapping[str, Any]) -> HybridDetector:
        """The detector of a checked `detector.json`, before its weights are filled in; its members have their facts."""
        origins, facts = saved["backbone"], saved["facts"]["members"]
        motion = self.motion.remade({"backbone": origins["motion"]})
        learned = self.learned.remade({"backbone": origins["learned"]})
        motion.facts, learned.facts = facts["motion"], facts["learned"]
        return HybridDetector(self, motion, learned)


class HybridDetector(Identified):
    """A built pair; `facts['calibration']` puts the combined score on the scale where 0 is usual and 1 rare, as each
    member's own facts do with theirs. It has no network of its own: its score is read out by `evidence`.
    """

    network = None
    score_line = "hybrid"

    def __init__(self, settings: Hybrid, motion: MotionAttributesDetector, learned: ReconstructionDetector) -> None:
        self.settings, self.motion, self.learned = settings, motion, learned
        self.known = nn.ModuleDict({"motion": motion.known, "learned": learned.network})
        self.threshold: dict[str, Any] | None = None
        self.facts: dict[str, Any] = {}
        self.fit, self.windows, self.delay = learned.fit, motion.windows, motion.delay

    @property
    def weighed(self) -> nn.Module:
        """What its folder holds the weights of."""
        return self.known

    @property
    def origin(self) -> dict[str, Any]:
        """What the members' networks were made of."""
        return {"motion": self.motion.origin, "learned": self.learned.origin}

    @property
    def precision(self) -> str:
        """That of scoring, of the member that has a network."""
        return self.learned.precision

    @property
    def smoothing(self) -> str:
        """How live scores are smoothed, in words."""
        return f"motion: {self.motion.smoothing}; learned: {self.learned.smoothing}"

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The input of the member that has a network."""
        return self.learned.prepare(clip)

    def measure_scales(self, clips: Iterable[Clip]) -> None:
        """Nothing: the members have theirs."""

    def start(self) -> HybridSession:
        """A fresh session for one source."""
        return HybridSession(self)

    def evidence(self, clip: Clip) -> Attributions:
        """Why a window got its score: the evidence of the member that is higher at its peak, and in the sentence what
        both say. The map is on the grid of the learned member's input, its highest place has that member's live score.
        """
        session = self.start()
        scores = session.push(clip)
        moved, looked = session.said[float(scores.times[scores.values.argmax()])]
        told = self.motion.evidence(clip)
        key, other = (spec_line.parse(each.spec).key for each in (self.motion, self.learned))
        both = f"{key} has {moved:.2f}" + ("" if looked is None else f" and {other} {looked:.2f}")
        density = None
        if looked is not None and looked > moved:
            density = self._expected(clip, scores)
        if looked is None or density is None:
            sentences, extra, values, peak = told.extra["sentences"], told.extra, told.values, moved
        else:
            at = np.unravel_index(int(density.max(axis=0).argmax()), density.shape[1:])
            row, column = ((place + 0.5) / side for place, side in zip(at, density.shape[1:], strict=True))
            place = f"{row:.0%} of the height and {column:.0%} of the width"
            least = f"{place} it looks least like what {other} expected."
            sentences = Sentences(f"At {least}", f"Nothing stood out; at {least}")
            extra = {"times": told.extra["times"], "observations": []}
            values, peak = torch.from_numpy(density)[None], looked
        size = self.settings.learned.size
        placed = nn.functional.interpolate(values, size=(size, size), mode="nearest")
        placed = placed * (max(peak, 0.0) / float(placed.max().clamp_min(1e-9)))
        sentences = Sentences(*(f"{each} ({both}, where 1 is rare.)" for each in sentences))
        sentence = sentences.fitting(float(scores.values.max()), self.threshold)
        said = {**extra, "sentences": sentences, "sentence": sentence}
        return Attributions(placed, certificate=told.certificate, extra=said)

    def _expected(self, clip: Clip, scores: FrameScores) -> Float[np.ndarray, "s h w"] | None:
        """The learned member's error per pixel of the scored frames; None where it has none, or not of all of them."""
        found, per_pixel = self.learned.examined(clip)
        wanted = np.isin(found.times, scores.times)
        density = per_pixel() if wanted.sum() == len(scores.times) else None
        return None if density is None else density[wanted]

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all, with the members' facts."""
        self.facts = {**self.facts, "members": {"motion": self.motion.facts, "learned": self.learned.facts}}
        super().save(folder)


class HybridSession:
    """Causal scores of one source; nothing older than a window is kept. `said` are the live scores of both members of
    the frames of the last window, by time; None where the learned one has none.
    """

    def __init__(self, detector: HybridDetector) -> None:
        self._detector = detector
        self._motion, self._live = detector.motion.start(), LiveScores(detector.learned)
        self._looked: dict[float, float] = {}
        self.said: dict[float, tuple[float, float | None]] = {}

    def push(self, clip: Clip) -> FrameScores:
        """Score the frames that the next window settles."""
        moved = self._motion.push(clip)
        self._looked = {time: value for time, value in self._looked.items() if time >= clip.times[0]}
        if not set(moved.times.tolist()) <= self._looked.keys():
            self._look(clip)
        self.said = {
            time: (value, self._looked.get(time))
            for time, value in zip(moved.times.tolist(), moved.values.tolist(), strict=True)
        }
        combine = np.mean if self._detector.settings.rule == "mean" else np.max
        values = [float(combine([each for each in pair if each is not None])) for pair in self.said.values()]
        scaled = self._detector.scaled(np.array(values)).astype(np.float32)
        return FrameScores(times=moved.times, values=scaled, doubts=moved.doubts)

    def _look(self, clip: Clip) -> None:
        """The learned member's live scores of a window's frames that have none, each error the mean of its windows."""
        learned, n = self._detector.learned, len(clip.times)
        length, first = min(learned.windows.length, n), learned.network.first_frame
        new = next(k for k, time in enumerate(clip.times) if time not in self._looked)
        start = max(0, min(new - first, n - length))
        found: dict[float, list[float]] = {}
        for begin in [*range(start, n - length, max(1, length - first)), n - length]:
            errors = learned.errors(cut_out(clip, begin, begin + length))
            for time, value in zip(errors.times.tolist(), errors.values.tolist(), strict=True):
                if time not in self._looked:
                    found.setdefault(time, []).append(value)
        if found:
            means = np.array([np.mean(found[time]) for time in sorted(found)], np.float32)
            live = self._live.follow(FrameScores(times=np.array(sorted(found)), values=means))
            self._looked |= dict(zip(live.times.tolist(), live.values.tolist(), strict=True))


def cut_out(clip: Clip, begin: int, end: int) -> Clip:
    """The frames `begin` to `end` of a clip, `end` left out, as a clip of their own."""
    ref = ClipRef(clip.ref.source, clip.ref.digest, clip.ref.first + begin, clip.ref.times[begin:end])
    return Clip(ref, clip.pixels[begin:end])
