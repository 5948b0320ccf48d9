"""Gradients with another rule at every ReLU: pictures that are sharp, and say little about the decision.

A rectifier is a call site: functions are replaced as they are called, so that activation modules used twice, in-place
ones and plain functions are all seen, and the model keeps its modules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import GradientOn
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.gradient import FLAT, Reduction, check_reduction, pixel_gradient, reduced
from vidence.errors import ExplainError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

# rectifier -> the names of its arguments after the first, and the values of those that it hides or defaults to
RECTIFIERS: dict[Callable[..., Any], tuple[tuple[str, ...], dict[str, Any]]] = {
    torch.relu: ((), {"min": 0}),
    torch.relu_: ((), {"min": 0, "inplace": True}),
    Tensor.relu: ((), {"min": 0}),
    Tensor.relu_: ((), {"min": 0, "inplace": True}),
    F.relu: (("inplace",), {"min": 0}),
    F.relu6: (("inplace",), {"min": 0, "max": 6}),
    F.hardtanh: (("min", "max", "inplace"), {"min": -1.0, "max": 1.0}),
    F.hardtanh_: (("min", "max"), {"min": -1.0, "max": 1.0, "inplace": True}),
    F.leaky_relu: (("slope", "inplace"), {"min": 0, "slope": 0.01}),
    F.leaky_relu_: (("slope",), {"min": 0, "slope": 0.01, "inplace": True}),
    torch.clamp_min: (("min",), {}),
    torch.clamp_min_: (("min",), {"inplace": True}),
    Tensor.clamp_min: (("min",), {}),
    Tensor.clamp_min_: (("min",), {"inplace": True}),
    torch.clamp: (("min", "max"), {}),
    torch.clamp_: (("min", "max"), {"inplace": True}),
    Tensor.clamp: (("min", "max"), {}),
    Tensor.clamp_: (("min", "max"), {"inplace": True}),
    torch.clip: (("min", "max"), {}),
    torch.clip_: (("min", "max"), {"inplace": True}),
    Tensor.clip: (("min", "max"), {}),
    Tensor.clip_: (("min", "max"), {"inplace": True}),
}
SPELLED = {"negative_slope": "slope", "min_val": "min", "max_val": "max"}
Rule = Callable[[Tensor, Tensor], Tensor]  # (slope of the rectifier where it was, incoming signal) -> outgoing signal


class _Rectified(torch.autograd.Function):
    """A rectifier with its own way back."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, top: float | None, slope: float, inplace: bool, rule: Rule) -> Tensor:
        """max(x, slope x), cut at `top`."""
        held = before.detach()  # another mode may have switched gradients on, even in here
        on = held > 0
        passing = on if top is None else on & (held < top)
        ctx.rule = rule
        ctx.save_for_backward(torch.where(passing, 1.0, torch.where(on, 0.0, slope)).to(held))
        after = torch.where(on, held if top is None else held.clamp(max=top), slope * held)
        if not inplace:
            return after
        held.copy_(after)
        ctx.mark_dirty(before)
        return before

    @staticmethod
    def backward(ctx: Any, *signals: Any) -> Any:
        """The rule's, with the slope that the rectifier had at its input."""
        (gate,) = ctx.saved_tensors
        return ctx.rule(gate, signals[0]), None, None, None, None


class RectifierCalls(GradientOn):
    """Sends the backward signal of every rectifier through `rule`; `seen` and `leaky` count them."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.seen, self.leaky = 0, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = _rectifier(func, args, kwargs or {}) if func in RECTIFIERS else None
        if given is None:
            return super().__torch_function__(func, types, args, kwargs)
        self.seen += 1
        self.leaky += given["slope"] != 0
        before = args[0] if args else (kwargs or {})["input"]
        values = (before, given["max"], given["slope"], given["inplace"], self.rule)
        return super().__torch_function__(_Rectified.apply, types, values)


def _rectifier(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Top, slope and in-place of a call, or None where it does not cut at zero (or at a tensor)."""
    names, known = RECTIFIERS[func]
    given = {"min": None, "max": None, "slope": 0.0, "inplace": False, **known}
    given.update(zip(names, args[1:], strict=False))
    given.update({SPELLED.get(name, name): value for name, value in kwargs.items() if name != "input"})
    cuts = isinstance(given["min"], int | float) and given["min"] == 0
    return given if cuts and not isinstance(given["max"], Tensor) and "out" not in given else None


@dataclass(frozen=True)
class _Rectifying(Explainer, ABC):
    """A gradient whose signal follows another rule at each ReLU (also clamped, capped at 6, leaky, in place).

    Other activations, attention and the gates of recurrent layers pass the ordinary gradient. Refused where no ReLU is
    called, as of a transformer whose units are GELUs. The picture hardly depends on the upper layers' weights (Adebayo
    et al., NeurIPS 2018): every certificate says that it is not faithful to the decision.
    """

    channels: Reduction = "sum"
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse an unknown reduction."""
        check_reduction(self.channels)

    @staticmethod
    @abstractmethod
    def rule(gate: Tensor, signal: Tensor) -> Tensor:
        """What goes on below a rectifier that had the slope `gate`."""

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward and one full backward pass. `raw` is (1, c, t, h, w)."""
        calls = RectifierCalls(self.rule)

        def called(rows: Tensor) -> Any:
            with calls:  # a score's own clamping is no unit of the model
                return model(rows)

        raw, _ = pixel_gradient(called, x, score)
        if not calls.seen:
            raise ExplainError(
                f"{self.name} needs a ReLU, and the model called none (GELU has no such rule): take gradient or "
                "integrated-gradients."
            )
        flags = ["not decision-faithful: a picture of what edges there are more than of why the model decided"]
        if calls.leaky:
            flags.append(f"{calls.leaky} of {calls.seen} rectifiers are leaky: the rule for them is our extension")
        if not raw.any():
            flags.append(FLAT)
        values = reduced(raw, self.channels).float()
        return Attributions(values, raw=raw, certificate=Certificate(flags=tuple(flags)))


@dataclass(frozen=True)
class GuidedBackprop(_Rectifying):
    """Positive signals through units that were on (Springenberg et al., ICLR workshop 2015); leaky units by slope."""

    name: ClassVar[str] = "guided-backprop"

    @staticmethod
    def rule(gate: Tensor, signal: Tensor) -> Tensor:
        """1[f > 0] 1[R > 0] R."""
        return gate * signal.clamp(min=0)


@dataclass(frozen=True)
class DeconvNet(_Rectifying):
    """Positive signals through every unit, on or off (Zeiler and Fergus, ECCV 2014)."""

    name: ClassVar[str] = "deconvnet"

    @staticmethod
    def rule(gate: Tensor, signal: Tensor) -> Tensor:
        """1[R > 0] R."""
        return signal.clamp(min=0)
