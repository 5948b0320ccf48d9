"""Layer-wise relevance propagation as a mode: what each kind of operation does with relevance.

Relevance R of an activation a is carried as the multiplier R / a, so that gradient x input of a modified graph is the
relevance: sums, means, joins and pooling share out in proportion by themselves (Bach et al. 2015; gates: Arras et al.
2017; attention and norms: Ali et al., ICML 2022, and Achtibat et al., ICML 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vidence.attribution.outputs import exchanged
from vidence.attribution.relevance.composites import Composite
from vidence.attribution.relevance.conservation import Accounts, relevance
from vidence.attribution.relevance.operations import BESIDE, GATES, OPERANDS
from vidence.attribution.relevance.propagation import (
    Elementwise,
    Extremum,
    Linear,
    Passed,
    Product,
    Propagation,
    tensors_in,
)
from vidence.attribution.relevance.rules import Inputs, Rule, Shares

Attention = Literal["cp", "attn"]
Write = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Mark:
    """What is known of a tensor: that it is a `gate` (in [0, 1], or what something is divided by), or `odd` (tanh, erf:
    a gate once 1 is added), and what it would be of a clip of lowest and highest pixels.
    """

    kind: Literal["gate", "odd"] | None = None
    low: Tensor | None = None
    high: Tensor | None = None


class Layerwise(Propagation):
    """One pass of `x`, whose pixels lie in [0, 1]. `leaves` are what relevance may end in, x first.

    Gates, softmaxes of attention ('cp') and divisors are held: the signal takes all. Other products of two activations
    give each half ('attn' treats attention so, and its softmax by its gradient). An elementwise function hands on
    phi(v) / v.
    """

    method: ClassVar[str] = "lrp"

    def __init__(self, model: nn.Module, x: Tensor, composite: Composite, *, attention: Attention = "cp") -> None:
        super().__init__(model)
        self.composite, self.attention = composite, attention
        self.accounts = Accounts()
        self.pixels = tuple(part.requires_grad_() for part in (torch.zeros_like(x), torch.ones_like(x)))
        self._marks: dict[int, tuple[Tensor, Mark]] = {}
        self._held: list[tuple[Tensor, Write, str]] = []
        self._note(x, Mark(None, *self.pixels))
        self._x = x

    @property
    def leaves(self) -> list[Tensor]:
        """The clip, the lowest and the highest clip, and every constant that stands beside what depends on it."""
        return [self._x, *self.pixels, *(leaf for leaf, _, _ in self._held)]

    def forget_gates(self) -> None:
        """What the model returned is a signal, whatever made it: a score's products share it alike."""
        self._marks = {key: (held, Mark(None, mark.low, mark.high)) for key, (held, mark) in self._marks.items()}

    def settle(self, multipliers: tuple[Tensor, ...]) -> Tensor:
        """The pixels' relevance, of the multipliers of `leaves`; what constants keep is written down."""
        for (leaf, write, column), c in zip(self._held, multipliers[3:], strict=True):
            write(**{column: relevance(leaf.detach(), c)})
        found = [leaf.detach() * c for leaf, c in zip(self.leaves[:3], multipliers[:3], strict=True)]
        return found[0] + found[1] + found[2]

    def linear(self, call: Linear) -> Tensor:
        """The rule of the composite."""
        mark = self._mark(call.a)
        rule = self.composite.rule(call, sees_pixels=mark.low is not None)
        return _shared(call, mark, rule, self.accounts.open(call.layer))

    def elementwise(self, call: Elementwise) -> Tensor:
        """phi(v) / v, by its limit at 0; what phi is at 0 is no relevance of v and is written down."""
        v = call.v.detach()
        value = call.function(v)
        ratio = value / v
        limit = ~ratio.isfinite()
        if limit.any():
            ratio = torch.where(limit, _slope(call.function, v), ratio)
        out = call.v * ratio
        rest = torch.where(limit, value, 0)
        if rest.any():
            out = out + self._leaf(rest, call.layer, "rule")
        return self._note(out, self._after_elementwise(call))

    def _after_elementwise(self, call: Elementwise) -> Mark:
        if call.name in GATES:
            return Mark("gate")
        if call.name in ("tanh", "erf", "special_erf"):
            return Mark("odd")
        return Mark(self._mark(call.v).kind) if call.name.startswith("clamp") else Mark()

    def product(self, call: Product) -> Tensor:
        """The signal takes all that a gate lets through; two signals share alike."""
        gates = self._mark(call.a).kind == "gate", self._mark(call.b).kind == "gate"
        if gates == (True, False):
            return call.function(call.a.detach(), call.b)
        if gates == (False, True) or call.a is call.b:
            return call.function(call.a, call.b.detach())
        halves = call.function(call.a, call.b.detach()) + call.function(call.a.detach(), call.b)
        return self._note(halves / 2, Mark("gate" if all(gates) else None))

    def extremum(self, call: Extremum) -> Any:
        """The winner takes all."""
        return call.function(call.a)

    def softmax(self, call: Elementwise, parts: Callable[[], Tensor]) -> Tensor:
        """Its ordinary gradient; what that does not hand on is written down. An attention's is held under 'cp'."""
        write = self.accounts.open(f"{call.name} after {call.layer}")
        z = _seen(call.v, lambda amount: write(handed_on=amount, rule=-amount))
        out = _seen(call.function(z), lambda amount: write(received=amount, rule=amount))
        held = self.attention == "cp" and call.name in ("softmax", "special_softmax")
        return self._note(out, Mark("gate" if held else None))

    def initial_state(self, state: Tensor) -> Tensor:
        """A state that relevance may end in."""
        return self._leaf(state, self.layer, "initial_states")

    def passed(self, call: Passed) -> Any:
        """In proportion; constants keep their part."""
        tracked = list(tensors_in((call.args, call.kwargs), tracked=True))
        marks = [self._mark(part) for part in tracked]
        args = self._with_leaves(call)
        named = {
            key: self._constants(value, call.layer) if call.name in BESIDE and key in OPERANDS else value
            for key, value in call.kwargs.items()
        }
        out = call.function(*args, **named)
        kinds = {mark.kind for mark in marks}
        kind = kinds.pop() if len(kinds) == 1 else None
        if kind == "odd" and call.name == "add":
            kind = "gate" if _constant(call) == 1 else None
        elif kind == "odd" and call.name in ("sub", "mul", "div"):
            kind = "odd" if call.name != "sub" and _constant(call) in (1, -1) else None
        low = high = None
        if all(mark.low is not None for mark in marks):
            low, high = (
                call.function(*exchanged(args, seen), **exchanged(named, seen))
                for seen in (
                    {id(part): mark.low for part, mark in zip(tracked, marks, strict=True)},
                    {id(part): mark.high for part, mark in zip(tracked, marks, strict=True)},
                )
            )
        return self._note(out, Mark(kind, low, high))

    def _with_leaves(self, call: Passed) -> tuple[Any, ...]:
        """The arguments, whose constants are leaves where they stand beside what depends on the input."""
        places = BESIDE.get(call.name, ())
        return tuple(
            self._constants(value, call.layer) if place in places else value for place, value in enumerate(call.args)
        )

    def _constants(self, value: Any, layer: str) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._constants(part, layer) for part in value)
        if isinstance(value, Tensor):
            known = value.requires_grad or not value.is_floating_point()
            return value if known else self._leaf(value, layer, "constants")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return self._leaf(self._x.new_tensor(float(value)), layer, "constants")

    def _leaf(self, value: Tensor, layer: str, column: str) -> Tensor:
        leaf = value.detach().clone().requires_grad_()
        self._held.append((leaf, self.accounts.open(layer), column))
        return leaf

    def _mark(self, tensor: Tensor) -> Mark:
        return self._marks[id(tensor)][1] if id(tensor) in self._marks else _UNKNOWN

    def _note(self, out: Any, mark: Mark) -> Any:
        """Remember what is known of a result, or of each of a tuple's."""
        if isinstance(out, Tensor):
            if mark.kind or mark.low is not None:
                self._marks[id(out)] = (out, mark)
        elif isinstance(out, list | tuple):
            for place, part in enumerate(out):
                pair = (None, None) if mark.low is None or mark.high is None else (mark.low[place], mark.high[place])
                self._note(part, Mark(mark.kind, *pair))
        return out


_UNKNOWN = Mark()


class _Shared(torch.autograd.Function):
    """A linear operation whose gradient is the multiplier that a rule gives its inputs."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, low: Tensor | None, high: Tensor | None, call: Linear, rule: Rule, write: Write
    ) -> Tensor:
        z = call.value()
        ctx.save_for_backward(z.detach(), a, low, high)  # an output under saved-tensor hooks would hold its own node
        ctx.held = call, rule, write
        return z

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor) -> tuple[Tensor | None, ...]:
        z, *seen = ctx.saved_tensors
        call, rule, write = ctx.held
        arriving = z * multipliers[0]
        with torch.enable_grad():
            inputs = [None if part is None else part.detach().requires_grad_() for part in seen]
            shares = rule.share(call, Inputs(call.a if inputs[0] is None else inputs[0], *inputs[1:]), z, arriving)
            wanted = [part for part in inputs if part is not None]
            found = iter(_gradients(shares, wanted))
        given = [None if part is None else next(found) for part in inputs]
        pairs = [
            (part.detach(), c) for part, c in zip(inputs, given, strict=True) if part is not None and c is not None
        ]
        received, handed = arriving.double().sum(), sum(relevance(part, c) for part, c in pairs)
        kept, lost, rule_lost = (part.double() for part in (shares.bias, shares.epsilon, shares.unsupported))
        write(received=received, handed_on=handed, bias=kept, epsilon=lost, rule=rule_lost)
        return (*given, None, None, None)


def _gradients(shares: Shares, wanted: list[Tensor]) -> Sequence[Tensor]:
    if not shares.parts:  # no relevance arrived
        return [torch.zeros_like(part) for part in wanted]
    return torch.autograd.grad(shares.parts, wanted, shares.multipliers, materialize_grads=True)


def _shared(call: Linear, mark: Mark, rule: Rule, write: Write) -> Tensor:
    out: Tensor = _Shared.apply(call.a, mark.low, mark.high, call, rule, write)  # type: ignore[no-untyped-call]
    return out


class _Seen(torch.autograd.Function):
    """The identity, which says how much relevance passed it on its way back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, say: Callable[[Tensor], None]) -> Tensor:
        ctx.save_for_backward(value)
        ctx.say = say
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor) -> tuple[Tensor, None]:
        ctx.say(relevance(ctx.saved_tensors[0], multipliers[0]))
        return multipliers[0], None


def _seen(value: Tensor, say: Callable[[Tensor], None]) -> Tensor:
    out: Tensor = _Seen.apply(value, say)  # type: ignore[no-untyped-call]
    return out


def _constant(call: Passed) -> float | None:
    """The one constant beside what depends on the input, of a sum or product of two."""
    rest = [part for part in call.args if not (isinstance(part, Tensor) and part.requires_grad)]
    if len(call.args) != 2 or len(rest) != 1 or call.kwargs:
        return None
    values = torch.as_tensor(rest[0])
    return float(values.flatten()[0]) if values.numel() and bool((values == values.flatten()[0]).all()) else None


def _slope(function: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """phi'(v); 0 where it is infinite, as of a square root at 0."""
    at = v.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(at).sum(), at)
    return found.nan_to_num(0.0, 0.0, 0.0)
