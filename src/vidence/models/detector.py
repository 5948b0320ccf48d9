"""What a detector is: frames in, one score per frame out; and how a saved one is opened."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Float32, Float64
from numpy import ndarray
from torch import Tensor, nn

from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.detector_folder import read_facts
from vidence.models.device import device_of
from vidence.spec import parse

RECOMMENDED = "recommended_explainer"  # the fact that names it


@dataclass(frozen=True, slots=True, eq=False)
class FrameScores:
    """Anomaly scores of a clip's frames: `times` in seconds, `values` higher = more anomalous.

    `probabilities` (k,) of the whole clip, from a classifier; None from other detectors. `doubts` say in plain words
    what the scores may owe to the footage, not to what happens in it.
    """

    times: Float64[ndarray, " t"]
    values: Float32[ndarray, " t"]
    probabilities: Float32[ndarray, " k"] | None = None
    doubts: tuple[str, ...] = ()


@runtime_checkable
class Session(Protocol):
    """Scores the windows of one source in order; causal, and its state does not grow."""

    def push(self, clip: Clip) -> FrameScores:
        """Score the next window."""
        ...


@runtime_checkable
class Detector(Protocol):
    """A built, usually trained detector. `threshold` says above which score a window is anomalous and where the value
    came from (None before it is chosen); `network` is what explainers look into (None where there is none); `normal`
    are those of its `classes` that are no alarm, both empty where it learns none.
    """

    settings: Any
    threshold: dict[str, Any] | None
    fit: Fit
    facts: dict[str, Any]
    classes: tuple[str, ...]
    normal: tuple[str, ...]

    @property
    def network(self) -> nn.Module | None:
        """The network, or None."""
        ...

    @property
    def spec(self) -> str:
        """The settings as one line, every value spelt out."""
        ...

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file."""
        ...

    @property
    def windows(self) -> Windows:
        """How a source is cut into clips for this detector."""
        ...

    @property
    def smoothing(self) -> str:
        """How live scores are smoothed, in words."""
        ...

    @property
    def scale(self) -> tuple[float, float]:
        """What is 0 and what is 1 on the scale of live scores."""
        ...

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input for a clip."""
        ...

    def arithmetic(self, x: Tensor) -> AbstractContextManager[Any]:
        """The context in which the network is called on x."""
        ...

    def start(self) -> Session:
        """A fresh session for one source."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the folder that `load_detector` opens."""
        ...


def weighed(detector: Detector) -> nn.Module | None:
    """What holds all of a detector's weights, those of members and of a memory too; None where there are none.

    Its `network` is what explainers look into.
    """
    return getattr(detector, "weighed", detector.network)


def load_detector(folder: str | Path, *, device: str = "cpu") -> Detector:
    """Open a detector's folder; its network computes on the `device`: see `device_of`. Without a network of its own,
    as `motion-attributes` and `hybrid`, a detector computes on the CPU.

    Raises `WeightsError` for a file that is missing, damaged or of another detector, `SpecError` for a device that is
    not there.
    """
    from vidence.models import DETECTORS  # the registry imports the detectors, and they this module

    place = device_of(device)
    line = read_facts(folder, known=DETECTORS)["detector"]
    found: Detector = DETECTORS[parse(line).key].load(folder)
    if found.network is not None:
        found.network.to(place)
    return found


def recommended_line(detector: Detector, score: str | None = None) -> str | None:
    """The explainer's line that `vidence recommend` wrote into the detector; None where there is none, where the
    weights are others by now, or for a `score` other than the default one that it was found for.
    """
    held = detector.facts.get(RECOMMENDED)
    if held is None or held["weights"] != detector.weights_digest or score not in (None, held["score"]):
        return None
    return str(held["explainer"])


def load_deployed(folder: str | Path, *, device: str = "cpu") -> Detector:
    """Open a detector's folder, as `load_detector` does, for use alone: see `ReconstructionDetector.deployed`."""
    from vidence.models.reconstruction_detector import ReconstructionDetector  # it imports this module

    found = load_detector(folder, device=device)
    return found.deployed() if isinstance(found, ReconstructionDetector) else found
