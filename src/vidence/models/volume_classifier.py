"""Detectors that learn classes with 3-D convolutions: `r3d-18`, `r2plus1d-18` and `i3d`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from vidence.errors import SpecError
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.inception3d import InceptionI3D
from vidence.models.recipes import check
from vidence.models.resnet3d import WIDTH, Convolution, VideoResNet
from vidence.models.volume import VolumeNetwork
from vidence.models.weights import fill_trunk


@dataclass(frozen=True)
class VolumeSettings(ClassifierSettings, ABC):
    """`length` and `stride` in frames, `rate` in sampled frames per second (0: every frame) cut the windows; `size` is
    the side of the input in pixels, `fit` how a frame gets there. `dropout` lies before the logits; `width` are the
    first channels, which all others follow (64: the published network). `frozen`: in training only the last layer
    learns.
    """

    key: ClassVar[str]

    length: int = 16
    stride: int = 8
    rate: float = 0.0
    size: int = 112
    fit: Literal["stretch", "letterbox"] = "stretch"
    dropout: float = 0.0
    width: int = WIDTH
    frozen: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            check(field.name, getattr(self, field.name))

    def network(self, classes: int, *, weights: str | Path | None = None) -> VolumeNetwork:
        """The network; its trunk has the `weights` (see `load_weights`), or starts at random: none are fetched."""
        made = self.restored(classes, {})
        if weights is not None:
            fill_trunk(made, self.key, weights)
        return made

    @abstractmethod
    def restored(self, classes: int, origin: Mapping[str, Any]) -> VolumeNetwork:
        """The network with random weights."""


@dataclass(frozen=True)
class VideoResNetSettings(VolumeSettings, ABC):
    """A residual network of `blocks` residual blocks a stage (2: the published 18 layers)."""

    convolution: ClassVar[Convolution]

    blocks: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 1:
            raise SpecError(f"blocks must be 1 or more a stage, 2 in the published network; got {self.blocks}.")

    def restored(self, classes: int, origin: Mapping[str, Any]) -> VideoResNet:
        """The network with random weights."""
        return VideoResNet(
            classes, convolution=self.convolution, width=self.width, blocks=self.blocks, dropout=self.dropout
        )


@dataclass(frozen=True)
class R3D18(VideoResNetSettings):
    """Convolutions over space and time in residual blocks (Tran et al., CVPR 2018)."""

    key: ClassVar[str] = "r3d-18"
    convolution: ClassVar[Convolution] = "3d"


@dataclass(frozen=True)
class R2Plus1D18(VideoResNetSettings):
    """R(2+1)D: convolutions over space, then over time (Tran et al., CVPR 2018)."""

    key: ClassVar[str] = "r2plus1d-18"
    convolution: ClassVar[Convolution] = "2+1d"


@dataclass(frozen=True)
class I3D(VolumeSettings):
    """Inception inflated over time, RGB (Carreira and Zisserman, CVPR 2017)."""

    key: ClassVar[str] = "i3d"

    size: int = 224
    dropout: float = 0.5

    def restored(self, classes: int, origin: Mapping[str, Any]) -> InceptionI3D:
        """The network with random weights."""
        return InceptionI3D(classes, width=self.width, dropout=self.dropout)
