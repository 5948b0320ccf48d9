"""Call sites: what a model computes, seen at the functions it calls, whatever way it is written.

A layer is a call site (function and weight), not a module: seen through `TorchFunctionMode`, a Python loop over
frames, a folded batch, a functional model and a re-used activation module all look the same. Modes hold state of
their own only; nothing is registered on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from vidence.attribution.families import cells
from vidence.errors import ExplainError

CONVOLUTIONS = {torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d, torch.convolution}
# what belongs to a convolution when it directly follows: its batch norm and its activation
FOLLOWERS = {
    torch.batch_norm, F.batch_norm, torch.relu, torch.relu_, F.relu, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh,
    F.leaky_relu, F.elu, F.gelu, F.silu, F.hardswish, F.mish, F.prelu, F.selu, F.softplus, torch.sigmoid,
    torch.tanh, Tensor.sigmoid, Tensor.tanh, Tensor.clamp_min, torch.clamp_min, torch.clamp, Tensor.clamp,
}  # fmt: skip
# junctions of branches: the sum of a residual block, the concatenation of an inception block
JOINS = {
    torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__, torch.cat, torch.concat,
}  # fmt: skip
KINDS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RECURRENT = {torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu}


def mark(activation: Tensor) -> Tensor:
    """Make `activation` start its own graph, and return the leaf that it now depends on.

    It stays the same object, so that an in-place operation or a second use sees it too; what came before is cut off.
    """
    leaf = activation.detach().clone().requires_grad_()
    with torch.enable_grad():
        activation.copy_(leaf)
    return leaf


class GradientOn(TorchFunctionMode):
    """Builds the graph below marked tensors even where the user's code says `no_grad`, as around a frozen backbone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return func(*args, **(kwargs or {}))
        with torch.enable_grad():
            return func(*args, **(kwargs or {}))


def _continues(func: Callable[..., Any], args: tuple[Any, ...], last: Tensor, out: Any) -> bool:
    """Whether a call goes on with the maps `last`: batch norm, activation, residual sum, branches put side by side."""
    if func in FOLLOWERS:
        return bool(args) and args[0] is last
    if func not in JOINS or not isinstance(out, Tensor):
        return False
    parts = args[0] if func is torch.cat or func is torch.concat else args[:2]
    same = out.shape[:1] + out.shape[2:] == last.shape[:1] + last.shape[2:]  # frames put end to end are no branches
    return same and any(part is last for part in parts)


def _module_of(parameter: str) -> str:
    """The path of the module that owns a parameter; of the model's own parameter, its name."""
    return parameter.rpartition(".")[0] or parameter


def _beginnings(model: nn.Module) -> tuple[str, ...]:
    """How the names of parameters inside recurrent cells begin."""
    return tuple(f"{path}." for path in cells(model))


def _owns_more(model: nn.Module, within: str) -> bool:
    """Whether a model owns convolutions outside recurrent cells."""
    inside = _beginnings(model)
    return any(
        path.startswith(within) and not path.startswith(inside)
        for path, module in model.named_modules()
        if isinstance(module, KINDS)
    )


class ConvolutionCalls(GradientOn):
    """Marks the calls of one convolution, with the batch norm, activation and junction that follow at once.

    The last convolution is known only at the end: the mode starts from a guess, the last one the model owns, and
    `right` says whether another was called later; then the call is repeated with `site` set to `last`. Convolutions
    inside a recurrent cell compute gates, no maps of what is seen: they count only where no other was called.
    """

    def __init__(self, model: nn.Module, site: Hashable | None = None) -> None:
        super().__init__()
        self.names: dict[int, str] = {id(tensor): name for name, tensor in model.named_parameters()}
        self.cells = _beginnings(model)
        self.site = site if site is not None else self._guess(model)
        self._lasts: dict[bool, Hashable] = {}  # whether in a cell -> the last convolution called
        self.leaves: list[Tensor] = []
        self._open: Tensor | None = None

    def _guess(self, model: nn.Module) -> Hashable | None:
        owned = [self.names.get(id(module.weight)) for module in model.modules() if isinstance(module, KINDS)]
        return next((name for name in reversed(owned) if name and not name.startswith(self.cells)), None)

    @property
    def last(self) -> Hashable | None:
        """The last convolution called outside cells, or inside where there is no other."""
        return self._lasts.get(False, self._lasts.get(True))

    @property
    def right(self) -> bool:
        """Whether the convolution that was marked is the last one called."""
        return self.last == self.site

    @property
    def layer(self) -> str:
        """The module path of the marked convolution, or its function and weight shape where it has none."""
        return _module_of(self.site) if isinstance(self.site, str) else "functional convolution"

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_function__(func, types, args, kwargs)
        if func in CONVOLUTIONS:
            self._see(func, args, kwargs or {}, out)
        elif self._open is not None and _continues(func, args, self._open, out):
            self.leaves[-1] = mark(out)
            self._open = out
        return out

    def _see(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> None:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        self._open = None
        if out.shape[-1] * out.shape[-2] == 1:  # a dense layer written as a convolution has no place to show
            return
        key: Hashable = self.names.get(id(weight)) or (func.__name__, tuple(weight.shape))
        self._lasts[isinstance(key, str) and key.startswith(self.cells)] = key
        if key == self.site:
            self.leaves.append(mark(out))
            self._open = out


@dataclass(eq=False)
class ConvolutionSite:
    """One convolution and its calls for one clip; `layer` its module path, or its function and weight shape."""

    layer: str
    kernel: Tensor
    groups: int
    transposed: bool
    source: Hashable | None  # the convolution that its input came from
    size: tuple[int, ...]  # of its output: rows and columns, frames too of a 3-D one
    inputs: list[Tensor] = field(default_factory=list)  # (m, k): means over places of what it was given
    outputs: list[Tensor] = field(default_factory=list)  # with the batch norm, addition, activation that follow it


class EveryConvolution(TorchFunctionMode):
    """Sees every convolution that is called, in the order of their first calls, and where its input came from.

    `stages`: outputs are kept only of the last convolution before each change of size, which bounds memory; one inside
    a recurrent cell is none where the model owns others, nor is a 2-D one that sees a step at a time behind one that
    sees all frames (of a cell by another name). `within`: only of those whose weight's name begins so. An input is
    traced through the first tensor of every other function, so that a residual sum counts as its main branch.
    """

    def __init__(self, model: nn.Module, *, stages: bool = False, within: str = "") -> None:
        super().__init__()
        self.names: dict[int, str] = {id(tensor): name for name, tensor in model.named_parameters()}
        self.sites: dict[Hashable, ConvolutionSite] = {}
        self.stages, self.within = stages, within
        self._skipped = _beginnings(model) if stages and _owns_more(model, within) else ()
        self._dropped: set[Hashable] = set()
        self._rows = 0  # of the first call
        self._open: tuple[Hashable, Tensor] | None = None
        self._from: Any = WeakIdKeyDictionary()  # tensor -> the site that it came from

    @property
    def kept(self) -> list[ConvolutionSite]:
        """The sites whose outputs were kept, first to last."""
        return [site for site in self.sites.values() if site.outputs]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = next((part for part in args if isinstance(part, Tensor)), None)
        source = self._from.get(given) if given is not None else None
        out = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS:
            self._see(func, args, kwargs or {}, out)
        elif isinstance(out, Tensor):
            self._follow(func, args, out)
            if source is not None:
                self._from[out] = source
        return out

    def _see(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> None:
        kernel = args[1] if len(args) > 1 else kwargs["weight"]
        named = self.names.get(id(kernel))
        key: Hashable = named or (func.__name__, tuple(kernel.shape))
        self._open = None
        source, self._from[out] = self._from.get(args[0]), key
        if out.shape[-1] * out.shape[-2] == 1 or not (named or "").startswith(self.within):
            return
        if (named or "").startswith(self._skipped):
            return
        self._rows = self._rows or len(out)
        if self.stages and key not in self.sites and out.ndim == 4 and len(out) != self._rows:
            return
        if key not in self.sites:
            place = 8 if func is torch.convolution else 6
            self._new(
                key,
                ConvolutionSite(
                    layer=_module_of(named) if named else f"functional convolution {tuple(kernel.shape)}",
                    kernel=kernel.detach(),
                    groups=args[place] if len(args) > place else kwargs.get("groups", 1),
                    transposed="transpose" in func.__name__ or (func is torch.convolution and bool(args[6])),
                    source=source if source != key else None,
                    size=tuple(out.shape[2:]),
                ),
            )
        self.sites[key].inputs.append(args[0].detach().flatten(2).mean(dim=2))
        if key not in self._dropped:
            self.sites[key].outputs.append(out.detach().clone())
            self._open = (key, out)

    def _new(self, key: Hashable, site: ConvolutionSite) -> None:
        last = next(reversed(self.sites), None)
        self.sites[key] = site
        if self.stages and last is not None and self.sites[last].size == site.size:
            self.sites[last].outputs.clear()
            self._dropped.add(last)

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], out: Tensor) -> None:
        """What continues a convolution belongs to it."""
        if self._open is not None and _continues(func, args, self._open[1], out):
            self.sites[self._open[0]].outputs[-1] = out.detach().clone()
            self._open = (self._open[0], out)


class RecurrentCalls(TorchFunctionMode):
    """Multiplies the batch at `nn.GRU`, `nn.LSTM`, `nn.RNN`: `vary((1, t, f)) -> (v, t, f)` gives the variants.

    Whatever follows the call then sees v clips instead of one. `features` and `variants` hold both tensors of the
    first such call; a later call whose batch is still one (a parallel branch) is multiplied alike.
    """

    def __init__(self, vary: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reset(vary)

    def reset(self, vary: Callable[[Tensor], Tensor]) -> None:
        """Forget what was seen, before the model is called again."""
        self.vary = vary
        self.features: Tensor | None = None
        self.variants: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in RECURRENT and isinstance(args[3], bool):  # a packed sequence has its weights there
            args = self._multiplied(args)
        return func(*args, **(kwargs or {}))

    def _multiplied(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        batch_first = bool(args[8])
        x = args[0] if batch_first else args[0].transpose(0, 1)
        if len(x) != 1 or (self.variants is not None and len(self.variants) == 1):
            return args
        variants = self.vary(x)
        if self.features is None:
            self.features, self.variants = x, variants
        rows = len(variants)
        state = tuple(part.expand(-1, rows, -1).contiguous() for part in _tuple(args[1]))
        head = (variants if batch_first else variants.transpose(0, 1), state if len(state) > 1 else state[0])
        return head + args[2:]


def _tuple(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state)


def per_frame(parts: list[Tensor], t: int) -> Tensor:
    """One clip's tensors of a call site -> (t', k, h, w).

    They come from a folded batch (in chunks, too), from a loop over frames, or from a 3-D convolution.
    """
    if parts[0].ndim == 5:
        return parts[0][0].transpose(0, 1)  # (1, k, t', h, w)
    return torch.cat(parts[_repeat(parts, t) - 1 :: _repeat(parts, t)])


def per_call(values: Tensor, parts: list[Tensor], t: int) -> list[Tensor]:
    """The inverse of `per_frame`: (t', k, h, w) -> tensors shaped as `parts`, zero for calls that it leaves out."""
    if parts[0].ndim == 5:
        return [values.transpose(0, 1)[None]]
    step = _repeat(parts, t)
    shown = iter(torch.split(values, [len(part) for part in parts[step - 1 :: step]]))
    return [next(shown) if place % step == step - 1 else torch.zeros_like(part) for place, part in enumerate(parts)]


def _repeat(parts: list[Tensor], t: int) -> int:
    """How often the site is called for each frame: the last call of a frame is the one that counts."""
    if any(part.ndim != 4 for part in parts) and len(parts) > 1:
        raise ExplainError(
            f"a convolution called {len(parts)} times for one clip must return (frames, k, h, w); got "
            f"{tuple(parts[0].shape)}. Name another layer."
        )
    looped = len(parts) > 1 and all(len(part) == 1 for part in parts)
    return len(parts) // t if looped and len(parts) % t == 0 else 1
