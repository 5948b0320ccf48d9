"""The SVDD step: a trained encoder is drawn towards the centre of normal embeddings; the decoder stays as it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import DataError, SpecError
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating
from vidence.models.one_class import (
    Centre,
    OneClass,
    boundary,
    centre_of,
    embedding,
    one_class_loss,
    soft_boundary_loss,
    squared_distance,
)
from vidence.models.reconstruction_detector import Recipe, ReconstructionDetector, ReconstructionSettings
from vidence.training.allocator import blocks_kept
from vidence.training.clips import ClipBatches, Footage, as_input

START: Centre = "off-zero"  # of trainings that begin with an untrained encoder
COLLAPSED = 0.05  # share of the embeddings' variance below which hardly anything is told apart


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How an encoder is tuned.

    `scope`: the `last` layer of the encoder or the whole `encoder`. `objective`: the `one-class` form (eq. 3.14 of
    Ravi's thesis) or the `soft-boundary` form, whose sphere leaves out a share `nu` and is measured anew at every batch
    after `warm_up` epochs (0: the release; 10: the published Deep SVDD). `centre`: see `centre_of`, or `kept`. `decay`
    is the lambda of the term on the tuned weights, half of what Adam calls weight decay. `batch` counts frames.
    `norm='drifting'` lets the encoder's batch norm learn new statistics while it is tuned, as the release did.
    """

    scope: Literal["last", "encoder"] = "encoder"
    objective: Literal["one-class", "soft-boundary"] = "one-class"
    nu: float = 0.01
    centre: Centre = "mean"
    rate: float = 5e-7
    epochs: int = 10
    decay: float = 5e-8
    batch: int = 128
    warm_up: int = 0
    norm: Literal["frozen", "drifting"] = "frozen"

    def __post_init__(self) -> None:
        """Refuse what no tuning can have."""
        for name in ("scope", "objective", "centre", "norm"):
            kind = get_args(Centre) if name == "centre" else CHOICES[name]
            if getattr(self, name) not in kind:
                raise SpecError(f"{name} must be one of {', '.join(kind)}; got {getattr(self, name)!r}.")
        if not 0 < self.nu < 1:
            raise SpecError(f"nu, the share that may lie outside, must lie between 0 and 1; got {self.nu!r}.")
        if not (self.rate > 0 and self.decay >= 0 and self.epochs >= 1 and self.batch >= 1 and self.warm_up >= 0):
            raise SpecError(
                "rate, epochs and batch must be positive, decay and warm_up not negative; got "
                f"{self.rate!r}, {self.epochs!r}, {self.batch!r}, {self.decay!r}, {self.warm_up!r}."
            )


CHOICES: dict[str, tuple[str, ...]] = {
    "scope": ("last", "encoder"),
    "objective": ("one-class", "soft-boundary"),
    "norm": ("frozen", "drifting"),
}
TUNINGS: Mapping[Recipe, Tuning] = {  # where none is given
    "corrected": Tuning(),
    "thesis": Tuning(scope="last"),  # its text
    "released": Tuning(objective="soft-boundary", norm="drifting"),  # its code
}


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned network, of the kind that was given; the centre (d,), the squared radius, and the facts of the tuning."""

    network: nn.Module
    centre: Float[Tensor, " d"]
    radius2: Float[Tensor, ""]
    facts: dict[str, Any]


class Tuner:
    """Tunes a copy of any network with `encoder` and `embed(x)`, epoch by epoch, on normal clips.

    `centre` is where a centre that is `kept` lies. Raises `SpecError` for a network without encoder, or whose encoder
    has nothing to tune, `DataError` without clips.
    """

    def __init__(
        self, network: nn.Module, clips: ClipBatches, how: Tuning, *, seed: int = 0, centre: Tensor | None = None
    ) -> None:
        if not clips.places:
            raise DataError("the SVDD step needs normal footage; got no clip of it. Give longer videos.")
        if (how.centre == "kept") != (centre is not None):
            raise SpecError("a centre is given exactly if it is to be kept. Tune with centre='kept', or without one.")
        self.network = copy.deepcopy(network)
        self.how, self.clips, self.epochs = how, replace(clips, frames=how.batch), 0
        self._order = np.random.default_rng(seed)
        self._parameters = tuned_parameters(self.network, how.scope)
        before = codes(self.network, self.clips)
        self.centre = centre_of(before.mean(dim=0), how.centre) if centre is None else centre.to(before)
        self._variance_before = spread(before)
        self._radius2 = self.centre.new_zeros(())
        self._optimiser = torch.optim.Adam(self._parameters, lr=how.rate)

    def epoch(self) -> float:
        """Go once over the clips; returns the mean loss. Raises `SpecError` where it is no longer finite."""
        how, losses = self.how, []
        self.epochs += 1
        order = self._order.permutation(len(self.clips.places))
        with blocks_kept(), _learning(self.network, self._parameters, norm=how.norm):
            for pixels in replace(self.clips, places=[self.clips.places[place] for place in order]):
                x = as_input(pixels).to(self.centre.device)
                distance = squared_distance(embedding(self.network).embed(x), self.centre)
                loss = self._objective(distance) + how.decay * sum(p.square().sum() for p in self._parameters)
                self._optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimiser.step()
                if how.objective == "soft-boundary" and self.epochs > how.warm_up:
                    self._radius2 = boundary(distance, how.nu)
                losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise SpecError(f"the rate must let the loss stay finite; at {how.rate:g} it did not. Lower it.")
        return mean

    def result(self) -> Tuned:
        """What has come of it so far: a copy, so that tuning may go on."""
        after = codes(self.network, self.clips)
        left = spread(after)
        facts = asdict(self.how) | {
            "epochs": self.epochs,
            "variance_before": self._variance_before,
            "variance_after": left,
            "warnings": collapse(self._variance_before, left),
        }
        radius2 = boundary(squared_distance(after, self.centre), self.how.nu)
        return Tuned(copy.deepcopy(self.network), self.centre.clone(), radius2, facts)

    def _objective(self, distance: Tensor) -> Tensor:
        if self.how.objective == "one-class":
            return one_class_loss(distance)
        return soft_boundary_loss(distance, self._radius2, self.how.nu)


def tune_network(
    network: nn.Module,
    footage: Footage,
    how: Tuning | None = None,
    *,
    length: int = 1,
    seed: int = 0,
    centre: Tensor | None = None,
) -> Tuned:
    """Tune a copy of any autoencoder that has `encoder` (a module) and `embed(x) -> (n, s, d)`: see `Tuner`.

    The footage is cut into clips of `length` frames.
    """
    clips = ClipBatches(footage, 1, places=footage.plain(length))
    tuner = Tuner(network, clips, how or Tuning(), seed=seed, centre=centre)
    for _ in range(tuner.how.epochs):
        tuner.epoch()
    return tuner.result()


def tuned(
    detector: ReconstructionDetector,
    clips: ClipBatches,
    how: Tuning,
    *,
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> ReconstructionDetector:
    """A new detector, tuned on normal clips; neither calibrated nor with a threshold yet.

    The one that is given stays as it is. `step` is called after each epoch.
    """
    tuner = tuner_of(detector, clips, how, seed=seed)
    for _ in range(how.epochs):
        tuner.epoch()
        step()
    return carrying(detector, tuner.result())


def tuner_of(detector: ReconstructionDetector, clips: ClipBatches, how: Tuning, *, seed: int = 0) -> Tuner:
    """What tunes a copy of a detector's network. A centre that is to be kept must be there (`SpecError`)."""
    _settings(detector)  # refuses what has no use for a centre before any work
    network, centre = detector.network, None
    if how.centre == "kept":
        if not isinstance(network, OneClass):
            raise SpecError("a centre can be kept where there is one; this detector has none. Tune with centre='mean'.")
        centre = network.centre
    inner = network.network if isinstance(network, OneClass) else network
    return Tuner(inner, clips, how, seed=seed, centre=centre)


def carrying(detector: ReconstructionDetector, found: Tuned) -> ReconstructionDetector:
    """A new detector with a tuned network. What was fitted on the old one's scores is left out: it would be wrong."""
    settings = _settings(detector)
    with torch.random.fork_rng():
        network = settings.assembled().to(found.centre.device)
    state = {f"network.{name}": value for name, value in found.network.state_dict().items()}
    network.load_state_dict(state | {"centre": found.centre, "radius2": found.radius2})
    stale = ("calibration", "scales", "metrics")
    facts = {name: fact for name, fact in copy.deepcopy(detector.facts).items() if name not in stale}
    return ReconstructionDetector(settings, network, facts=facts | {"svdd": found.facts})


def _settings(detector: ReconstructionDetector) -> ReconstructionSettings:
    settings = detector.settings
    return replace(settings, svdd="tuned") if settings.svdd == "none" else settings


def begun(detector: ReconstructionDetector, clips: ClipBatches) -> float:
    """Place the centre before a `joint` training or one from `scratch`: the mean code that the untrained network gives,
    off zero. Returns the codes' variance, 0 where there is nothing to place.

    Batch norm takes each batch's statistics, as it is about to: untrained, its running ones say nothing of the codes.
    """
    network = detector.network
    if not isinstance(network, OneClass) or detector.settings.svdd == "tuned":
        return 0.0
    held = codes(copy.deepcopy(network), clips, training=True)
    network.centre.copy_(centre_of(held.mean(dim=0), START))
    return spread(held)


def ended(
    detector: ReconstructionDetector, clips: ClipBatches, variance: float, *, seed: int
) -> ReconstructionDetector:
    """What the setting `svdd` asks for after the training; `variance` is what `begun` returned.

    `tuned`: a new detector, tuned as its recipe says. `joint` and `scratch`: the same, its radius measured.
    """
    network, how = detector.network, TUNINGS[detector.settings.recipe]
    if not isinstance(network, OneClass):
        return detector
    if detector.settings.svdd == "tuned":
        return tuned(detector, clips, how, seed=seed)
    held = codes(network, clips)
    network.radius2.copy_(boundary(squared_distance(held, network.centre), how.nu))
    left = spread(held)
    detector.facts["svdd"] = {
        "scope": "encoder",
        "objective": "one-class",
        "centre": START,
        "variance_before": variance,
        "variance_after": left,
        "warnings": collapse(variance, left),
    }
    return detector


def codes(network: nn.Module, clips: ClipBatches, *, training: bool = False) -> Float[Tensor, "m d"]:
    """The codes of all frames, in the order of the clips; in eval mode, unless they are to be those of a training."""
    device = place_of(network)
    with evaluating(network):
        network.train(training)
        found = [embedding(network).embed(as_input(pixels).to(device)).flatten(0, 1) for pixels in clips]
    return torch.cat(found).float()


def tuned_parameters(network: nn.Module, scope: str) -> list[nn.Parameter]:
    """The parameters of the encoder, or of its last child that has any. Raises `SpecError` if there are none."""
    encoder = embedding(network).encoder
    held = list(encoder.parameters())
    if scope == "last":
        layers = [list(child.parameters()) for child in encoder.children()]
        held = next((layer for layer in reversed(layers) if layer), held)
    if not held:
        raise SpecError(f"the SVDD step needs an encoder with parameters; {type(network).__name__} has none in it.")
    return held


def spread(codes: Float[Tensor, "m d"]) -> float:
    """The variance of codes, summed over their coordinates: their mean squared distance to their own mean."""
    return float((codes - codes.mean(dim=0)).square().sum(dim=1).mean())


def collapse(before: float, after: float) -> list[str]:
    """A warning where next to nothing is left of the embeddings' variance."""
    if after >= COLLAPSED * before:
        return []
    share = after / before if before else 0.0
    return [
        f"the embeddings have collapsed: {share:.1%} of their variance is left, so normal and abnormal frames may look "
        "alike. Lower the rate or the epochs, or tune the last layer only."
    ]


@contextmanager
def _learning(network: nn.Module, parameters: Sequence[nn.Parameter], *, norm: str) -> Iterator[None]:
    """Only `parameters` ask for gradients, and only a drifting encoder is in training mode; all is restored."""
    modes = {module: module.training for module in network.modules()}
    asking = {parameter: parameter.requires_grad for parameter in network.parameters()}
    network.requires_grad_(False).eval()
    for parameter in parameters:
        parameter.requires_grad_(True)
    embedding(network).encoder.train(norm == "drifting")
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, flag in asking.items():
            parameter.requires_grad_(flag)
            parameter.grad = None
