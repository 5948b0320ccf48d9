"""The activation of a layer, frame by frame: what Grad-CAM weights and what an activation picture shows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.attention_calls import AttentionCalls
from vidence.attribution.calls import (
    ConvolutionCalls,
    EveryConvolution,
    FrameCalls,
    GradientOn,
    Leaves,
    frame_order,
)
from vidence.attribution.families import attends
from vidence.attribution.frame_numbers import FrameNumbers
from vidence.attribution.frame_order import FrameOrder, picked
from vidence.attribution.hooks import frozen, module_at, on_device, recorded, replaced
from vidence.attribution.layer_names import LayerName, convolution_named
from vidence.attribution.outputs import full
from vidence.attribution.tokens import TokenLayout
from vidence.errors import ExplainError
from vidence.models.reconstruction import ReconstructionNetwork

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Activation:
    """What one call site returned for one clip: `leaves` start the graph of all that was computed from them.

    `layout` is where tokens lie, of a transformer's layer. `before` is how many of the `t` frames come before those
    that a predictor makes (0: it makes none), and `reads` says whether the layer is one of its encoder.
    """

    leaves: list[Tensor]
    t: int
    layer: str
    layout: TokenLayout | None = None
    before: int = 0
    reads: bool = False

    @cached_property
    def order(self) -> FrameOrder:
        """Which frames the rows of the maps are of; of tokens, their layout says."""
        return frame_order(self.leaves, self.t)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a certificate must say of the frames that the layer saw."""
        return () if self.layout is not None else self.order.flags

    @property
    def spans_time(self) -> bool:
        """Whether the layer is a 3-D convolution's: its maps are of cells in time, which share frames."""
        return self.layout is None and self.leaves[-1].ndim == 5

    @property
    def values(self) -> Float[Tensor, "s k h w"]:
        """The activation, one row a frame (or a group of frames, after a 3-D convolution or in tubelets)."""
        return self._maps([leaf.detach() for leaf in self.leaves])

    def gradient(self, of: Tensor, weight: Tensor | None = None, *, keep: bool = False) -> Float[Tensor, "s k h w"]:
        """The gradient of `of` in the activation, weighted over `of` by `weight`; zero where nothing depends on it."""
        if not of.requires_grad:
            return torch.zeros_like(self.values)
        found = torch.autograd.grad(of, self.leaves, weight, retain_graph=keep, allow_unused=True)
        parts = [
            torch.zeros_like(leaf) if part is None else part for leaf, part in zip(self.leaves, found, strict=True)
        ]
        return self._maps(parts)

    def in_clip(self, maps: Float[Tensor, "v s i j"]) -> Float[Tensor, "v t i j"]:
        """Maps of the layer at the clip's frames, linearly in time; zero at frames that a predictor's layer is not of.

        Where a predictor reads as many frames as it makes, a layer outside its encoder counts as one that reads.
        """
        if self.layout is None and not self.order.even:
            return self.order.placed(maps)
        first, last, s = 0, self.t, maps.shape[1]
        if 0 < self.before < self.t and s != self.t:
            if self.reads or s == self.before:
                last = self.before
            elif s == self.t - self.before:
                first = self.before
        placed = on_grid(maps, (last - first, *maps.shape[2:]))
        return F.pad(placed, (0, 0, 0, 0, first, self.t - last))

    def in_frames(self, maps: Float[Tensor, "s h w"]) -> Float[Tensor, "t h w"]:
        """One map of the layer at the clip's frames."""
        return self.in_clip(maps[None])[0]

    def _maps(self, parts: list[Tensor]) -> Float[Tensor, "s k h w"]:
        return full(picked(parts, self.order) if self.layout is None else self.layout.maps(parts[-1]))


def with_activation(
    model: nn.Module, layer: str | None, t: int, run: Callable[[list[Tensor]], Result]
) -> tuple[Result, Activation]:
    """Call `run(leaves)`, `leaves` filling meanwhile; keep the activation of `layer`.

    None is the last convolution called, in an autoencoder (`encoder` and `embed`) the last layer of its encoder that
    still has places: the decoder's last one is the answer itself. The activation is cut from all that came before it,
    so a gradient to it costs the head alone. One run; two for an autoencoder, and where the last convolution called is
    not the last one the model owns: then the first finds the layer and the second marks it. In a transformer whose
    tokens have places it is the norm before the last attention: later, places reach the score no more.
    """
    encoder = _encoder(model)
    if layer is None and encoder is not None:
        layer = _last_with_places(model, encoder, run)
    if layer is not None:
        return _with_named(model, layer, t, run)
    tokens = _with_tokens(model, t, run) if attends(model) else None
    if tokens is not None:
        return tokens
    calls = ConvolutionCalls(model, Leaves(t))
    with FrameCalls(calls.leaves.numbers), calls:
        result = run(calls.leaves)
    if not calls.right and calls.last is not None:
        calls = ConvolutionCalls(model, Leaves(t), calls.last)
        with FrameCalls(calls.leaves.numbers), calls:
            result = run(calls.leaves)
    if not calls.leaves:
        raise ExplainError(
            "this explainer needs a convolution with more than one place in its output; the model called none. "
            "Name a layer, or take gradient or occlusion."
        )
    return result, _placed(model, Activation(calls.leaves, t, calls.layer))


def with_activations(
    model: nn.Module, layers: int | tuple[str, ...], t: int, run: Callable[[], Result]
) -> tuple[Result, list[Activation]]:
    """Call `run()` once and keep the activations of several layers, the shallowest first; no graph is cut or built.

    A number counts stages from the deepest: the last convolution (with the batch norm, residual sum and activation that
    follow it) before each change of size, in an autoencoder those of its encoder. Names are modules, in their order.
    """
    if isinstance(layers, int):
        encoder = _encoder(model)
        calls, numbers = EveryConvolution(model, stages=True, within=f"{encoder}." if encoder else ""), FrameNumbers(t)
        with FrameCalls(numbers), calls:
            result = run()
        found = [
            _placed(model, Activation(Leaves.of(site.outputs, t, site.layer, numbers), t, site.layer))
            for site in calls.kept[-layers:]
        ]
        if not found:
            raise ExplainError(
                "this explainer needs a convolution with more than one place in its output; the model called none. "
                "Take gradient or occlusion."
            )
        return result, found
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}
    numbers = FrameNumbers(t)

    def keep(name: str, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim not in (4, 5):
            raise _no_maps(name, output)
        kept[name].append(output.detach().clone())  # an in-place operation may follow
        return output

    with FrameCalls(numbers), ExitStack() as stack:
        for name in layers:
            stack.enter_context(replaced(model, name, partial(keep, name)))
        result = run()
    for name, parts in kept.items():
        if not parts:
            raise _not_called(name)
    return result, [
        _placed(model, Activation(Leaves.of(parts, t, name, numbers), t, name)) for name, parts in kept.items()
    ]


def _placed(model: nn.Module, activation: Activation) -> Activation:
    """The activation, knowing which frames a predictor reads."""
    if not isinstance(model, ReconstructionNetwork):
        return activation
    reads = activation.layer.startswith(f"{_encoder(model)}.")
    if not reads:  # a decoder's maps are of what is made: they come from a code, in the order of what it draws
        activation = replace(activation, leaves=list(activation.leaves))
    return replace(activation, before=model.predicts_from or model.first_frame, reads=reads)


def _encoder(model: nn.Module) -> str | None:
    """The path of the encoder of a model known by `encoder` and `embed`: the layers after it draw the answer."""
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module) or not callable(getattr(model, "embed", None)):
        return None
    return next((path for path, module in model.named_modules() if module is encoder), None)


def _no_maps(layer: str, output: Any) -> ExplainError:
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    return ExplainError(f"the layer must return maps (n, k, h, w) or (n, k, t, h, w); {layer!r} returned {shape}.")


def _not_called(layer: str) -> ExplainError:
    return ExplainError(
        f"the layer {layer!r} was not called as a module. Leave the layer out for one that is found by itself."
    )


def _last_with_places(model: nn.Module, encoder: str, run: Callable[[list[Tensor]], object]) -> str | None:
    """The path of the encoder's last child that returned maps, frame by frame or of a 3-D convolution."""
    paths = {module: path for path, module in model.named_modules()}
    children = list(model.get_submodule(encoder).children())
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
    """The layer with this name: a module, or a convolution by what owns its weight; `+` with what follows it at once,
    `#2` the second of several calls a frame.
    """
    name = LayerName.parsed(layer)
    leaves = Leaves(t, layer.partition("#")[0], name.occurrence)
    site = convolution_named(model, layer)
    if site is not None:
        found = ConvolutionCalls(model, leaves, site, follows=name.followed)
        with FrameCalls(leaves.numbers), found:
            result = run(leaves)
        if not leaves:
            raise _not_called(layer)
        return result, _placed(model, Activation(leaves, t, layer))
    module_at(model, name.path)
    calls = AttentionCalls(model, t) if attends(model) else None
    if calls is not None:
        calls.leaves = leaves

    def change(output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim not in ((4, 5) if calls is None else (3, 4, 5)):
            raise _no_maps(layer, output)
        leaves.mark(output)
        return output

    with FrameCalls(leaves.numbers), replaced(model, name.path, change), calls or GradientOn():
        result = run(leaves)
    if not leaves:
        raise _not_called(layer)
    tokens = calls is not None and leaves[-1].ndim == 3
    layout = calls.layout if tokens and calls is not None else None
    return result, _placed(model, Activation(leaves, t, layer, layout))


def _with_tokens(model: nn.Module, t: int, run: Callable[[list[Tensor]], Result]) -> tuple[Result, Activation] | None:
    """The norm before the last self-attention; None where its tokens are frames, which have no places."""
    calls = AttentionCalls(model, t, marks=True)
    with calls:
        result = run(calls.leaves)
    if not calls.seen:
        raise ExplainError(
            "the model's attention was not seen at torch's functions: it runs a kernel of its own. Load the model with "
            "attention 'sdpa' or 'eager', or name a layer."
        )
    if calls.layout.places < 2:
        return None
    if not calls.right and calls.last is not None:
        calls = AttentionCalls(model, t, marks=True, site=calls.last)
        with calls:
            result = run(calls.leaves)
    if not calls.leaves:
        raise ExplainError("no norm comes before the model's last attention. Name a layer that returns its tokens.")
    return result, Activation(calls.leaves, t, str(calls.site), calls.layout)


def in_frames(maps: Float[Tensor, "s h w"], t: int) -> Float[Tensor, "t h w"]:
    """Maps of s groups of frames -> t frames, linearly in time (a Conv3d map cell covers several frames)."""
    return on_grid(maps[None], (t, *maps.shape[1:]))[0]


def on_grid(maps: Float[Tensor, "k s i j"], size: tuple[int, ...]) -> Float[Tensor, "k t h w"]:
    """Maps on another grid (t, h, w), linearly in each direction."""
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps[:, None], size=size, mode="trilinear", align_corners=False)[:, 0]


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
