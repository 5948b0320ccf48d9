"""A classifier whose recurrent layer keeps maps: a ConvLSTM over each frame's maps (Shi et al., NeurIPS 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.backbones import BACKBONES, variant
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.conv_recurrent import ConvLSTM, Geometry, unrolled
from vidence.models.framewise import FramewiseNetwork
from vidence.models.recipes import check
from vidence.models.weights import pretrained

LEAST_GRID = 3  # the cell's convolution is not padded


@dataclass(frozen=True)
class ConvLSTMClassify(ClassifierSettings):
    """Settings of the detector, and its spec line.

    A `backbone` looks at each frame (its first `stages`; 0: all), whose maps are pooled to `grid` x `grid` cells; a
    ConvLSTM of `units` maps reads them in order, and its last state, averaged over space, is classified behind
    `dropout`. `length` and `stride` in frames, `rate` in sampled frames per second (0: every frame) cut the windows;
    `size` is the side of the input in pixels, `fit` how a frame gets there. `frozen`: the backbone keeps its weights
    in training.
    """

    backbone: str = "small"
    units: int = 64
    grid: int = 7
    dropout: float = 0.3
    length: int = 16
    stride: int = 8
    rate: float = 0.0
    size: int = 112
    fit: Literal["stretch", "letterbox"] = "stretch"
    stages: int = 0
    frozen: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            check(field.name, getattr(self, field.name))
        if self.grid < LEAST_GRID:
            raise SpecError(f"grid must be {LEAST_GRID} or more cells a side: a convolution takes 2; got {self.grid}.")

    def network(self, classes: int, *, weights: str | Path | None = None) -> ConvLSTMClassifier:
        """The untrained network. `weights` are the backbone's (see `load_weights`); without them published ones are
        fetched, and `small` starts at random.
        """
        return ConvLSTMClassifier(self, classes, backbone=pretrained(self.backbone, weights))

    def restored(self, classes: int, origin: Mapping[str, Any]) -> ConvLSTMClassifier:
        """The network without its weights; `origin` is the variant of its backbone."""
        return ConvLSTMClassifier(self, classes, backbone=BACKBONES[self.backbone](**origin))

    def origin(self, network: nn.Module) -> dict[str, Any]:
        """The variant of the backbone."""
        return variant(network.backbone)  # type: ignore[arg-type]


class ConvLSTMClassifier(FramewiseNetwork):
    """The network in two functions; the features of a frame are its pooled maps, cell after cell."""

    def __init__(self, settings: ConvLSTMClassify, classes: int, *, backbone: nn.Module) -> None:
        super().__init__(backbone, size=settings.size, grid=settings.grid, stages=settings.stages)
        self.cell = ConvLSTM(Geometry(self.channels, settings.units), bias=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.units, classes)

    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the last state, (n, t, c * grid * grid) -> (n, k)."""
        frames = rearrange(features, "n t (c i j) -> (t n) c i j", i=self.grid, j=self.grid)
        _, (hidden, _) = unrolled(self.cell, frames, len(features))  # (n, units, grid - 2, grid - 2)
        return self.output(self.dropout(hidden.mean((2, 3))))
