"""DeepLIFT as two modes: what each call saw of the clip and of its reference makes the multipliers of its inputs.

A multiplier is a change of the score divided by a change of an activation, so that products with the changes add up
from layer to layer (Shrikumar et al., ICML 2017, rescale rule; products and maxima so that nothing is lost there).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidence.attribution.relevance.attributed import attributed, pulled
from vidence.attribution.relevance.propagation import (
    Call,
    Elementwise,
    Extremum,
    Linear,
    Passed,
    Product,
    Propagation,
)
from vidence.errors import ExplainError

ROUNDED = 8  # times the machine's precision: how far a quotient's terms may be off


class Differences(Propagation):
    """The pass on the clip. Differentiate it after a `Reference` has seen the same calls."""

    method: ClassVar[str] = "deep-lift"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.calls: dict[int, tuple[str, str]] = {}  # by place: what is called, on what shapes
        self.reference: dict[int, tuple[Tensor, ...]] = {}  # by place: what the call saw of the reference

    def linear(self, call: Linear) -> Tensor:
        """The weight."""
        self._note(call, call.a)
        return call.value()

    def elementwise(self, call: Elementwise) -> Tensor:
        """Change of phi(v) by change of v."""
        self._note(call, call.v)
        return attributed(call.function, (call.v,), partial(self._rescaled, call))

    def product(self, call: Product) -> Tensor:
        """Each operand times the other's mean of clip and reference: da (b + b') / 2 + db (a + a') / 2 = d(ab)."""
        self._note(call, call.a, call.b)
        return attributed(call.function, (call.a, call.b), partial(self._halfway, call))

    def extremum(self, call: Extremum) -> Any:
        """The change goes to the winner of the clip or to that of the reference, whichever bears it."""
        self._note(call, call.a)

        def one(function: Callable[[Tensor], Tensor]) -> Tensor:
            return attributed(function, (call.a,), partial(self._won, call, function))

        return _each(call, one)

    def passed(self, call: Passed) -> Any:
        """Its own gradient."""
        self._note(call)
        return call.value()

    def _rescaled(self, call: Elementwise, given: Tensor) -> tuple[Tensor]:
        (before,) = self.reference[call.place]
        return (given * rescaled(call.function, call.v.detach(), before),)

    def _halfway(self, call: Product, given: Tensor) -> tuple[Tensor, ...]:
        a, b = self.reference[call.place]
        return pulled(call.function, ((call.a.detach() + a) / 2, (call.b.detach() + b) / 2), given)

    def _won(self, call: Extremum, function: Callable[[Tensor], Tensor], given: Tensor) -> tuple[Tensor]:
        (before,) = self.reference[call.place]
        return (won(function, call.a.detach(), before, given),)

    def _note(self, call: Call, *seen: Tensor) -> None:
        self.calls[call.place] = _kind(call, seen)


class Reference(Propagation):
    """The pass on the reference, without a graph: writes down for the clip's calls what each of them sees there."""

    method: ClassVar[str] = "deep-lift"

    def __init__(self, model: nn.Module, clip: Differences) -> None:
        super().__init__(model)
        self.clip = clip

    def linear(self, call: Linear) -> Tensor:
        """The true value."""
        self._match(call, call.a)
        return _cut(call.value())

    def elementwise(self, call: Elementwise) -> Tensor:
        """The true value; the argument is kept."""
        self._match(call, call.v)
        return _cut(call.function(call.v))

    def product(self, call: Product) -> Tensor:
        """The true value; the operands are kept."""
        self._match(call, call.a, call.b)
        return _cut(call.function(call.a, call.b))

    def extremum(self, call: Extremum) -> Any:
        """The true value; the argument is kept."""
        self._match(call, call.a)
        return _each(call, lambda function: _cut(function(call.a)))

    def passed(self, call: Passed) -> Any:
        """The true value."""
        self._match(call)
        return call.value()

    def finish(self) -> None:
        """Raise `ExplainError` unless every call of the clip was met."""
        if self.place < self.clip.place:
            raise self._astray(*next(kind for place, kind in self.clip.calls.items() if place >= self.place))

    def _match(self, call: Call, *seen: Tensor) -> None:
        expected = self.clip.calls.get(call.place, ("nothing", ""))
        if expected != _kind(call, seen):
            raise self._astray(*expected)
        if not isinstance(call, Linear | Passed):
            self.clip.reference[call.place] = tuple(part.detach() for part in seen)

    def _astray(self, name: str, shapes: str) -> ExplainError:
        return ExplainError(
            f"deep-lift needs a model that does the same to the clip and to its baseline; after {self.layer} it called "
            f"{name} {shapes} on the clip alone. Choose another baseline, or integrated-gradients."
        )


def rescaled(function: Callable[[Tensor], Tensor], v: Tensor, before: Tensor) -> Tensor:
    """(phi(v) - phi(v')) / (v - v'), and phi' halfway where that says the same within rounding, or v = v'.

    No threshold on v - v' would do: a quotient of small changes is noise, the slope beside a kink is wrong.
    """
    y, y_before = function(v), function(before)
    (slope,) = pulled(function, ((v + before) / 2,), torch.ones_like(y))
    apart = v - before
    ratio = (y - y_before) / apart
    size = y.abs() + y_before.abs() + slope.abs() * (v.abs() + before.abs())
    rounding = ROUNDED * torch.finfo(v.dtype).eps * size / apart.abs()
    reliable = ratio.isfinite() & (~slope.isfinite() | ((ratio - slope).abs() > rounding))
    return torch.where(reliable, ratio, slope.nan_to_num(0.0, 0.0, 0.0))


def won(function: Callable[[Tensor], Tensor], a: Tensor, before: Tensor, given: Tensor) -> Tensor:
    """Multipliers of `a` out of which `function` picks values, so that changes times multipliers add up.

    Where a maximum rises, the clip's winner has risen at least as much; where it falls, the reference's has fallen so.
    A median may have moved more than both: then the one that moved more bears it.
    """
    y, own, give_own = _picking(function, a, before)
    y_before, other, give_other = _picking(function, before, a)
    change, moved, moved_other = y - y_before, y - own, other - y_before
    share, share_other = (torch.where(part == 0, 0, change / part) for part in (moved, moved_other))
    still = ROUNDED * torch.finfo(a.dtype).eps * (y.abs() + y_before.abs())
    alike = (moved.abs() <= still) & (change.abs() <= still)  # nothing moved: as the gradient has it
    bears, bears_other = _within(share) & (moved != 0), _within(share_other) & (moved_other != 0)
    first = alike | bears | (~bears_other & (moved.abs() >= moved_other.abs()))
    share = torch.where(alike, 1, share)
    return give_own(given * torch.where(first, share, 0)) + give_other(given * torch.where(first, 0, share_other))


def _within(share: Tensor) -> Tensor:
    return (share >= 0) & (share <= 1 + 1e-6)


def _picking(
    function: Callable[[Tensor], Tensor], a: Tensor, other: Tensor
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """What is picked of `a`, what `other` has at the same places, and multipliers of what is picked given to places."""
    with torch.enable_grad():
        at = a.detach().requires_grad_()
        y = function(at)
        probe = torch.zeros_like(y, requires_grad=True)
        (back,) = torch.autograd.grad(y, at, probe, create_graph=True)
        finite = other.nan_to_num(0.0, 0.0, 0.0)  # 0 times infinity: a masked place that is not picked
        (there,) = torch.autograd.grad(back, probe, finite, retain_graph=True)

    def give(multiplier: Tensor) -> Tensor:
        return torch.autograd.grad(y, at, multiplier, retain_graph=True)[0]

    return y.detach(), there, give


def _each(call: Extremum, one: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> Any:
    """`one` of each tensor of values that the call returns, beside the indices as they are."""
    with torch.no_grad():
        found = call.function(call.a.detach())
    if isinstance(found, Tensor):
        return one(call.function)
    parts = [
        one(partial(_part, call.function, place)) if part.is_floating_point() else part
        for place, part in enumerate(found)
    ]
    return type(found)(parts)


def _part(function: Callable[[Tensor], Any], place: int, a: Tensor) -> Tensor:
    found: Tensor = function(a)[place]
    return found


def _cut(value: Tensor) -> Tensor:
    """The same without its graph, and yet known to depend on the input."""
    return value.detach().requires_grad_()


def _kind(call: Call, seen: tuple[Tensor, ...]) -> tuple[str, str]:
    return call.name, " and ".join(str(tuple(part.shape)) for part in seen)
