"""The activation of a layer, frame by frame: what Grad-CAM weights and what an activation picture shows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import ConvolutionCalls, GradientOn, mark, per_frame
from vidence.attribution.hooks import frozen, on_device, recorded, replaced
from vidence.errors import ExplainError

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Activation:
    """What one call site returned for one clip: `leaves` start the graph of all that was computed from them."""

    leaves: list[Tensor]
    t: int
    layer: str

    @property
    def values(self) -> Float[Tensor, "s k h w"]:
        """The activation, one row a frame (or a group of frames, after a 3-D convolution)."""
        return per_frame([leaf.detach() for leaf in self.leaves], self.t)

    def gradient(self, of: Tensor, weight: Tensor | None = None, *, keep: bool = False) -> Float[Tensor, "s k h w"]:
        """The gradient of `of` in the activation, weighted over `of` by `weight`; zero where nothing depends on it."""
        if not of.requires_grad:
            return torch.zeros_like(self.values)
        found = torch.autograd.grad(of, self.leaves, weight, retain_graph=keep, allow_unused=True)
        parts = [
            torch.zeros_like(leaf) if part is None else part for leaf, part in zip(self.leaves, found, strict=True)
        ]
        return per_frame(parts, self.t)


def with_activation(
    model: nn.Module, layer: str | None, t: int, run: Callable[[list[Tensor]], Result]
) -> tuple[Result, Activation]:
    """Call `run(leaves)`, `leaves` filling meanwhile; keep the activation of `layer`.

    None is the last convolution called, in an autoencoder (`encoder` and `embed`) the last layer of its encoder that
    still has places: the decoder's last one is the answer itself. The activation is cut from all that came before it,
    so a gradient to it costs the head alone. One run; two for an autoencoder, and where the last convolution called is
    not the last one the model owns: then the first finds the layer and the second marks it.
    """
    encoder = getattr(model, "encoder", None)
    if layer is None and isinstance(encoder, nn.Module) and callable(getattr(model, "embed", None)):
        layer = _last_with_places(model, encoder, run)
    if layer is not None:
        return _with_named(model, layer, t, run)
    calls = ConvolutionCalls(model)
    with calls:
        result = run(calls.leaves)
    if not calls.right and calls.last is not None:
        calls = ConvolutionCalls(model, calls.last)
        with calls:
            result = run(calls.leaves)
    if not calls.leaves:
        raise ExplainError(
            "this explainer needs a convolution with more than one place in its output; the model called none. "
            "Name a layer, or take gradient or occlusion."
        )
    return result, Activation(calls.leaves, t, calls.layer)


def _last_with_places(model: nn.Module, encoder: nn.Module, run: Callable[[list[Tensor]], object]) -> str | None:
    """The path of the encoder's last child that returned maps, frame by frame or of a 3-D convolution."""
    paths = {module: path for path, module in model.named_modules()}
    children = list(encoder.children())
    with ExitStack() as stack:
        outputs = [stack.enter_context(recorded(model, paths[child])) for child in children]
        run([])
    for child, found in zip(reversed(children), reversed(outputs), strict=True):
        if found and _maps(child, found[-1]):
            return paths[child]
    return None


def _maps(module: nn.Module, output: Any) -> bool:
    """Whether a module returned maps with more than one place: (m, k, h, w), or (n, k, t, h, w) of a Conv3d."""
    if not isinstance(output, Tensor) or output.shape[-2:].numel() < 2:
        return False
    return output.ndim == 4 or (output.ndim == 5 and any(isinstance(part, nn.Conv3d) for part in module.modules()))


def _with_named(
    model: nn.Module, layer: str, t: int, run: Callable[[list[Tensor]], Result]
) -> tuple[Result, Activation]:
    leaves: list[Tensor] = []

    def change(output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim not in (4, 5):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ExplainError(
                f"the layer must return maps (n, k, h, w) or (n, k, t, h, w); {layer!r} returned {shape}."
            )
        leaves.append(mark(output))
        return output

    with replaced(model, layer, change), GradientOn():
        result = run(leaves)
    if not leaves:
        raise ExplainError(
            f"the layer {layer!r} was not called as a module. Leave `layer` out for the last convolution."
        )
    return result, Activation(leaves, t, layer)


def in_frames(maps: Float[Tensor, "s h w"], t: int) -> Float[Tensor, "t h w"]:
    """Maps of s groups of frames -> t frames, linearly in time (a Conv3d map cell covers several frames)."""
    if len(maps) == t:
        return maps
    size = (t, *maps.shape[1:])
    return F.interpolate(maps[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]


def activation_maps(
    model: nn.Module, x: Float[Tensor, "1 c t h w"], *, layer: str | None = None, count: int | None = None
) -> Float[Tensor, "s k h w"]:
    """The layer's channels as maps, frame by frame: all of them, or the `count` of highest mean, strongest first."""
    with frozen(model), torch.inference_mode(False):
        _, activation = with_activation(
            model, layer, x.shape[2], lambda leaves: model(on_device(model, x[:1].detach()))
        )
    values = activation.values
    if count is None:
        return values
    return values[:, values.mean(dim=(0, 2, 3)).argsort(descending=True)[:count]]
