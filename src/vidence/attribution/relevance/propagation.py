"""A mode that sees every operation of a model and its score, and asks a method what to do with each.

How to write a method. Subclass `Propagation`, set `method`, and answer four questions, each with a tensor that has the
true value and whose gradient is the method's multiplier. `call` holds what came and the function without its constants:

- `linear(call)`: one activation times a constant, plus a bias. `call.function(a, weight)` is the operator without its
  bias, so that any other weight (its positive part) may take the weight's place; `call.value()` is the true value.
- `elementwise(call)`: `call.function(v)`, of each value alone: relu, tanh, exp, a power, a reciprocal.
- `product(call)`: `call.function(a, b)`, bilinear in two activations: a gate times a signal, queries times keys.
- `extremum(call)`: `call.function(a)`, which picks values of `a`: max pooling, amax, topk. It may return a tuple.

Two more have an answer that a method may change. `passed(call)`: what is linear in all that depends on the input, so
that its own gradient is right; constants stand beside those in `operations.BESIDE`. `softmax(call, parts)`: softmax,
log-softmax and logsumexp; `parts()` computes it out of sums and products. Recurrent layers, attention, layer norms,
quotients and variances come in such parts (decompositions.py); a batch norm is merged into the linear call before it.

Calls come in the order of computation: `call.place` counts them, so that a pass on a reference, recorded by place, says
what each call saw there. A tensor depends on the input where it `requires_grad`: run the mode inside
`hooks.frozen(model)` on an input that does, score included, and differentiate afterwards:

    with closing(Method(model)) as method:
        with method:  # builds the graph where the user's code says no_grad, too
            total = score_rows(score, model(asked), asked).sum()
        multiplier = torch.autograd.grad(method.now(total), asked)[0]

What none of this covers raises `ExplainError` with the function and the layer before it, never a plain gradient. What
the model writes in place is replaced (overwritten.py). Autocast is off: shares keep the precision of the parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from vidence.attribution.relevance.decompositions import DECOMPOSED, SOFTMAX
from vidence.attribution.relevance.followed import Followed, check_scripts
from vidence.attribution.relevance.operations import (
    CONVOLUTIONS,
    ELEMENTWISE,
    EXTREMA,
    LINEAR,
    MATRIX,
    PASSED,
    VALUES,
    canonical,
    not_in_place,
    shown_name,
    without_writing,
)
from vidence.attribution.relevance.overwritten import Overwritten
from vidence.errors import ExplainError


@dataclass(frozen=True, eq=False)
class Call:
    """One call: `name` of the operation, the last named `layer` up to it, and its `place` among all calls."""

    name: str
    layer: str
    place: int


@dataclass(frozen=True, eq=False)
class Linear(Call):
    """function(a, weight) + bias; `bias` is shaped to broadcast. `out_axis` of the weight counts the outputs."""

    a: Tensor
    weight: Tensor
    bias: Tensor | None
    function: Callable[[Tensor, Tensor], Tensor]
    out_axis: int | None = None

    def value(self) -> Tensor:
        """What the model computes, with its ordinary gradient."""
        z = self.function(self.a, self.weight)
        return z if self.bias is None else z + self.bias

    def scaled(self, scale: Tensor, shift: Tensor) -> Linear:
        """The same followed by `scale` * . + `shift`, one value per output."""
        dims = self.function(self.a, self.weight).ndim
        shape = (-1, *[1] * (dims - 2)) if self.name in CONVOLUTIONS else (-1,)
        column = [1] * self.weight.ndim
        column[self.out_axis or 0] = -1
        bias = 0 if self.bias is None else self.bias * scale.reshape(shape)
        return replace(self, weight=self.weight * scale.reshape(column), bias=bias + shift.reshape(shape))


@dataclass(frozen=True, eq=False)
class Elementwise(Call):
    """function(v), of each value alone."""

    v: Tensor
    function: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Product(Call):
    """function(a, b), linear in each of two activations."""

    a: Tensor
    b: Tensor
    function: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Extremum(Call):
    """function(a), a tensor or a tuple with indices: values that are picked out of a."""

    a: Tensor
    function: Callable[[Tensor], Any]


@dataclass(frozen=True, eq=False)
class Passed(Call):
    """function(*args, **kwargs), linear in all arguments that depend on the input."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    function: Callable[..., Any]

    def value(self) -> Any:
        """What the model computes, with its ordinary gradient."""
        return self.function(*self.args, **self.kwargs)


class Propagation(TorchFunctionMode, ABC):
    """See the module's docstring. One instance serves one pass."""

    method: ClassVar[str]
    instead: ClassVar[str] = "integrated-gradients"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        check_scripts(model, self.method, self.instead)
        self.followed = Followed()
        self._within_call = False
        held = [*model.named_parameters(), *model.named_buffers()]
        self._names: dict[int, str] = {id(tensor): name for name, tensor in held}
        self._device = held[0][1].device.type if held else "cpu"
        self._written = Overwritten()
        self._after: tuple[Tensor, Linear] | None = None  # the last linear call, which a batch norm may follow
        self.layer = "the input"
        self.place = 0

    @abstractmethod
    def linear(self, call: Linear) -> Tensor:
        """The value of a linear operation."""

    @abstractmethod
    def elementwise(self, call: Elementwise) -> Tensor:
        """The value of an elementwise function."""

    @abstractmethod
    def product(self, call: Product) -> Tensor:
        """The value of a product of two activations."""

    @abstractmethod
    def extremum(self, call: Extremum) -> Any:
        """The values picked."""

    def passed(self, call: Passed) -> Any:
        """The value of what distributes by itself."""
        return call.value()

    def softmax(self, call: Elementwise, parts: Callable[[], Tensor]) -> Tensor:
        """The value of a softmax, a log-softmax or a logsumexp (not elementwise) of `call.v`."""
        return parts()

    def initial_state(self, state: Tensor) -> Tensor:
        """The state that a recurrent layer starts from and that does not depend on the input."""
        return state

    def enter(self, weight: Tensor | None) -> None:
        """What follows belongs to the layer that owns `weight`, if it has a name."""
        if weight is not None:
            named = self._names.get(id(weight)) or self._names.get(id(weight._base))
            self.layer = named.removesuffix(".weight") if named else self.layer

    def close(self) -> None:
        """Let go of everything: nodes of the graph hold this mode, and it them, unseen by Python's collector."""
        vars(self).clear()

    def now(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for one that the model wrote into."""
        self._know((tensor,), {})
        found: Tensor = self._written.now(tensor)
        self.followed.add(tensors_in(found, tracked=True))
        return found

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._C._set_grad_enabled:
            return func(*args, **(kwargs or {}))
        if self._within_call:  # a part of what the model calls
            return self.answer(func, args, kwargs or {})
        self._know(args, kwargs or {})
        if torch.is_autocast_enabled(self._device):  # of the model's own
            self.followed.rounded_to(torch.get_autocast_dtype(self._device))
        self._within_call = True
        try:  # checkpointing recomputes where no mode sees it: nothing is saved by hooks of the model's
            with saved_tensors_hooks(_as_it_is, _as_it_is):
                found = self.answer(func, args, kwargs or {})
        finally:
            self._within_call = False
        self.followed.add(tensors_in(found, tracked=True))
        return found

    def answer(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call of torch returns."""
        target = args[0] if args else None
        args, kwargs = self._written.now(args), self._written.now(kwargs)
        with torch.enable_grad(), torch.autocast(self._device, enabled=False):
            if not any(part.requires_grad for part in tensors_in((args, kwargs))):
                return func(*args, **kwargs)
            name, in_place = canonical(func)
            if func in VALUES:
                return func(*(part.detach() if isinstance(part, Tensor) else part for part in args))
            if not args and "input" in kwargs:
                args = (kwargs.pop("input"),)
            if not in_place and isinstance(kwargs.get("out"), Tensor):
                raise self._refused(func, "with out=")
            if not in_place and getattr(func, "__module__", "") == F.__name__:
                args, kwargs, in_place = not_in_place(func, args, kwargs)
            if not in_place:
                return self._asked(func, name, args, kwargs)
            if not isinstance(target, Tensor):
                raise self._refused(func, "on no tensor")
            value = self._asked(without_writing(func, name), name, args, kwargs)
            self._written.write(target, value)
            return None if name == "setitem" else target

    def _know(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise `ExplainError` for arguments that were made where the mode does not see."""
        if any(part.is_inference() for part in tensors_in((args, kwargs))):
            raise ExplainError(
                f"{self.method} needs a model that can be differentiated; this one uses torch.inference_mode after "
                f"{self.layer}. Take occlusion."
            )
        made_by = self.followed.foreign(tensors_in((args, kwargs), tracked=True))
        if made_by is not None:
            raise ExplainError(
                f"{self.method} cannot see into {made_by}, which the model calls after {self.layer}. "
                f"Take {self.instead}."
            )

    def _asked(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in DECOMPOSED:
            try:
                parts = DECOMPOSED[name](self, *args, **kwargs)
            except TypeError as error:  # called in a way that nobody has thought of
                raise self._refused(func, f"called so: {error}") from error
            if parts is not NotImplemented:
                return self._within(parts)
        if name in SOFTMAX:
            parts = SOFTMAX[name](*args, **kwargs)
            call = Elementwise(*self._next(name), args[0], lambda v: func(v, *args[1:], **kwargs))
            return self.softmax(call, lambda: self._within(parts))
        if name == "batch_norm":
            return self._batch_norm(dict(zip(_BATCH_NORM[func is torch.batch_norm], args, strict=False), **kwargs))
        tracked = list(tensors_in((args, kwargs), tracked=True))
        if name in LINEAR:
            return self._linear(func, name, args, kwargs)
        if name in MATRIX or name in ("mul", "einsum"):
            return self._multiplied(func, name, args, kwargs)
        first = bool(args) and isinstance(args[0], Tensor) and args[0].requires_grad and len(tracked) == 1
        if name in ELEMENTWISE and first:
            return self.elementwise(Elementwise(*self._next(name), args[0], lambda v: func(v, *args[1:], **kwargs)))
        if name in EXTREMA and first:
            return self.extremum(Extremum(*self._next(name), args[0], lambda a: func(a, *args[1:], **kwargs)))
        if name in PASSED:
            return self.passed(Passed(*self._next(name), args, kwargs, func))
        out = func(*args, **kwargs)
        if next(tensors_in(out, tracked=True), None) is not None:
            raise self._refused(func)
        return out

    def _linear(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        named = dict(zip(("input", "weight", "bias"), args, strict=False), **kwargs)
        a, weight, bias = (named.pop(key, None) for key in ("input", "weight", "bias"))

        def without_bias(left: Tensor, right: Tensor) -> Tensor:
            return func(left, right, None, *args[3:], **named)

        if weight.requires_grad or not a.requires_grad:
            tracked = weight.requires_grad or a.requires_grad
            z = self._bilinear(name, a, weight, without_bias) if tracked else without_bias(a, weight)
            return z if bias is None else self._within(lambda: z + _broadcast(bias, name, weight))
        if bias is not None and bias.requires_grad:
            return self._within(lambda: func(a, weight, None, *args[3:], **named) + _broadcast(bias, name, weight))
        self.enter(weight)
        axis: int | None = 0
        if "transpose" in name:
            axis = 1 if (args[6] if len(args) > 6 else named.get("groups", 1)) == 1 else None
        shaped = None if bias is None else _broadcast(bias, name, weight)
        call = Linear(*self._next(name), a, weight, shaped, without_bias, axis)
        z = self.linear(call)
        self._after = (z, call)
        return z

    def _bilinear(self, name: str, a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """A product of which one or both operands depend on the input."""
        if a.requires_grad and b.requires_grad:
            return self.product(Product(*self._next(name), a, b, function))
        if name == "mul":
            return self.passed(Passed(*self._next(name), (a, b), {}, function))
        if a.requires_grad:
            self.enter(b)
            return self.linear(Linear(*self._next(name), a, b, None, function))
        self.enter(a)
        return self.linear(Linear(*self._next(name), b, a, None, lambda left, right: function(right, left)))

    def _multiplied(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Products of two operands, whichever depends on the input."""
        if name == "einsum":
            operands = list(args[1]) if len(args) == 2 and isinstance(args[1], list | tuple) else list(args[1:])
            if len(operands) != 2 or not isinstance(args[0], str):
                if len(operands) == 1:
                    return self.passed(Passed(*self._next(name), args, kwargs, func))
                raise self._refused(func, "of more than two operands")
            return self._bilinear(name, operands[0], operands[1], lambda a, b: torch.einsum(args[0], a, b))
        left, right, *rest = args if len(args) > 1 else (*args, *kwargs.values())
        if name == "mul" and not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            return self.passed(Passed(*self._next(name), (left, right), {}, torch.mul))
        options = kwargs if len(args) > 1 else {}
        return self._bilinear(name, left, right, lambda a, b: func(a, b, *rest, **options))

    def _batch_norm(self, named: dict[str, Any]) -> Tensor:
        """An affine map per channel: part of the linear call before it, else a factor and a shift."""
        x, mean, variance = named["input"], named["running_mean"], named["running_var"]
        if named.get("training", False) or mean is None or variance is None:
            raise ExplainError(
                f"{self.method} needs batch norms with running statistics, in eval mode; the one after {self.layer} "
                f"uses those of the batch. Take {self.instead}."
            )
        scale = (variance + named.get("eps", 1e-5)).rsqrt()
        scale = scale if named.get("weight") is None else scale * named["weight"]
        shift = -mean * scale if named.get("bias") is None else named["bias"] - mean * scale
        if self._after is not None and self._after[0] is x and _merges(self._after[1], x):
            return self.linear(replace(self._after[1].scaled(scale, shift), place=self._next("batch_norm")[2]))
        shape = (-1, *[1] * (x.ndim - 2))
        with self:
            return x * scale.reshape(shape) + shift.reshape(shape)

    def _within(self, parts: Callable[[], Any]) -> Any:
        with self:
            return parts()

    def _next(self, name: str) -> tuple[str, str, int]:
        self.place += 1
        return name, self.layer, self.place - 1

    def _refused(self, func: Callable[..., Any], how: str = "") -> ExplainError:
        return ExplainError(
            f"{self.method} has no rule for {' '.join([shown_name(func), how]).strip()}, called after {self.layer}. "
            f"Take {self.instead}."
        )


_BATCH_NORM = {
    True: ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
    False: ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
}


def tensors_in(value: Any, *, tracked: bool = False) -> Iterator[Tensor]:
    """The tensors of nested arguments; `tracked`: only those that depend on the input."""
    if isinstance(value, Tensor):
        if value.requires_grad or not tracked:
            yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part, tracked=tracked)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()), tracked=tracked)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _broadcast(bias: Tensor, name: str, weight: Tensor) -> Tensor:
    """A bias that can be added to the output."""
    if name not in CONVOLUTIONS:
        return bias
    return bias.reshape(-1, *[1] * (weight.ndim - 2))


def _merges(call: Linear, z: Tensor) -> bool:
    if call.out_axis is None:
        return False
    return z.ndim == (call.weight.ndim if call.name in CONVOLUTIONS else 2)
