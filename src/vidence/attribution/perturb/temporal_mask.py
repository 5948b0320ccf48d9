"""A mask over time alone: which frames the score needs in motion, or in order (Manttari et al., ACCV 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.hidden_frames import hidden_runs
from vidence.attribution.perturb.optimised import FAINT, descend, variation
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

MASKED = 0.1  # from here on a frame belongs to a span that is played backwards
ENOUGH = 0.9  # of the largest fall found: the shortest window that reaches it is the start


@dataclass(frozen=True)
class TemporalMask(Explainer):
    """m (t,) that minimises  share of the score + `l1` * sum m + `tv` * sum |m_t - m_t-1|^`power`, over time alone.

    `perturb='freeze'`: a masked frame shows the last one that is kept; what happens in the very first frame stays, and
    no mask finds it. 'reverse': masked spans are played backwards, which only a model that minds the order notices. The
    share is of the largest fall over windows of 1, 2, 4, ... frames, of which the shortest that falls almost as far
    is the start. No colour or blur is invented, so that nothing in the clip is unnatural. A single image is refused.
    """

    perturb: Literal["freeze", "reverse"] = "freeze"
    iterations: int = 300
    rate: float = 0.02
    l1: float = 0.01
    tv: float = 0.02
    power: float = 3.0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse unknown perturbations and weights below 0."""
        if self.perturb not in ("freeze", "reverse"):
            raise SpecError(f"perturb must be 'freeze' or 'reverse'; got {self.perturb!r}.")
        if self.iterations < 1 or min(self.rate, self.power) <= 0 or min(self.l1, self.tv) < 0:
            raise SpecError("iterations must be at least 1, rate and power above 0, l1 and tv at least 0.")

    @classmethod
    def quick(cls) -> Self:
        """Five steps."""
        return cls(iterations=5)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, the windows of the scan, a gradient a step, and the clip under the mask."""
        return Price(2 + len(_windows(t)) + self.iterations, self.iterations)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """An image has no time."""
        if x.shape[2] < 2:
            return "temporal-mask needs at least two frames: an image has no time. Take extremal-perturbation."
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values (1, t, 1, 1) sum to what the mask takes from the score, in proportion to `extra['mask']` (1, t);
        `extra['start']` (1, t) is the window that was begun with.
        """
        subject = Subject(model, x, score, chunk=self.chunk)
        windows = _windows(x.shape[2]).to(x)
        scores = subject.scores(
            lambda first, last: self.shown(x, windows[first:last]), len(windows), label="windows masked"
        )
        falls = subject.whole - scores
        most, faint = float(falls.max()), FAINT * float(subject.whole.abs())
        unit = most if most > faint else max(faint, float(falls.abs().max())) or 1.0
        start = windows[int((falls >= min(most, ENOUGH * most)).to(torch.uint8).argmax())]

        best, lowest = start[None], torch.full((1,), torch.inf, device=x.device)

        def energy(asked: Tensor, rows: slice, step: int) -> Tensor:
            nonlocal best, lowest
            share = (subject.steering(self.shown(x, asked)) - subject.whole + unit) / unit
            jumps = (asked.shape[1] - 1) * variation(asked[:, :, None, None], self.power, 1.0)
            total = share + self.l1 * asked.sum(dim=1) + self.tv * jumps
            if bool(total < lowest):  # a span that breaks changes the score at a stroke: the last mask may be no good
                best, lowest = asked.detach(), total.detach()
            return total

        mask = (0.05 + 0.9 * start)[None].clone()  # off the bounds, where each frame can go both ways
        adam = torch.optim.Adam([mask], lr=self.rate)
        descend(mask, energy, adam, iterations=self.iterations, at_once=1, label="steps of the mask")
        flags = () if most > faint else (f"no window lowers the score under {self.perturb}: the mask says little",)
        found = best.float()
        fall = (subject.whole - subject.at(self.shown(x, best))).float()
        values = fall[:, None] * found / found.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return Attributions(
            values[:, :, None, None],
            certificate=Certificate(flags=flags),
            extra={"mask": found, "start": start[None]},
        )

    def shown(self, x: Float[Tensor, "1 c t h w"], mask: Float[Tensor, "v t"]) -> Float[Tensor, "v c t h w"]:
        """The clip under each mask."""
        if self.perturb == "freeze":
            return torch.einsum("vts,cshw->vcthw", frozen_frames(mask), x[0])
        other = x[0][:, reversed_spans(mask.detach() >= MASKED)].transpose(0, 1)  # (v, c, t, h, w)
        return x + (other - x) * mask[:, None, :, None, None]


def frozen_frames(mask: Float[Tensor, "v t"]) -> Float[Tensor, "v t t"]:
    """How much of frame s each frame t shows: y_t = (1 - m_t) x_t + m_t y_t-1, with y_0 = x_0."""
    t = mask.shape[1]
    place = torch.arange(t, device=mask.device)
    kept = torch.where(place == 0, torch.ones_like(mask), 1 - mask)
    between = (place[None, None] > place[None, :, None]) & (place[None, None] <= place[:, None, None])  # (t, s, r)
    held = torch.where(between, mask[:, None, None], 1.0).prod(dim=3)  # frames after s, up to t
    return held * kept[:, None] * (place[None] <= place[:, None])


def reversed_spans(inside: Tensor) -> Int[Tensor, "v t"]:
    """Which frame each place shows when every run of True is played backwards."""
    t = inside.shape[1]
    place = torch.arange(t, device=inside.device).expand_as(inside)
    before = torch.where(inside, -1, place).cummax(dim=1).values
    after = torch.where(inside, t, place).flip(1).cummin(dim=1).values.flip(1)
    return torch.where(inside, before + after - place, place)


def _windows(t: int) -> Tensor:
    """Runs of 1, 2, 4, ... frames, half a length apart, shortest first; True is masked."""
    return hidden_runs(t, overlap=2)
