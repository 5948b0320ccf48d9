"""FGVis: a mask of single pixels and colours, kept honest at the activations (Wagner et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import RECURRENT, GradientOn
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import family_of
from vidence.attribution.outputs import one_each
from vidence.attribution.own_graph import check_outside_vmap
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with
from vidence.attribution.progress import counted
from vidence.attribution.subject import Subject, led_back
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import ScoreFunction

GATED = {torch.relu, torch.relu_, F.relu, F.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh}
UNGATED = {F.gelu, F.silu, F.leaky_relu, F.elu, F.selu, F.mish, F.softplus, F.hardswish, F.prelu, F.celu, F.rrelu}


@dataclass(frozen=True)
class FGVis(Explainer):
    """1 - m for every pixel and colour, where m minimises  `l1` * sum |m| + score of (m * clip + (1 - m) * fill).

    There is no smoothness: instead a gradient ends at every ReLU whose activation leaves what it was on the clip, so
    that no new evidence is made up. Steps are `rate` * gradient / its largest entry; they end when the predicted class
    changes, or the score falls to that of the hidden clip. `noise` on the clip is the published 0.1 of normalised
    pixels. At GRU, LSTM and RNN the states that the layer returns are gated alike (our extension); inside attention
    nothing is. Autoencoders and networks without ReLU, or with other units, are refused.
    """

    iterations: int = 500
    rate: float = 0.1
    l1: float = -1e-9
    noise: float = 0.0225
    fill: Fill = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse fills that do not exist and steps without length."""
        check_fill(self.fill)
        if self.iterations < 1 or self.rate <= 0 or self.noise < 0:
            raise SpecError("iterations must be at least 1, rate above 0 and noise at least 0.")

    @classmethod
    def quick(cls) -> Self:
        """Four steps."""
        return cls(iterations=4)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip twice, the hidden clip, and a gradient a step, fewer where the class changes before."""
        return Price(self.iterations + 3, self.iterations, at_most=True)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Units need bounds on the clip, which what an autoencoder compares with does not have."""
        if family_of(model) != "reconstruction":
            return None
        return (
            "fgvis needs a network whose units are ReLUs between 0 and what they are on the clip; this is an "
            "autoencoder or predictor. Take meaningful-perturbation or extremal-perturbation."
        )

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` (1, c, t, h, w) is 1 - m; values sum over colours."""
        subject = Subject(model, x, score)
        back = filled_with(x, self.fill, subject.output)
        floor = float(subject.at(back))
        gate = ActivationGate()
        with gate:
            model(x)
        m, generator = torch.ones_like(x), torch.Generator().manual_seed(self.seed)
        for step in counted(range(self.iterations), label="steps of the mask"):
            noise = self.noise * torch.randn(x.shape, generator=generator).to(x)
            asked = m.clone().requires_grad_()
            shown = back + (x - back) * asked
            with gate.again():
                output = model(shown + noise)
            value = led_back(one_each(subject.score(output, shown), 1))
            fallen = float(value.detach()) <= floor < float(subject.whole)
            if step and (fallen or _changed(subject.output, output)):
                break
            gradient = torch.autograd.grad((value + self.l1 * asked.abs().sum()).sum(), asked)[0]
            m = (m - self.rate * gradient / gradient.abs().max().clamp(min=1e-20)).clamp(0, 1)
        return Attributions((1 - m).sum(dim=1).float(), raw=1 - m)


class ActivationGate(GradientOn):
    """Keeps every unit's activation of a first pass; in a later one (`again`), no gradient passes a unit that is not
    between 0 and what it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self._place: int | None = None

    def again(self) -> Self:
        """For the next pass; raises `ExplainError` where the first one met no unit."""
        if not self.kept:
            raise ExplainError(
                "fgvis needs ReLUs, and the model called none. Take meaningful-perturbation or extremal-perturbation."
            )
        self._place = 0
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in UNGATED:
            raise ExplainError(
                f"fgvis needs ReLUs, and the model called {func.__name__}, whose units it has no bounds for. "
                "Take meaningful-perturbation or extremal-perturbation."
            )
        if func in GATED and args:  # a copy: what works in place keeps its result for the way back, and we change it
            copied = args[0].clone()
            out = super().__torch_function__(func, types, (copied, *args[1:]), kwargs)
            gated = self._gated(out)
            return args[0].copy_(gated) if out is copied else gated
        out = super().__torch_function__(func, types, args, kwargs)
        return tuple(self._gated(part) for part in out) if func in RECURRENT else out

    def _gated(self, activation: Tensor) -> Tensor:
        check_outside_vmap(activation)
        if self._place is None:
            self.kept.append(activation.detach())
            return activation
        if self._place >= len(self.kept) or self.kept[self._place].shape != activation.shape:
            raise ExplainError("fgvis needs a model that calls the same units on every clip; this one does not.")
        first = self.kept[self._place]
        self._place += 1
        within = (activation >= first.clamp(max=0)) & (activation <= first.clamp(min=0))
        gated: Tensor = super().__torch_function__(_Gate.apply, (), (activation, within))
        return gated


class _Gate(torch.autograd.Function):
    """The activation as it is; on the way back, nothing where it is not `within`."""

    @staticmethod
    def forward(ctx: Any, activation: Tensor, within: Tensor) -> Tensor:
        ctx.save_for_backward(within)
        return activation.view_as(activation)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (within,) = ctx.saved_tensors
        return gradients[0] * within, None


def _changed(before: Any, after: Any) -> bool:
    """Whether the predicted class is another one, where outputs are logits of several."""
    if not isinstance(before, Tensor) or before.ndim != 2 or before.shape[1] < 2:
        return False
    return int(before.argmax()) != int(after.argmax())
