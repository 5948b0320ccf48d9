"""A model that a user brings, made to speak the package's axes, value range and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError

OURS = "n c t h w"


class Adapted(nn.Module):
    """`model` behind our convention: `x` float RGB (n, c, t, h, w) in [0, 1] -> a tensor, by default its logits.

    The model receives (x - mean) / std, so `mean=0, std=1/255` is 0..255; both are numbers or one per channel. `layout`
    is its axis order ('n t c h w', 'n h w c'): an axis left out must have length 1, and '(n t) c h w' folds. `keyword`
    names the argument that takes the clip. `pick` is a key, an index, an attribute, or a function of the output.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        layout: str = OURS,
        keyword: str | None = None,
        pick: str | int | Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.layout = _checked(layout)
        self.keyword = keyword
        self.pick = pick
        for name, value in (("mean", mean), ("std", std)):
            tensor = torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        if not bool((self.std != 0).all()):
            raise SpecError(f"std must not be zero; got {std}.")

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Any:
        """The model's output for x, or the part of it that `pick` names."""
        clip = (x - self.mean.to(x)) / self.std.to(x)
        for axis, size in zip(OURS.split(), x.shape, strict=True):
            if axis not in self.layout.replace("(", " ").replace(")", " ").split() and size != 1:
                raise ShapeError(
                    f"the layout {self.layout!r} has no axis {axis}, which must then have length 1; "
                    f"got {tuple(x.shape)}. Name the axis in `layout`."
                )
        clip = rearrange(clip, f"{self._source()} -> {self.layout}")
        output = self.model(clip) if self.keyword is None else self.model(**{self.keyword: clip})
        return self._picked(output)

    def _source(self) -> str:
        kept = self.layout.replace("(", " ").replace(")", " ").split()
        return " ".join(axis if axis in kept else "1" for axis in OURS.split())

    def _picked(self, output: Any) -> Any:
        if self.pick is None:
            return output
        if callable(self.pick):
            return self.pick(output)
        try:
            if isinstance(self.pick, str) and not isinstance(output, Mapping):
                return getattr(output, self.pick)
            return output[self.pick]
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise ShapeError(
                f"the model's output has no part {self.pick!r}; it is {type(output).__name__}. Change `pick`."
            ) from error


def _checked(layout: str) -> str:
    axes = layout.replace("(", " ").replace(")", " ").split()
    if len(set(axes)) != len(axes) or not {"n", "h", "w"} <= set(axes) <= set(OURS.split()):
        raise SpecError(f"layout must order the axes n c t h w, each at most once, with n, h and w; got {layout!r}.")
    return layout
