"""A detector that learns classes: a network with its classes, preprocessing and threshold; the network is what differs.

A window's anomaly score is 1 - P(normal), and all its frames get it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec as spec_line
from vidence.errors import SpecError, WeightsError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.detector import FrameScores, Session
from vidence.models.detector_folder import Identified, fill_from_folder, read_facts, write_detector
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating
from vidence.models.framewise import FramewiseNetwork
from vidence.spec import Settings


class ClassifierSettings(Settings, ABC):
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

    @staticmethod
    def load(folder: str | Path) -> ClassifierDetector:
        """Open a saved detector."""
        return ClassifierDetector.load(folder)


class ClassifierDetector(Identified):
    """A built classifier. `settings` are resolved, `normal` are those of its `classes` that are no alarm.

    `threshold` is None or a dict with a finite `value` and where it came from; `facts` are plain values to keep
    (training-data digest, metrics, versions, seed).
    """

    def __init__(
        self,
        settings: Any,
        network: nn.Module,
        *,
        classes: Sequence[str],
        normal: Sequence[str],
        threshold: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
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
        self.threshold = threshold
        self.facts = facts or {}
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

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all."""
        described = {
            "detector": self.spec,
            "backbone": self.settings.origin(self.network),
            "classes": list(self.classes),
            "normal": list(self.normal),
            "preprocessing": self._preprocessing(),
            "threshold": self.threshold,
            "facts": self.facts,
        }
        self._digest = write_detector(folder, self.network, described)

    def _preprocessing(self) -> dict[str, Any]:
        """What the spec line says about the input, spelt out for readers of the JSON."""
        cut = self.windows
        windows = {"length": cut.length, "stride": cut.stride, "rate": cut.rate, "partial": cut.partial}
        return {"size": self.fit.size, "fit": self.fit.mode, "range": [0.0, 1.0], "colour": "RGB", **windows}

    @classmethod
    def load(cls, folder: str | Path) -> ClassifierDetector:
        """Open what `save` wrote. Raises `WeightsError` for anything else."""
        from vidence.models import DETECTORS  # the registry imports this module

        saved = read_facts(folder, known=DETECTORS)
        try:
            detector = _described(saved, spec_line.build(saved["detector"], DETECTORS))
        except (SpecError, TypeError, KeyError, RuntimeError) as error:
            raise WeightsError(
                f"detector.json in {folder} must describe a {spec_line.parse(saved['detector']).key} detector; {error} "
                "Copy the folder again."
            ) from error
        if saved["preprocessing"] != detector._preprocessing():
            raise WeightsError(
                f"'preprocessing' in {folder}/detector.json must say what its spec line says, "
                f"{detector._preprocessing()}; got {saved['preprocessing']}. "
                "Undo that change: the network was trained so."
            )
        fill_from_folder(detector.network, folder, saved)
        detector._digest = saved["weights"]
        return detector


def _described(saved: Mapping[str, Any], settings: Any) -> ClassifierDetector:
    """The detector of a checked `detector.json`, before its weights are filled in."""
    if not isinstance(settings, ClassifierSettings):
        raise SpecError("its line must be of a detector that learns classes.")
    if settings != settings.resolved(weights=True):
        raise SpecError("its line must be of resolved settings, every value spelt out.")
    kept = {name: saved[name] for name in ("classes", "normal", "threshold", "facts")}
    return ClassifierDetector(settings, settings.restored(len(saved["classes"]), saved["backbone"]), **kept)


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
