"""Extremal perturbation: which region of a given size keeps, or takes away, most of the score.

Fong, Patrick & Vedaldi, ICCV 2019; for video EP-3D and STEP, Li et al., WACV 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import family_of
from vidence.attribution.perturb.area_losses import area_loss, core_loss, ellipsoid
from vidence.attribution.perturb.fills import Fill
from vidence.attribution.perturb.optimised import check_mask_fill, descend, masked, smoothed
from vidence.attribution.perturb.smooth_max import SmoothMax
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

PIXELS = 112  # the side that the papers' sizes are given for
WEIGHT = 300.0  # of the area's and of the core's squares, in shares of the score


@dataclass(frozen=True)
class ExtremalPerturbation(Explainer):
    """Sum over `areas` of the mask of that area whose region alone keeps most of the score ('preserve'), whose deletion
    takes most of it ('delete'), or both ('dual'). `mode` None: preserve, and delete for autoencoders.

    `variant`: '2d' gives every frame the same area, '3d' lets the area go where it counts, in time too, and 'step'
    adds the core loss, which makes regions hold together in space and time over `core` frames. The reward is the score
    in shares of |score of the clip - score of the hidden clip|, not -log p: it then means the same for logits and
    errors. Sizes are the papers' at 112 pixels and follow the clip's shorter side. `fill`: None is the pyramid of
    eight blurs, and for autoencoders their own reconstruction; any other fill is faded to.
    """

    variant: Literal["2d", "3d", "step"] = "step"
    mode: Literal["preserve", "delete", "dual"] | None = None
    areas: tuple[float, ...] = (0.05, 0.1, 0.15, 0.5)
    iterations: int = 1000
    rate: float = 0.05
    growth: float = 2 ** (1 / 800)
    sigma: float = 11.0
    step: float = 7.0
    core: int = 5
    core_from: int = 100
    fill: Fill | None = None
    chunk: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown variants and modes, areas outside (0, 1) and sizes without content."""
        check_mask_fill(self.fill)
        if self.variant not in ("2d", "3d", "step") or self.mode not in (None, "preserve", "delete", "dual"):
            raise SpecError(
                "variant must be '2d', '3d' or 'step', and mode 'preserve', 'delete' or 'dual'; got "
                f"{self.variant!r} and {self.mode!r}."
            )
        if not self.areas or min(self.areas) <= 0 or max(self.areas) >= 1:
            raise SpecError(f"areas must be shares of the clip between 0 and 1; got {self.areas}.")
        if min(self.sigma, self.step, self.rate, self.growth) <= 0 or min(self.core, self.iterations) < 1:
            raise SpecError("sigma, step, rate and growth must be above 0, core and iterations at least 1.")

    @classmethod
    def quick(cls) -> Self:
        """Four large steps for two areas."""
        return cls(areas=(0.1, 0.3), iterations=4, rate=0.3, core_from=2)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, the hidden clip, and a gradient for each area at every step, two for 'dual'."""
        passes = self.iterations * len(self.areas) * (2 if self.mode == "dual" else 1)
        return Price(passes + 2, passes)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` (1, areas, t, h, w) holds the masks."""
        mode = self.mode or ("delete" if family_of(model) == "reconstruction" else "preserve")
        clip = masked(Subject(model, x, score, chunk=self.chunk), self.fill, pyramid=True)
        t, h, w = x.shape[2:]
        scale = min(h, w) / PIXELS
        maker = SmoothMax(h, w, max(1, round(self.step * scale)), max(1.0, self.sigma * scale))
        kernel = ellipsoid(min(self.core, t), max(1, round(11 * scale))).to(x.device)
        shown = {"preserve": (1,), "delete": (0,), "dual": (1, 0)}[mode]

        def energy(asked: Tensor, rows: slice, step: int) -> Tensor:
            padded = maker.padded(asked)
            m = maker.inner(padded)[:, None]
            clips = torch.cat([m if keeps else 1 - m for keeps in shown])
            shares = clip.share(clip.shown(clips)).view(len(shown), -1)
            reward = torch.stack([part if keeps else -part for keeps, part in zip(shown, shares, strict=True)]).mean(
                dim=0
            )
            return self._area_and_core(padded, rows, step, kernel) - reward

        values = torch.ones(len(self.areas), t, *maker.grid, device=x.device)
        sgd = torch.optim.SGD([values], lr=self.rate, momentum=0.9, dampening=0.9)
        descend(
            values,
            energy,
            sgd,
            iterations=self.iterations,
            at_once=clip.at_once(len(shown)),
            label="steps of the masks",
        )
        with torch.no_grad():
            masks = maker.inner(maker.padded(values))
        total = smoothed(masks.sum(dim=0, keepdim=True), 10 * scale)
        return Attributions(total.float(), raw=masks[None], certificate=Certificate(flags=clip.flags))

    def _area_and_core(
        self, padded: Float[Tensor, "v t a b"], rows: slice, step: int, kernel: Float[Tensor, "k s s"]
    ) -> Float[Tensor, " v"]:
        areas, by_frame = torch.tensor(self.areas, device=padded.device)[rows], self.variant == "2d"
        chance = torch.Generator().manual_seed(self.seed * self.iterations + step)
        order = torch.randperm(padded[0, 0 if by_frame else slice(None)].numel(), generator=chance).to(padded.device)
        loss = self.growth**step * area_loss(padded, areas, by_frame=by_frame, order=order)
        if self.variant == "step" and step >= self.core_from:
            loss = loss + core_loss(padded, areas, kernel)
        return WEIGHT * loss
