"""Detectors that learn what is normal: a network reconstructs or predicts frames, and its error is the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from vidence.errors import DataError, SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Partial, Windows
from vidence.models.asymmetric import AsymmetricBlock, fuse
from vidence.models.detector import FrameScores, Session
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating
from vidence.models.expectation import Expectation, expectation
from vidence.models.identified import DetectorSettings, Identified
from vidence.models.one_class import OneClass, Svdd, code_width
from vidence.models.reconstruction import (
    PLACELESS,
    SUMMING,
    Reconstruction,
    ReconstructionNetwork,
    added,
    density,
    frame_errors,
    scored_frames,
)

Loss = Literal["mse", "ssim", "compound"]
Recipe = Literal["corrected", "thesis", "released"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings(DetectorSettings["ReconstructionDetector"], ABC):
    """What all these detectors have in common; each adds what its network needs.

    `length` frames a window, a new one every `stride` (None: no frame is scored twice), `rate` in sampled frames per
    second (0: every frame); `size` the side of the input, `channels` 1 (gray) or 3, `crop` (top, left, height, width)
    of the source's pixels; None: what the data set says, else 3 and the whole picture. `score`: which error is the
    score, or several joined by '+', each divided by its spread on normal frames; `smooth`: it is averaged over that
    many frames, none of them later. `loss` and `recipe` are the training's: see docs/detectors.md. `precision` is that
    of scoring. `svdd`: how embeddings are drawn to a centre, `svdd_weight` how much that counts in a `joint` training
    beside the reconstruction: see docs/svdd.md.
    """

    called: ClassVar[str] = "a detector that reconstructs or predicts"

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
    svdd: Svdd = "none"
    svdd_weight: float = 1e-6
    partial: ClassVar[Partial] = "keep"  # of the last window; recurrent networks need whole ones

    def __post_init__(self) -> None:
        """Refuse values that no network can have."""
        for name, least in (("length", 1), ("stride", 1), ("size", 16), ("smooth", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SpecError(f"{name} must be at least {least}; got {value!r}.")
        _one_of("channels", self.channels, (None, 1, 3))
        added(self.score)
        _one_of("loss", self.loss, ("mse", "ssim", "compound"))
        _one_of("recipe", self.recipe, ("corrected", "thesis", "released"))
        _one_of("precision", self.precision, ("float32", "bf16"))
        _one_of("svdd", self.svdd, ("none", "tuned", "joint", "scratch"))
        if not self.svdd_weight > 0:
            raise SpecError(f"svdd_weight must be positive; got {self.svdd_weight!r}.")
        if self.svdd == "scratch" and self.score != "centre-distance":
            raise SpecError(
                f"svdd='scratch' trains no decoder, so the score must be 'centre-distance'; got {self.score!r}."
            )

    @abstractmethod
    def network(self) -> ReconstructionNetwork:
        """The untrained network."""

    def assembled(self) -> ReconstructionNetwork:
        """The untrained network, behind a centre for its embeddings where `svdd` asks for one."""
        network = self.network()
        if self.svdd == "none":
            return network
        width = code_width(network, (self.length, self.size))
        weight = {"joint": self.svdd_weight, "scratch": 1.0}.get(self.svdd, 0.0)
        return OneClass(network, width, weight=weight, reconstructs=self.svdd != "scratch")

    def restored(self, origin: Mapping[str, Any]) -> ReconstructionNetwork:
        """The network of a saved detector, before its weights are filled in; `origin` is what that network's said."""
        return self.assembled()

    def build(self) -> ReconstructionDetector:
        """An untrained detector."""
        return ReconstructionDetector(self, self.assembled())

    def remade(self, saved: Mapping[str, Any]) -> ReconstructionDetector:
        """The detector of a checked `detector.json`, before its weights are filled in."""
        return ReconstructionDetector(self, self.restored(saved["backbone"]))


class ReconstructionDetector(Identified):
    """A built detector. `facts['calibration']` (`low`, `high`: the median and the .99 quantile of normal frames' errors
    on validation footage) puts the live score on a scale where 0 is usual and 1 rare; without it the error is as it is.
    `facts['scales']` are the spreads by which errors that are added are divided; without them they are added as they
    are.
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
        self._fused = False

    @property
    def weighed(self) -> nn.Module:
        """What its folder holds the weights of: the network."""
        return self.network

    @property
    def origin(self) -> dict[str, Any]:
        """What the network needs, beside the settings, to be made again."""
        return self.network.origin()

    def deployed(self) -> ReconstructionDetector:
        """The detector for use: each asymmetric block of its network is one convolution. Itself where there is none.

        Settings, threshold, facts and the digest of the weights stay this one's; scores are the same up to rounding.
        """
        if not any(isinstance(each, AsymmetricBlock) for each in self.network.modules()):
            return self
        network = cast(ReconstructionNetwork, fuse(self.network))
        made = ReconstructionDetector(self.settings, network, threshold=self.threshold, facts=self.facts)
        made.precision, made._digest, made._fused = self.precision, self.weights_digest, True
        return made

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input, float32 RGB in [0, 1], on the network's device."""
        return self.fit(clip).to(place_of(self.network))

    @property
    def score_line(self) -> str:
        """What alarms are made of before smoothing and calibration, as a line of SCORES."""
        weights = self._weights()
        if len(weights) == 1:
            return self.settings.score
        values = "" if set(weights.values()) == {1.0} else f", weights=[{', '.join(map(repr, weights.values()))}]"
        return f"sum(of=[{', '.join(weights)}]{values})"

    @property
    def smoothing(self) -> str:
        """How live scores are smoothed, in words."""
        frames = self.settings.smooth
        return "none" if frames == 1 else f"mean of {frames} frames, causal"

    @property
    def memory(self) -> int:
        """How many windows before it a window's live scores depend on."""
        shared = self.windows.length - self.network.first_frame - 1 + self.settings.smooth - 1
        return shared // self.windows.stride

    def output(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """What the network says of x, in the detector's precision."""
        with evaluating(self.network), self.arithmetic(x):
            return self.network(x)

    def arithmetic(self, x: Tensor) -> torch.autocast:
        """The context in which the network is called on x: autocast to bfloat16 where that is the precision."""
        return torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def errors(self, clip: Clip) -> FrameScores:
        """The raw errors of a window's scored frames: neither smoothed nor calibrated."""
        return self.examined(clip)[0]

    def examined(self, clip: Clip) -> tuple[FrameScores, Callable[[], Float32[np.ndarray, "s h w"] | None]]:
        """`errors` and what gives, when it is called, from the same forward pass, the error per pixel of the scored
        frames on the network's grid (None for a distance between embeddings; of a sum, the parts that are sums over
        pixels). A window without a frame that is predicted has no scored frames, and None.
        """
        if not self._predicts(clip):
            return FrameScores(times=np.empty(0), values=np.empty(0, np.float32)), lambda: None
        x = self.prepare(clip)
        output = self.output(x)
        return self._errors(output, x, clip), partial(self._per_pixel, output, x)

    def expectation(self, clip: Clip) -> Expectation | None:
        """What the network expected instead of a window's frames; None where it reconstructs nothing."""
        if not self.network.reconstructs:
            return None
        x = self.prepare(clip)
        return expectation(self.output(x), x, clip, self.fit)

    def reference(self, clip: Clip) -> tuple[UInt8[np.ndarray, "t h w 3"], str] | None:
        """What a hidden place of a window should show so that it is no anomaly, and what that is in words.

        None where the network reconstructs nothing.
        """
        found = self.expectation(clip)
        return None if found is None else found.reference(clip)

    def measure_scales(self, clips: Iterable[Clip]) -> None:
        """Set `facts['scales']` to the standard deviation of each added error over the frames of normal `clips`.

        Nothing happens where the score is a single error.
        """
        names = added(self.settings.score)
        if len(names) == 1:
            return
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for clip in filter(self._predicts, clips):
            x = self.prepare(clip)
            output = self.output(x)
            for name in names:
                found[name].append(frame_errors(output, x, name)[0].double().cpu())
        spreads = {name: float(torch.cat(values).std(correction=0)) for name, values in found.items() if values}
        flat = [name for name in names if not spreads.get(name, 0.0) > 0]
        if flat:
            raise DataError(
                f"errors that are added are divided by their spread on normal frames; {', '.join(flat)} has none. "
                "Give more normal footage, or score one error alone."
            )
        self.facts["scales"] = spreads

    def _predicts(self, clip: Clip) -> bool:
        """Whether a frame of the window follows those that are only looked at; a repeat of the last of them does not,
        with which windows are padded.
        """
        looked_at = clip.times[: self.network.first_frame]
        return not looked_at or clip.times[-1] > looked_at[-1]

    def _weights(self) -> dict[str, float]:
        """The errors that make the score, with what each is multiplied by."""
        names = added(self.settings.score)
        scales = self.facts.get("scales", {}) if len(names) > 1 else {}
        return {name: 1 / scales.get(name, 1.0) for name in names}

    def _errors(self, output: Reconstruction, x: Tensor, clip: Clip) -> FrameScores:
        weighted = [weight * frame_errors(output, x, name)[0] for name, weight in self._weights().items()]
        times = np.asarray(clip.times[slice(*scored_frames(output))], dtype=np.float64)
        return FrameScores(times=times, values=torch.stack(weighted).sum(dim=0).float().cpu().numpy())

    def _per_pixel(self, output: Reconstruction, x: Tensor) -> Float32[np.ndarray, "s h w"] | None:
        weights = self._weights()
        placed = {name: weight for name, weight in weights.items() if name in SUMMING or len(weights) == 1}
        if not placed or PLACELESS in placed:
            return None
        frames = slice(*scored_frames(output))
        per_pixel = sum(weight * density(output, x, name)[0, frames] for name, weight in placed.items())
        return torch.as_tensor(per_pixel).float().cpu().numpy()

    def start(self) -> Session:
        """A fresh session for one source."""
        return LiveScores(self)

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all.

        Raises `WeightsError` for a deployed detector whose network is fused.
        """
        if self._fused:
            raise WeightsError(
                "what is saved must be the network of the settings; this one's blocks are fused for use. Save the "
                "detector that it was deployed from."
            )
        super().save(folder)


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
        smooth = self._detector.settings.smooth
        times = sorted(self._held)
        means = {time: float(np.mean(self._held[time])) for time in times}
        recent: deque[float] = deque(maxlen=smooth)
        live: dict[float, float] = {}
        for time in times:
            recent.append(means[time])
            live[time] = self._detector.scaled(float(np.mean(recent)))
        keep = self._detector.windows.length + smooth
        self._held = dict(islice(((time, self._held[time]) for time in times), max(0, len(times) - keep), None))
        values = np.array([live[time] for time in found.times.tolist()], dtype=np.float32)
        return FrameScores(times=found.times, values=values)


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise SpecError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}.")
