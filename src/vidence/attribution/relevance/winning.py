"""Excitation backprop as a mode: the probability that a unit wins, shared out among what excites it.

A unit hands its probability to its inputs in proportion to a w+, a >= 0 (Zhang et al., IJCV 2018; in 3-D and in time:
Bargal et al., CVPR 2018). It is carried as the multiplier p / a, so that views, pooling and joins need no rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidence.attribution.outputs import exchanged
from vidence.attribution.relevance.attributed import attributed, in_proportion, pulled
from vidence.attribution.relevance.conservation import Accounts
from vidence.attribution.relevance.operations import GATES, canonical
from vidence.attribution.relevance.propagation import (
    Elementwise,
    Extremum,
    Linear,
    Passed,
    Product,
    Propagation,
    tensors_in,
)
from vidence.attribution.relevance.recurrences import RECURRENT
from vidence.attribution.relevance.released import ReleasedLayer, released_layers, run_released
from vidence.errors import ExplainError

MIXING = {
    "add", "sub", "mul", "div", "neg", "sum", "mean", "nansum", "nanmean", "cumsum", "diff", "interpolate", "upsample",
    "upsample_bilinear", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
}  # fmt: skip
SIGNED = 1e-6  # of the largest size: what lies below zero by no more than rounding


class Winning(Propagation):
    """The pass on the clip. `seeds` says where probability starts: at the last linear call, the classifier.

    Gates are held. Signed states of a recurrent layer count by their positive part, and `signed` says that there were
    any; other signed activations are refused. `contrastive`: at the classifier's input what its negated weights would
    have given is taken away, and the difference goes on. `released`:
    recurrent layers as in the published code of Bargal et al. (released.py).
    """

    method: ClassVar[str] = "excitation-backprop"
    instead: ClassVar[str] = "lrp"

    def __init__(self, model: nn.Module, *, contrastive: bool = False, released: bool = False) -> None:
        super().__init__(model)
        self.released, self.recurs = released, False
        self.contrastive = contrastive
        self.accounts = Accounts()
        self.signed = False
        self._results: dict[int, Tensor] = {}  # results by place
        self._starts: set[int] = set()  # places of the classifier's calls
        self._above = True  # whether the score is being differentiated down to the classifier
        self._kinds: dict[int, tuple[Tensor, str]] = {}  # a gate, or a state
        self._supports: dict[int, tuple[Tensor, Tensor]] = {}  # of sums: what is positive among the addends
        self._recurrent = 0

    def restart(self) -> None:
        """Forget what was called: the model runs again."""
        self._results, self._kinds, self._supports = {}, {}, {}

    def starts(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's outputs, end to end, and the probability of each, in all 1.

        They are the linear results that the score is made of without another linear operation between. Raises
        `ExplainError` where the score falls with one of them, as in contrasts and softmax probabilities.
        """
        outs = list(self._results.values())
        if not outs:
            raise ExplainError(
                "excitation-backprop needs a score that a linear operation leads to; this one has none. Take lrp."
            )
        found = torch.autograd.grad(total, outs, retain_graph=True, allow_unused=True)
        self._above = False
        heads = {place: part for place, part in zip(self._results, found, strict=True) if part is not None}
        self._starts = {place for place, part in heads.items() if part.any()}
        values = torch.cat([self._results[place].flatten() for place in heads])
        given = torch.cat([part.flatten() for part in heads.values()])
        if (given < 0).any():
            raise ExplainError(
                "excitation-backprop starts at what a score rises with, and this one falls with some outputs. "
                "Take logit, with contrastive=True for 'why no other class'."
            )
        return values, given / given.sum() if given.any() else given

    def linear(self, call: Linear) -> Tensor:
        """In proportion to a w+."""
        self._check(call)
        out = attributed(lambda a: replace(call, a=a).value(), (call.a,), partial(self._shared, call))
        self._results[call.place] = out
        self._support(out, call.function(call.a.detach().clamp(min=0), call.weight.clamp(min=0)))
        return out

    def elementwise(self, call: Elementwise) -> Tensor:
        """All of it passes; a gate's is for a product to say."""
        out = attributed(call.function, (call.v,), partial(self._through, call))
        return self._mark(out, "gate") if call.name in GATES or self._kind(call.v) == "gate" else out

    def product(self, call: Product) -> Tensor:
        """All to the signal that a gate lets through."""
        gates = self._kind(call.a) == "gate", self._kind(call.b) == "gate"
        if not any(gates):
            raise ExplainError(
                f"excitation-backprop has no rule for a product of two signals, as after {self.layer}. Take lrp."
            )
        out = attributed(call.function, (call.a, call.b), partial(self._let_through, call, gates))
        if all(gates):
            return self._mark(out, "gate")
        held = self._supports.get(id(call.b if gates[0] else call.a))
        if held is not None:
            pair = (call.a.detach(), held[1]) if gates[0] else (held[1], call.b.detach())
            self._support(out, call.function(*pair))
        return self._mark(out, "state")

    def extremum(self, call: Extremum) -> Any:
        """The winner takes all."""
        return self._mark(call.function(call.a), self._kind(call.a))

    def softmax(self, call: Elementwise, parts: Callable[[], Tensor]) -> Tensor:
        """A score's own gradient, or the weights of a mean."""
        return self._mark(call.function(call.v), "gate")

    def passed(self, call: Passed) -> Any:
        """Sums and means share out in proportion to what is positive; views and joins hand on as they are."""
        tracked = list(tensors_in((call.args, call.kwargs), tracked=True))
        kinds = {self._kind(part) for part in tracked}
        signals = tuple(part for part in tracked if self._kind(part) != "gate") or tuple(tracked)
        out = self._mixed(call, signals) if call.name in MIXING and kinds != {"gate"} else call.value()
        supports = [self._supports.get(id(part)) for part in tracked]
        if call.name not in ("sub", "neg", "mul", "div") and all(part is not None for part in supports):
            held = {id(part[0]): part[1] for part in supports if part is not None}
            self._support(out, call.function(*exchanged(call.args, held), **exchanged(call.kwargs, held)))
        return self._mark(out, kinds.pop() if len(kinds) == 1 else "state" if "state" in kinds else None)

    def answer(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call of torch returns; recurrent layers are told apart."""
        name = canonical(func)[0]
        if name not in RECURRENT:
            return super().answer(func, args, kwargs)
        if self.released and self.now(args[0]).requires_grad:
            self.recurs = True
            with torch.enable_grad():
                x = self.now(args[0])
                return run_released(released_layers(name, x, *args[1:], **kwargs), x, self._hand)
        self._recurrent += 1
        try:
            found = super().answer(func, args, kwargs)
        finally:
            self._recurrent -= 1
        return self._mark(found, "state")

    def _hand(self, layer: ReleasedLayer, frames: Tensor) -> Tensor:
        """A recurrent layer as the published code has it."""
        self.enter(layer.weights[0])
        write = self.accounts.open(self.layer)

        def share(given: Tensor) -> tuple[Tensor | None]:
            if self._above:
                return (None,)
            seen = frames.detach()
            arriving = layer.run(seen)[0] * given
            found = layer.share(seen, arriving)
            mass, handed = arriving.double().sum(), (found * seen).double().sum()
            write(received=mass, handed_on=handed, rule=mass - handed)
            return (found,)

        return attributed(lambda a: layer.run(a)[0], (frames,), share)

    def _shared(self, call: Linear, given: Tensor) -> tuple[Tensor | None]:
        if self._above:
            return (None,)
        a = call.a.detach()
        start = call.place in self._starts
        arriving = given if start else _finite(call.value().detach() * given)
        positive = a.clamp(min=0)
        found = in_proportion(lambda part: call.function(part, call.weight.clamp(min=0)), positive, arriving)
        if start and self.contrastive:
            found = found - in_proportion(
                lambda part: call.function(part, (-call.weight).clamp(min=0)), positive, arriving
            )
        mass, handed = arriving.double().sum(), (found * positive).double().sum()
        self.accounts.open(call.layer)(received=mass, handed_on=handed, rule=mass - handed)
        return (found,)

    def _through(self, call: Elementwise, given: Tensor) -> tuple[Tensor, ...]:
        v = call.v.detach()
        if self._above:
            return pulled(call.function, (v,), given)
        return (_finite(given * call.function(v) / v),)

    def _let_through(self, call: Product, gates: tuple[bool, bool], given: Tensor) -> tuple[Tensor | None, ...]:
        a, b = call.a.detach(), call.b.detach()
        signal = b if gates[0] else a

        def function(part: Tensor) -> Tensor:
            return call.function(*((a, part) if gates[0] else (part, b)))

        if self._above or call.name == "mul":  # value by value
            (found,) = pulled(function, (signal,), given)
        else:  # a sum over places
            found = in_proportion(function, signal.clamp(min=0), _finite(function(signal) * given))
        return (None, found) if gates[0] else (found, None)

    def _mixed(self, call: Passed, signals: tuple[Tensor, ...]) -> Tensor:
        """A sum of signals; constants and gates beside them are no signal."""

        def value(*parts: Tensor) -> Tensor:
            held = {id(old): new for old, new in zip(signals, parts, strict=True)}
            found: Tensor = call.function(*exchanged(call.args, held), **exchanged(call.kwargs, held))
            return found

        return attributed(value, signals, partial(self._split, call, value, signals))

    def _split(
        self, call: Passed, value: Callable[..., Tensor], signals: tuple[Tensor, ...], given: Tensor
    ) -> tuple[Tensor, ...]:
        held = tuple(part.detach() for part in signals)
        if self._above:
            return pulled(value, held, given)
        constant = value(*(torch.zeros_like(part) for part in held))
        slopes = pulled(value, held, torch.ones_like(constant))
        supports = tuple(
            self._supports[id(part)][1]
            if id(part) in self._supports and (slope >= 0).all()
            else torch.where(seen * slope > 0, seen, 0)
            for part, seen, slope in zip(signals, held, slopes, strict=True)
        )
        arriving = _finite(value(*held) * given)
        total = value(*supports) - constant
        supported = torch.where(total > 0, arriving, 0)
        self.accounts.open(call.layer)(rule=(arriving - supported).double().sum())
        shares = pulled(value, supports, _finite(supported / total))
        return tuple(_finite(c * s / seen) for c, s, seen in zip(shares, supports, held, strict=True))

    def _check(self, call: Linear) -> None:
        """Raise `ExplainError` for signed activations that are no states of a recurrent layer."""
        a = call.a.detach()
        if not (a < -SIGNED * a.abs().amax()).any():
            return
        if not self._recurrent and self._kind(call.a) != "state":
            raise ExplainError(
                f"excitation-backprop needs activations that are never negative, as after a ReLU; {call.layer} gets "
                "some that are. Take lrp."
            )
        self.signed = True

    def _kind(self, tensor: Tensor) -> str | None:
        return self._kinds[id(tensor)][1] if id(tensor) in self._kinds else None

    def _mark(self, out: Any, kind: str | None) -> Any:
        if kind:
            self._kinds.update((id(part), (part, kind)) for part in tensors_in(out, tracked=True))
        return out

    def _support(self, out: Any, support: Any) -> None:
        if isinstance(out, Tensor):
            self._supports[id(out)] = (out, support.detach())
        else:
            for part, own in zip(out, support, strict=True):
                self._support(part, own)


def _finite(value: Tensor) -> Tensor:
    return value.nan_to_num(0.0, 0.0, 0.0)
