"""Detectors that learn what is normal: a network reconstructs or predicts frames, and its error is the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from vidence import spec as spec_line
from vidence.errors import SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Partial, Windows
from vidence.models.detector import FrameScores, Session
from vidence.models.detector_folder import fill_from_folder, read_facts, state_digest, write_detector
from vidence.models.evaluating import evaluating
from vidence.models.reconstruction import (
    ERRORS,
    Reconstruction,
    ReconstructionNetwork,
    density,
    frame_errors,
    scored_frames,
)

Loss = Literal["mse", "ssim", "compound"]
Recipe = Literal["corrected", "thesis", "released"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings(ABC):
    """What all these detectors have in common; each adds what its network needs.

    `length` frames a window, a new one every `stride` (None: no frame is scored twice), `rate` in sampled frames per
    second (0: every frame); `size` the side of the input, `channels` 1 (gray) or 3, `crop` (top, left, height, width)
    of the source's pixels; None: what the data set says, else 3 and the whole picture. `score`: which error is the
    score; `smooth`: it is averaged over that many frames, none of them later. `loss` and `recipe` are the training's:
    see docs/detectors.md. `precision` is that of scoring.
    """

    length: int = 8
    stride: int | None = None
    rate: float = 0.0
    size: int = 128
    channels: int | None = None
    crop: tuple[int, ...] | None = None
    score: str = "squared-error"
    smooth: int = 5
    loss: Loss = "mse"
    recipe: Recipe = "corrected"
    precision: Literal["float32", "bf16"] = "float32"
    partial: ClassVar[Partial] = "keep"  # of the last window; recurrent networks need whole ones

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        for name, least in (("length", 1), ("size", 16), ("smooth", 1)):
            _at_least(name, getattr(self, name), least)
        if self.stride is not None:
            _at_least("stride", self.stride, 1)
        _one_of("channels", self.channels, (None, 1, 3))
        _one_of("score", self.score, ERRORS)
        _one_of("loss", self.loss, ("mse", "ssim", "compound"))
        _one_of("recipe", self.recipe, ("corrected", "thesis", "released"))
        _one_of("precision", self.precision, ("float32", "bf16"))

    @abstractmethod
    def network(self) -> ReconstructionNetwork:
        """The untrained network."""

    def build(self) -> ReconstructionDetector:
        """An untrained detector."""
        return ReconstructionDetector(self, self.network())

    @classmethod
    def load(cls, folder: str | Path) -> ReconstructionDetector:
        """Open what `save` wrote. Raises `WeightsError` for anything else."""
        from vidence.models import DETECTORS  # the registry imports this module

        saved = read_facts(folder, known=DETECTORS)
        try:
            settings: Self = spec_line.build(saved["detector"], DETECTORS)
            detector = ReconstructionDetector(
                settings, settings.network(), threshold=saved["threshold"], facts=saved["facts"]
            )
        except (SpecError, TypeError, RuntimeError) as error:
            raise WeightsError(f"detector.json in {folder} must describe a detector; {error} Copy it again.") from error
        fill_from_folder(detector.network, folder, saved)
        detector.remember(saved["weights"])
        return detector


class ReconstructionDetector:
    """A built detector. `facts['calibration']` (`low`, `high`: the median and the .99 quantile of normal frames' errors
    on validation footage) puts the live score on a scale where 0 is usual and 1 rare; without it the error is as it is.
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        network: ReconstructionNetwork,
        *,
        threshold: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        self.network: ReconstructionNetwork = network.eval()
        self.threshold = threshold
        self.facts = facts or {}
        self.precision = settings.precision
        crop = None if settings.crop is None else tuple(settings.crop)
        self.fit = Fit(size=settings.size, crop=crop)  # type: ignore[arg-type]  # Fit checks that there are four
        self.windows = Windows(
            length=settings.length,
            stride=settings.stride or settings.length - network.first_frame,
            rate=settings.rate or None,
            partial=settings.partial,
        )
        self._digest: str | None = None

    @property
    def spec(self) -> str:
        """The settings as one line."""
        from vidence.models import DETECTORS

        return spec_line.line(self.settings, DETECTORS)

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file, of the state when first asked or last saved."""
        if self._digest is None:
            self._digest = state_digest(self.network)
        return self._digest

    def remember(self, digest: str | None) -> None:
        """Say that the weights are those of a file with this SHA-256; None after they were changed."""
        self._digest = digest

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input, float32 RGB in [0, 1], on the network's device."""
        held = next(chain(self.network.parameters(), self.network.buffers()), None)
        return self.fit(clip).to("cpu" if held is None else held.device)

    def errors(self, clip: Clip) -> FrameScores:
        """The raw errors of a window's scored frames: neither smoothed nor calibrated."""
        x = self.prepare(clip)
        with self._scoring(x):
            return self._errors(self.network(x), x, clip)

    def examined(self, clip: Clip) -> tuple[FrameScores, Float32[np.ndarray, "s h w"] | None]:
        """`errors` and, from the same forward pass, the error per pixel of the scored frames on the network's grid
        (None for a score that is a distance between embeddings).
        """
        x = self.prepare(clip)
        with self._scoring(x):
            output = self.network(x)
            found = self._errors(output, x, clip)
            if self.settings.score == "centre-distance":
                return found, None
            per_pixel = density(output, x, self.settings.score)[0, slice(*scored_frames(output))]
            return found, per_pixel.float().cpu().numpy()

    @contextmanager
    def _scoring(self, x: Tensor) -> Iterator[None]:
        with evaluating(self.network), torch.autocast(x.device.type, torch.bfloat16, self.precision == "bf16"):
            yield

    def _errors(self, output: Reconstruction, x: Tensor, clip: Clip) -> FrameScores:
        values = frame_errors(output, x, self.settings.score)[0].float()
        times = np.asarray(clip.times[slice(*scored_frames(output))], dtype=np.float64)
        return FrameScores(times=times, values=values.cpu().numpy())

    def start(self) -> Session:
        """A fresh session for one source."""
        return LiveScores(self)

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all."""
        cut = self.windows
        described: dict[str, Any] = {
            "detector": self.spec,
            "backbone": {},
            "classes": [],
            "normal": [],
            "preprocessing": {"size": self.fit.size, "fit": self.fit.mode, "crop": self.fit.crop}
            | {field.name: getattr(cut, field.name) for field in fields(cut)},
            "threshold": self.threshold,
            "facts": self.facts,
        }
        self._digest = write_detector(folder, self.network, described)


class LiveScores:
    """Causal scores of one source: a frame's error (the mean over the windows so far that hold it), averaged over the
    frames just before it, calibrated. Nothing older than a window and the smoothing is kept.
    """

    def __init__(self, detector: ReconstructionDetector) -> None:
        self._detector = detector
        self._held: dict[float, list[float]] = {}

    def push(self, clip: Clip) -> FrameScores:
        """Score the next window."""
        return self.follow(self._detector.errors(clip))

    def follow(self, found: FrameScores) -> FrameScores:
        """The live scores of the next window, whose raw errors are known already."""
        for time, value in dict(zip(found.times.tolist(), found.values.tolist(), strict=True)).items():
            self._held.setdefault(time, []).append(value)
        smooth, low, high = self._detector.settings.smooth, *_scale(self._detector.facts)
        times = sorted(self._held)
        means = {time: float(np.mean(self._held[time])) for time in times}
        recent: deque[float] = deque(maxlen=smooth)
        live: dict[float, float] = {}
        for time in times:
            recent.append(means[time])
            live[time] = (float(np.mean(recent)) - low) / (high - low)
        keep = self._detector.windows.length + smooth
        self._held = dict(islice(((time, self._held[time]) for time in times), max(0, len(times) - keep), None))
        values = np.array([live[time] for time in found.times.tolist()], dtype=np.float32)
        return FrameScores(times=found.times, values=values)


def _scale(facts: dict[str, Any]) -> tuple[float, float]:
    found = facts.get("calibration") or {"low": 0.0, "high": 1.0}
    return found["low"], found["high"]


def _at_least(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(f"{name} must be a whole number, at least {least}; got {value!r}.")


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise SpecError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}.")
