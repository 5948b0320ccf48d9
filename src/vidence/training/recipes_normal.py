"""How a detector learns what is normal: the presets behind the setting `recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vidence.models.reconstruction_detector import Recipe
from vidence.training.clips import STRIDES
from vidence.training.schedule import Schedule

FRAMES, CLIPS = 16, 4  # in a batch: few enough to stay in a processor's cache
RELEASED_FRAMES, RELEASED_CLIPS = 256, 32


@dataclass(frozen=True)
class NormalRecipe:
    """`schedule`: its batch is that of networks that see frames alone, `clips` that of the others. `weights` of squared
    error and 1 - SSIM in the compound loss; `noise` is the deviation of what is added to a share `noisy` of the input's
    values; `leaked` the share of the training clips that is drawn at random for validation, 0 to validate on other
    videos. `strides` are those of clips, in frames: each epoch draws one a video, or shows the clips of all of them
    where `all_strides` says so.
    """

    schedule: Schedule
    clips: int = CLIPS
    weights: tuple[float, float] = (0.5, 0.5)
    noise: float = 0.0
    noisy: float = 0.5
    leaked: float = 0.0
    strides: tuple[int, ...] = STRIDES
    all_strides: bool = False

    def strides_for(self, *, alone: bool) -> tuple[int, ...]:
        """Those of a network that sees frames `alone`, or of another one: where all strides are shown, the frames of
        stride 1 come up at the others as well.
        """
        return self.strides[1:] if alone and self.all_strides else self.strides

    def noised(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n c t h w"]:
        """What the network is given in training; values may leave [0, 1]."""
        if not self.noise:
            return x
        return x + self.noise * torch.randn_like(x) * (torch.rand_like(x) < self.noisy)

    @property
    def validation(self) -> str:
        """In words, for the facts."""
        if not self.leaked:
            return "split by video"
        return (
            f"{self.leaked:.0%} of the training clips, drawn at random: their own frames are trained on at other "
            "strides, so it leaks"
        )


_THESIS = Schedule(epochs=300, batch=RELEASED_FRAMES, rate=1e-3, decay=0.0, patience=None, plateau=4, factor=0.75)
NORMAL_RECIPES: Mapping[Recipe, NormalRecipe] = {
    "corrected": NormalRecipe(Schedule(**{**vars(_THESIS), "epochs": 30, "batch": FRAMES})),
    "thesis": NormalRecipe(_THESIS, clips=RELEASED_CLIPS, all_strides=True),
    "released": NormalRecipe(
        Schedule(**{**vars(_THESIS), "epochs": 30, "decay": 1e-5, "plateau_threshold": 5e-5}),
        weights=(1.0, 1.0),
        noise=0.1,
        leaked=0.1,
        clips=RELEASED_CLIPS,
        all_strides=True,
    ),
}
