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
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from vidence.attribution.families import cells
from vidence.attribution.frame_numbers import FrameNumbers
from vidence.attribution.frame_order import FrameOrder, in_calling_order, picked, put_back, traced, upstream
from vidence.attribution.layer_names import CONVOLUTIONAL, FUNCTIONAL, module_of
from vidence.attribution.own_graph import check_outside_vmap, kept, mark, unchanged

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
UNTRACED = (
    "which frames {layer} saw could not be told, or each map is of several: they are taken in the order of its calls"
)
RECURRENT = {torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu}


class Leaves(list[Tensor]):
    """The marked outputs of one layer's calls for a clip of `t` frames, and which frames they are of.

    `occurrence` is which of several calls a frame is shown, from 1; None: the last, if each is computed from the one
    before.
    """

    def __init__(self, t: int, layer: str = "", occurrence: int | None = None) -> None:
        super().__init__()
        self.t, self.layer, self.occurrence = t, layer, occurrence
        self.numbers = FrameNumbers(t)
        self.after: list[set[int]] = []  # the calls that each was computed from

    @classmethod
    def of(cls, outputs: list[Tensor], t: int, layer: str, numbers: FrameNumbers) -> Leaves:
        """Copies of a layer's outputs, not marked; of several calls a frame the last counts."""
        found = cls(t, layer)
        found.extend(outputs)
        found.numbers, found.after = numbers, [set(range(place)) for place in range(len(outputs))]
        return found

    def mark(self, activation: Tensor) -> None:
        """Mark the output of one more call."""
        self.after.append(upstream(activation, self))
        self.append(mark(activation))

    def mark_again(self, activation: Tensor) -> None:
        """Mark what was made of the last call's output instead of it."""
        self[-1] = mark(activation)

    @property
    def order(self) -> FrameOrder:
        """Which frames the rows of these calls are of, as traced, or as assumed where the trace was lost."""
        rows = [self.numbers.of_rows(leaf) for leaf in self]
        known = [line for line in rows if line is not None]
        if self.t > 1 and len(known) == len(rows) == len(self.after):
            seen = [self.numbers.behind(leaf) for leaf in self]
            found = traced(
                known,
                self.after,
                None if None in seen else set().union(*(part for part in seen if part is not None)),
                t=self.t,
                layer=self.layer,
                occurrence=self.occurrence,
            )
            if found is not None:
                return found
        flags = (UNTRACED.format(layer=self.layer),) if self.t > 1 else ()
        return in_calling_order(self, self.t, self.occurrence, flags)


class FrameCalls(TorchFunctionMode):
    """Lets frame numbers follow everything that is called; the outermost mode, so that it sees marks, too."""

    def __init__(self, numbers: FrameNumbers) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.numbers.follow(func, args, kwargs or {}, out)
        return out


class GradientOn(TorchFunctionMode):
    """Builds the graph below marked tensors even where the user's code says `no_grad`, as around a frozen backbone.

    Checkpointing would compute again on the way back, where no mode sees it: what calls need is kept instead.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return func(*args, **(kwargs or {}))
        with torch.enable_grad(), saved_tensors_hooks(kept, unchanged):
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


def _beginnings(model: nn.Module) -> tuple[str, ...]:
    """How the names of parameters inside recurrent cells begin."""
    return tuple(f"{path}." for path in cells(model))


def _owns_more(model: nn.Module, within: str) -> bool:
    """Whether a model owns convolutions outside recurrent cells."""
    inside = _beginnings(model)
    return any(
        path.startswith(within) and not path.startswith(inside)
        for path, module in model.named_modules()
        if isinstance(module, CONVOLUTIONAL)
    )


class ConvolutionCalls(GradientOn):
    """Marks the calls of one convolution, with the batch norm, activation and junction that follow at once.

    The last convolution is known only at the end: the mode starts from a guess, the last one the model owns, and
    `right` says whether another was called later; then the call is repeated with `site` set to `last`. Convolutions
    inside a recurrent cell compute gates, no maps of what is seen: they count only where no other was called.
    `follows`: what follows at once is marked, too.
    """

    def __init__(self, model: nn.Module, leaves: Leaves, site: Hashable | None = None, *, follows: bool = True) -> None:
        super().__init__()
        self.follows = follows
        self.names: dict[int, str] = {id(tensor): name for name, tensor in model.named_parameters()}
        self.made: Any = WeakIdKeyDictionary()  # a parameter's view or copy -> the parameter's name
        self.cells = _beginnings(model)
        self.site = site if site is not None else self._guess(model)
        self._lasts: dict[bool, Hashable] = {}  # whether in a cell -> the last convolution called
        self.leaves = leaves
        self.followed = False  # whether more than the convolution itself is marked
        self._open: Tensor | None = None

    def _guess(self, model: nn.Module) -> Hashable | None:
        owned = [self.names.get(id(module.weight)) for module in model.modules() if isinstance(module, CONVOLUTIONAL)]
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
        """What is marked, as `layer` takes it: the convolution, and `+` where more than its own output is."""
        path = module_of(str(self.site))
        return f"{path}+" if self.followed else path

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_function__(func, types, args, kwargs)
        if func in CONVOLUTIONS:
            self._see(func, args, kwargs or {}, out)
        elif self._open is not None and self.follows and _continues(func, args, self._open, out):
            self._open, self.followed = out, True
            self.leaves.layer = self.layer
            self.leaves.mark_again(out)
        elif args and isinstance(out, Tensor) and out.ndim > 3 and out is not args[0]:
            name = self._name(args[0])
            if name is not None and out.numel() == args[0].numel():  # Keras turns its kernels at every call
                self.made[out] = name
        return out

    def _name(self, weight: Any) -> str | None:
        """The parameter that a kernel is, or was made of."""
        made = self.made.get(weight) if isinstance(weight, Tensor) else None
        return made or self.names.get(id(weight))

    def _see(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> None:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        self._open = None
        if out.shape[-1] * out.shape[-2] == 1:  # a dense layer written as a convolution has no place to show
            return
        key = self._name(weight) or f"{FUNCTIONAL} {tuple(weight.shape)}"
        self._lasts[key.startswith(self.cells)] = key
        if key == self.site:
            self._open, self.followed = out, False
            self.leaves.layer = self.layer
            self.leaves.mark(out)


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
        check_outside_vmap(out)
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
                    layer=module_of(named) if named else f"{FUNCTIONAL} {tuple(kernel.shape)}",
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


def per_frame(parts: list[Tensor], t: int) -> Tensor:
    """One clip's tensors of a call site -> (t', k, h, w), in the order of the clip's frames as far as it is known.

    They come from a folded batch (in chunks, too), from a loop over frames, or from a 3-D convolution.
    """
    return picked(parts, frame_order(parts, t))


def per_call(values: Tensor, parts: list[Tensor], t: int) -> list[Tensor]:
    """The inverse of `per_frame`: (t', k, h, w) -> tensors shaped as `parts`, zero for rows that it leaves out."""
    return put_back(values, parts, frame_order(parts, t))


def frame_order(parts: list[Tensor], t: int) -> FrameOrder:
    """Which frames the rows of a call site are of: as traced, of `Leaves`; else the order of calls is taken for it."""
    if isinstance(parts, Leaves):
        return parts.order
    return in_calling_order(parts, t, None, ())
