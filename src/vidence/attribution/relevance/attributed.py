"""A function with its true value and a derivative of one's own: what methods with rules hand to autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

Back: TypeAlias = Callable[[Tensor], tuple[Tensor | None, ...]]  # the output's multiplier -> one for each input


def attributed(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], back: Back) -> Tensor:
    """`function(*inputs)`, whose inputs are given what `back` makes of the output's multiplier."""
    out: Tensor = _Attributed.apply(back, function, *inputs)  # type: ignore[no-untyped-call]
    return out


def pulled(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], multiplier: Tensor) -> tuple[Tensor, ...]:
    """The derivative of `function` at `inputs`, applied to a multiplier of its output."""
    with torch.enable_grad():
        at = [part.detach().requires_grad_() for part in inputs]
        return torch.autograd.grad(function(*at), at, multiplier, materialize_grads=True)


def in_proportion(function: Callable[[Tensor], Tensor], positive: Tensor, arriving: Tensor) -> Tensor:
    """Multipliers p / a of each input a of `function`, a sum of positive parts: what has no support is lost."""
    z = function(positive)
    (found,) = pulled(function, (positive,), torch.where(z > 0, arriving / z, 0))
    return torch.where(positive > 0, found, 0)


class _Attributed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, back: Back, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.back, ctx.inputs = back, len(inputs)
        ctx.set_materialize_grads(False)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor | None) -> tuple[Tensor | None, ...]:
        if multipliers[0] is None:
            return (None,) * (2 + ctx.inputs)
        return (None, None, *ctx.back(multipliers[0]))
