"""Meaningful perturbation: the smallest deletion that takes the score away (Fong & Vedaldi, ICCV 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.fills import Fill
from vidence.attribution.perturb.optimised import check_mask_fill, descend, enlarged, masked, smoothed, variation
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

SIDE, PIXELS = 28, 224  # the paper's mask, for a picture of this size


@dataclass(frozen=True)
class MeaningfulPerturbation(Explainer):
    """1 - m, where m minimises  share of the score + `l1` * sum(1 - m) + `tv` * sum |grad m|^`power`.

    The share is of what hiding the whole clip takes away. m is one mask of at most 28 x 28 a frame, and sums over it
    are per frame, as means times 28 x 28, so that the authors' weights hold for clips of any length and size; `tv_time`
    weighs the differences between frames. `jitter` is in pixels of 224 and moves the mask over the clip, not both
    together as in the paper: scores that compare with the clip need it in place. `fill`: None is the paper's blur, and
    an autoencoder's own reconstruction: then m says what has to be replaced to make the clip normal.
    """

    iterations: int = 300
    rate: float = 0.1
    l1: float = 1e-4
    tv: float = 1e-2
    tv_time: float = 1e-2
    power: float = 3.0
    jitter: float = 4.0
    fill: Fill | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse fills that do not exist and weights below 0."""
        check_mask_fill(self.fill)
        if (
            self.iterations < 1
            or min(self.l1, self.tv, self.tv_time, self.jitter) < 0
            or min(self.rate, self.power) <= 0
        ):
            raise SpecError(
                "iterations must be at least 1, rate and power above 0, and l1, tv, tv_time and jitter at least 0; got "
                f"{self.iterations}, {self.rate}, {self.power}, {self.l1}, {self.tv}, {self.tv_time} and {self.jitter}."
            )

    @classmethod
    def quick(cls) -> Self:
        """Six steps."""
        return cls(iterations=6)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, the hidden clip, and a gradient a step."""
        return Price(self.iterations + 2, self.iterations)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` (1, t, i, j) is the deletion on its own grid."""
        clip = masked(Subject(model, x, score), self.fill)
        t, h, w = x.shape[2:]
        reach = round(self.jitter * min(h, w) / PIXELS)
        generator = torch.Generator().manual_seed(self.seed)
        moves = torch.randint(-reach, reach + 1, (self.iterations, 2), generator=generator).tolist()
        sigma = 5 * min(h, w) / PIXELS  # the authors blur the enlarged mask once more

        def energy(asked: Tensor, rows: slice, step: int) -> Tensor:
            m = _moved(smoothed(enlarged(asked, h, w), sigma), moves[step], reach)
            rough = self.tv * variation(asked, self.power, self.tv_time / self.tv if self.tv else 0)
            return clip.share(clip.shown(m[:, None])) + SIDE**2 * (self.l1 * (1 - asked).flatten(1).mean(1) + rough)

        m = torch.ones(1, t, min(SIDE, h), min(SIDE, w), device=x.device)
        adam = torch.optim.Adam([m], lr=self.rate)
        descend(m, energy, adam, iterations=self.iterations, at_once=1, label="steps of the mask")
        values = 1 - smoothed(enlarged(m, h, w), sigma).detach()
        return Attributions(values.float(), raw=1 - m.detach(), certificate=Certificate(flags=clip.flags))


def _moved(masks: Float[Tensor, "v t h w"], move: list[int], reach: int) -> Float[Tensor, "v t h w"]:
    """Masks moved (down, right) by up to `reach` pixels, edges repeated."""
    h, w = masks.shape[2:]
    down, right = (reach - step for step in move)
    return F.pad(masks, (reach,) * 4, mode="replicate")[:, :, down : down + h, right : right + w]
