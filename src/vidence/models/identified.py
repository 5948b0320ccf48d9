"""What every detector has in common: its line, its digest, its scale, and the folder that it is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from vidence.errors import SpecError, WeightsError
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.detector_folder import FACTS_FILE, fill_from_folder, read_facts, state_digest, write_detector
from vidence.spec import Settings, build, line, parse

Values = TypeVar("Values", float, np.ndarray)


class Identified(ABC):
    """A built detector. `threshold` is None or a dict with a finite `value` and where it came from; `facts` are plain
    values to keep (training-data digest, metrics, versions, seed); `normal` are those of its `classes` that are no
    alarm, both empty where it learns none. `fit` and `windows` say what it is shown.
    """

    settings: Any
    threshold: dict[str, Any] | None
    facts: dict[str, Any]
    fit: Fit
    windows: Windows
    classes: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    _digest: str | None = None

    @property
    @abstractmethod
    def weighed(self) -> nn.Module:
        """What its folder holds the weights of."""

    @property
    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """What `weighed` needs, beside the settings, to be made again: plain values."""

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the settings say of the input, spelt out for readers of the JSON."""
        return {"size": self.fit.size, "fit": self.fit.mode, "crop": self.fit.crop, **asdict(self.windows)}

    @property
    def spec(self) -> str:
        """The settings, resolved, as one line."""
        from vidence.models import DETECTORS  # the registry imports the detectors

        return line(self.settings, DETECTORS)

    @property
    def smoothing(self) -> str:
        """How live scores are smoothed, in words."""
        return "none"

    @property
    def scale(self) -> tuple[float, float]:
        """What is 0 and what is 1 on the scale of live scores, from `facts['calibration']`; 0 and 1 without it."""
        held = self.facts.get("calibration") or {"low": 0.0, "high": 1.0}
        low, high = float(held["low"]), float(held["high"])
        return low, high if high > low else low + 1.0  # errors that never differed have no scale

    def scaled(self, values: Values) -> Values:
        """Values on the scale of live scores."""
        low, high = self.scale
        return (values - low) / (high - low)

    def arithmetic(self, x: Tensor) -> AbstractContextManager[Any]:
        """The context in which the network is called on x."""
        return nullcontext()

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file, of the state when first asked or last saved."""
        if self._digest is None:
            self._digest = state_digest(self.weighed)
        return self._digest

    def remember(self, digest: str | None) -> None:
        """Say that the weights are those of a file with this SHA-256; None after they were changed."""
        self._digest = digest

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `detector.json`, each whole or not at all."""
        described = {
            "detector": self.spec,
            "backbone": self.origin,
            "classes": list(self.classes),
            "normal": list(self.normal),
            "preprocessing": self.preprocessing,
            "threshold": self.threshold,
            "facts": self.facts,
        }
        self.remember(write_detector(folder, self.weighed, described))


Built = TypeVar("Built", bound=Identified)


class DetectorSettings(Settings, ABC, Generic[Built]):
    """Settings of a detector: a frozen dataclass that also opens what such a detector wrote."""

    @abstractmethod
    def remade(self, saved: Mapping[str, Any]) -> Built:
        """The detector of a checked `detector.json`, before its weights, threshold and facts are filled in."""

    @classmethod
    def load(cls, folder: str | Path) -> Built:
        """Open what `save` wrote. Raises `WeightsError` for anything else."""
        from vidence.models import DETECTORS  # the registry imports this module

        saved = read_facts(folder, known=DETECTORS)
        key = parse(saved["detector"]).key
        if not issubclass(DETECTORS[key], cls):
            raise WeightsError(f"{cls.__name__} opens its own detectors; {folder} holds a {key}. Use load_detector.")
        try:
            made: Built = build(saved["detector"], DETECTORS).remade(saved)
        except (SpecError, TypeError, KeyError, RuntimeError) as error:
            raise WeightsError(
                f"{FACTS_FILE} in {folder} must describe a {key} detector; {error} Copy the folder again."
            ) from error
        made.threshold, made.facts = saved["threshold"], saved["facts"]
        fill_from_folder(made.weighed, folder, saved)
        made.remember(saved["weights"])
        return made
