"""A model that a user brings, made to speak the package's axes, value range and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from einops import EinopsError, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured

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
        clip = self.spoken(x)
        output = self.model(clip) if self.keyword is None else self.model(**{self.keyword: clip})
        return self._picked(output)

    def spoken(self, x: Float[Tensor, "n c t h w"]) -> Tensor:
        """The clip in the model's own range and axis order."""
        clip = (x - self.mean.to(x)) / self.std.to(x)
        for axis, size in zip(OURS.split(), x.shape, strict=True):
            if axis not in self.layout.replace("(", " ").replace(")", " ").split() and size != 1:
                raise ShapeError(
                    f"the layout {self.layout!r} has no axis {axis}, which must then have length 1; "
                    f"got {tuple(x.shape)}. Name the axis in `layout`."
                )
        return rearrange(clip, f"{self._source()} -> {self.layout}")

    def heard(self, clip: Tensor, n: int) -> Float[Tensor, "n c t h w"]:
        """The inverse of `spoken`, for what the model answers to n clips."""
        try:
            x = rearrange(clip, f"{self.layout} -> {self._source()}", n=n)
        except EinopsError as error:
            raise ShapeError(
                f"the model must answer in the layout {self.layout!r} that it is asked in; got {tuple(clip.shape)} for "
                f"{n} clips. Change `layout` or `pick`."
            ) from error
        return x * self.std.to(x) + self.mean.to(x)

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


class Reconstructs(ReconstructionNetwork):
    """A user's autoencoder or predictor `model` behind our convention: x in [0, 1] -> `Reconstruction`.

    It takes what `Adapted` takes, and answers in the same axis order and value range. `channels=1`: it works on gray.
    `first_frame`: its answer stands for that frame of the clip and those after it. `encoder` names a submodule that
    maps the model's input to a code; its layers are then what explainers look into by default, and its
    codes can be given a centre. Raises `ShapeError` for an answer that does not fit the clip.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        layout: str = OURS,
        keyword: str | None = None,
        pick: str | int | Callable[[Any], Any] | None = None,
        channels: int = 3,
        first_frame: int = 0,
        encoder: str | None = None,
    ) -> None:
        super().__init__()
        self.adapted = Adapted(model, mean=mean, std=std, layout=layout, keyword=keyword, pick=pick)
        self.channels, self.first_frame = channels, first_frame
        self._encoder = encoder
        if encoder is not None and encoder not in dict(model.named_modules()):
            raise SpecError(f"encoder must name a submodule of {type(model).__name__}; it has none called {encoder!r}.")

    @property
    def encoder(self) -> nn.Module | None:
        """The submodule that makes the code, if one was named."""
        return None if self._encoder is None else self.adapted.model.get_submodule(self._encoder)

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The codes: one a frame where the model folds frames into the batch, else one a clip."""
        if self.encoder is None:
            raise SpecError("codes need an encoder; name the model's own with encoder='...'.")
        code = self.encoder(self.adapted.spoken(coloured(x, self.channels)))
        return rearrange(code.flatten(1), "(n s) d -> n s d", n=len(x))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Ask the model, and bring its answer back."""
        seen = coloured(x, self.channels)
        x_hat = self.adapted.heard(self.adapted(seen), len(x))
        expected = seen[:, :, self.first_frame :][:, :, : x_hat.shape[2]].shape
        if x_hat.shape != expected:
            raise ShapeError(
                f"the model must answer with pictures of the clip's size, (n, c, s, h, w) = {tuple(expected)} from "
                f"frame {self.first_frame} on; got {tuple(x_hat.shape)}. Change `channels`, `first_frame` or `pick`."
            )
        return Reconstruction(x_hat, first_frame=self.first_frame)


def _checked(layout: str) -> str:
    axes = layout.replace("(", " ").replace(")", " ").split()
    if len(set(axes)) != len(axes) or not {"n", "h", "w"} <= set(axes) <= set(OURS.split()):
        raise SpecError(f"layout must order the axes n c t h w, each at most once, with n, h and w; got {layout!r}.")
    return layout
