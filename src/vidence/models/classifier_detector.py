"""A detector that learns classes: a network with its classes, preprocessing and threshold; the network is what differs.

A window's anomaly score is 1 - P(normal), and all its frames get it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.detector import FrameScores, Session
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating
from vidence.models.framewise import FramewiseNetwork
from vidence.models.identified import DetectorSettings, Identified


class ClassifierSettings(DetectorSettings["ClassifierDetector"], ABC):
    """Settings of a classifier: a frozen dataclass with the fields `length`, `stride` (frames), `rate` (frames per
    second, 0: every frame), `size` (pixels), `fit` ('stretch' or 'letterbox') and `frozen` (what was trained elsewhere
    keeps its weights in training), and a network.
    """

    def resolved(self, weights: bool) -> Self:
        """The settings with every value spelt out; `weights`: whether the caller has weights from elsewhere."""
        return self

    @abstractmethod
    def network(self, classes: int, *, weights: str | Path | None = None) -> nn.Module:
        """The untrained network, x (n, 3, t, h, w) in [0, 1] -> logits (n, classes).

        With published `weights` all but what makes the logits has them.
        """

    @abstractmethod
    def restored(self, classes: int, origin: Mapping[str, Any]) -> nn.Module:
        """The network of a saved detector, before its weights are filled in; `origin` is what `origin()` said."""

    def origin(self, network: nn.Module) -> dict[str, Any]:
        """What the network needs, beside the settings, to be made again: plain values."""
        return {}

    def build(
        self, classes: Sequence[str], *, normal: Sequence[str], weights: str | Path | None = None
    ) -> ClassifierDetector:
        """An untrained detector. Random parts follow torch's global seed."""
        settings = self.resolved(weights is not None)
        network = settings.network(len(classes), weights=weights)
        return ClassifierDetector(settings, network, classes=classes, normal=normal)

    def remade(self, saved: Mapping[str, Any]) -> ClassifierDetector:
        """The detector of a checked `detector.json`, before its weights are filled in."""
        if self != self.resolved(weights=True):
            raise SpecError("its line must be of resolved settings, every value spelt out.")
        network = self.restored(len(saved["classes"]), saved["backbone"])
        made = ClassifierDetector(self, network, classes=saved["classes"], normal=saved["normal"])
        if saved["preprocessing"] != made.preprocessing:
            raise SpecError(
                f"'preprocessing' must say what its spec line says, {made.preprocessing}; got "
                f"{saved['preprocessing']}. Undo that change: the network was trained so."
            )
        return made


class ClassifierDetector(Identified):
    """A built classifier; its `settings` are resolved."""

    def __init__(self, settings: Any, network: nn.Module, *, classes: Sequence[str], normal: Sequence[str]) -> None:
        unknown = [name for name in normal if name not in classes]
        if unknown or not normal or len(set(classes)) != len(classes) or len(classes) < 2:
            raise SpecError(
                f"a classifier needs two or more different classes and at least one normal one among them; "
                f"got classes {', '.join(classes)} and normal {', '.join(normal) or '(none)'}."
            )
        self.settings = settings
        self.network: nn.Module = network.eval()
        self.classes = tuple(classes)
        self.normal = tuple(normal)
        self.threshold: dict[str, Any] | None = None
        self.facts: dict[str, Any] = {}
        self.fit = Fit(size=int(settings.size or 0), mode=settings.fit or "stretch")
        self.windows = Windows(
            length=int(settings.length or 0),
            stride=int(settings.stride or 0),
            rate=settings.rate or None,
            partial="shift",
        )

    @property
    def weighed(self) -> nn.Module:
        """What its folder holds the weights of: the network."""
        return self.network

    @property
    def origin(self) -> dict[str, Any]:
        """What the network needs, beside the settings, to be made again."""
        origin: dict[str, Any] = self.settings.origin(self.network)
        return origin

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the settings say of the input, spelt out for readers of the JSON."""
        own = {"size": self.fit.size, "fit": self.fit.mode, "range": [0.0, 1.0], "colour": "RGB"}
        return {**own, **asdict(self.windows)}

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input, float32 RGB in [0, 1], on the network's device."""
        return self.fit(clip).to(place_of(self.network))

    def probabilities(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n k"]:
        """Class probabilities (n, k), without gradients."""
        with evaluating(self.network):
            return self.network(x).softmax(dim=1)

    def anomaly(self, probabilities: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """1 - P(normal): the probability of all classes that are not normal."""
        return 1 - probabilities[:, [self.classes.index(name) for name in self.normal]].sum(dim=1)

    def scores(self, clip: Clip, probabilities: Float[Tensor, "1 k"]) -> FrameScores:
        """The scores of a window's frames from its class probabilities."""
        score = float(self.anomaly(probabilities)[0])
        return FrameScores(
            times=np.asarray(clip.ref.times, dtype=np.float64),
            values=np.full(len(clip.ref.times), score, dtype=np.float32),
            probabilities=probabilities[0].cpu().numpy(),
        )

    def start(self) -> Session:
        """A fresh session for one source."""
        return FrameByFrame(self) if isinstance(self.network, FramewiseNetwork) else WindowByWindow(self)


class WindowByWindow:
    """Scores the windows of one source, each on its own."""

    def __init__(self, detector: ClassifierDetector) -> None:
        self._detector = detector

    def push(self, clip: Clip) -> FrameScores:
        """Score a window."""
        return self._detector.scores(clip, self._detector.probabilities(self._detector.prepare(clip)))


class FrameByFrame:
    """Scores the windows of one source. Frames that the window before held keep their features, so that an
    overlap costs the head only; nothing older is kept.
    """

    def __init__(self, detector: ClassifierDetector) -> None:
        self._detector = detector
        self._seen: dict[tuple[str, int, float], Tensor] = {}

    def push(self, clip: Clip) -> FrameScores:
        """Score a window. The frames' places and times in their source tell which are new."""
        ref, detector = clip.ref, self._detector
        network: Any = detector.network
        keys = [(ref.digest, ref.first + place, time) for place, time in enumerate(ref.times)]
        new = [place for place, key in enumerate(keys) if key not in self._seen]
        with evaluating(network):
            if new:
                times = tuple(ref.times[place] for place in new)
                part = Clip(replace(ref, times=times), clip.pixels[new])
                features = network.encode(detector.prepare(part))[0]  # (t, f)
                self._seen |= {keys[place]: row for place, row in zip(new, features, strict=True)}
            self._seen = {key: self._seen[key] for key in keys}
            held = torch.stack([self._seen[key] for key in keys])[None]  # (1, t, f)
            return detector.scores(clip, network.decide(held).softmax(dim=1))
