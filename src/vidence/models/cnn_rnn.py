"""CNN+RNN classifier: a convolutional backbone looks at each frame, a recurrent head at the sequence.

After Poirier's VGG19 -> GRU -> dense network; `recipe='paper'` is that one, with the values the paper leaves open
filled in as methods.md C.1 proposes. The bare line is the best measured settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.backbones import BACKBONES, variant
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.framewise import FramewiseNetwork
from vidence.models.head import DifferenceKind, Head, Norm, Pool, Projector, ReadOutKind, Recurrence
from vidence.models.recipes import check, recipe
from vidence.models.weights import pretrained


@dataclass(frozen=True)
class CnnRnn(ClassifierSettings):
    """Settings of the detector, and its spec line. None means the recipe's value; `resolved` fills it in.

    `features`: 'gap' averages a frame's maps over space, 'spatial' pools them to `grid` x `grid` cells, 'flatten' keeps
    every cell. `units` and `bidirectional` are the recurrent layer's, `rnn='none'` reads the frames out without one.
    `dropout`, `blocks`, `width`, `differences`, `pool`, `norm`, `projection` (0: none), `readout`: see `Head`.
    `length` and `stride` in frames, `rate` in sampled frames per second (0: every frame) cut the windows; `size` is the
    side of the input in pixels, `fit` how a frame gets there. `frozen`: the backbone keeps its weights in training.
    """

    backbone: str | None = None
    rnn: Recurrence | None = None
    units: int | None = None
    dropout: float | None = None
    blocks: int | None = None
    features: Literal["gap", "flatten", "spatial"] | None = None
    bidirectional: bool | None = None
    differences: DifferenceKind | None = None
    length: int | None = None
    stride: int | None = None
    rate: float | None = None
    size: int | None = None
    recipe: Literal["best", "paper", "r50l"] = "best"
    grid: int | None = None
    pool: Pool | None = None
    norm: Norm | None = None
    projection: int | None = None
    projector: Projector | None = None
    stages: int | None = None
    readout: ReadOutKind | None = None
    width: int | None = None
    fit: Literal["stretch", "letterbox"] | None = None
    frozen: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name == "recipe":
                check(field.name, value)

    def resolved(self, weights: bool) -> CnnRnn:
        """Every None replaced; `weights`: whether the caller has weights for a backbone (without them, and without a
        backbone named, the `best` recipe takes `small`). A resolved line means the same in later versions.
        """
        known = recipe(self.recipe, backbone=self.backbone, weights=weights)
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: known[name] for name, value in given.items() if value is None})

    def network(self, classes: int, *, weights: str | Path | None = None) -> CnnRnnNetwork:
        """The untrained network. `weights` are the backbone's (see `load_weights`); without them published ones are
        fetched, and `small` starts at random.
        """
        return CnnRnnNetwork(self, classes, backbone=pretrained(str(self.backbone), weights))

    def restored(self, classes: int, origin: Mapping[str, Any]) -> CnnRnnNetwork:
        """The network without its weights; `origin` is the variant of its backbone."""
        return CnnRnnNetwork(self, classes, backbone=BACKBONES[str(self.backbone)](**origin))

    def origin(self, network: nn.Module) -> dict[str, Any]:
        """The variant of the backbone."""
        return variant(network.backbone)  # type: ignore[arg-type]


class CnnRnnNetwork(FramewiseNetwork):
    """The network in two functions: `encode` sees each frame alone, `decide` mixes frames.

    `settings` must be resolved. Without `backbone` a random one is made.
    """

    def __init__(self, settings: CnnRnn, classes: int, *, backbone: nn.Module | None = None) -> None:
        resolved = settings.resolved(weights=backbone is not None)
        if resolved != settings:
            raise SpecError("a network is built from resolved settings; call settings.resolved(...) first.")
        made = BACKBONES[str(settings.backbone)]() if backbone is None else backbone
        grid = {"gap": 1, "spatial": settings.grid, "flatten": None}[str(settings.features)]
        super().__init__(made, size=settings.size or 0, grid=grid, stages=settings.stages or 0)
        channels = self.channels
        self.head = Head(
            channels * self.grid**2,
            classes,
            cells=self.grid**2,
            differences=settings.differences or "none",
            pool=settings.pool or "none",
            norm=settings.norm or "none",
            projection=settings.projection or 0,
            projector=settings.projector or "learned",
            rnn=settings.rnn or "none",
            units=settings.units or 1,
            bidirectional=bool(settings.bidirectional),
            readout=settings.readout or "last",
            dropout=settings.dropout or 0.0,
            blocks=settings.blocks or 0,
            width=settings.width or 1,
        )

    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the features of all frames."""
        return self.head(features)
