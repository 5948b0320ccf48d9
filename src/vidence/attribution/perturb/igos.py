"""I-GOS and I-GOS++: a mask steps along gradients integrated from the clip that it hides wholly.

Qi, Khorram & Fuxin, AAAI 2020; Khorram, Lawson & Fuxin, CHIL 2021.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import ceil, log
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.fills import Fill
from vidence.attribution.perturb.optimised import MaskedClip, check_mask_fill, enlarged, masked, variation
from vidence.attribution.progress import counted
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

ARMIJO, SHRINK, LEAST = 1e-4, 0.2, 1e-5  # share of the promised decrease, of a step that failed, and the last step
SIDE = 28


@dataclass(frozen=True)
class _MaskSearch(Explainer):
    """Descent with line search on masks that keep where they are 1, at most 28 x 28 a frame."""

    masks: ClassVar[int]  # how many are optimised: their product is explained
    terms: ClassVar[int]  # clips shown at each point of the path
    first_step: ClassVar[float]

    iterations: int = 20
    points: int = 20
    l1: float = 1.0
    tv: float = 20.0
    tv_time: float = 20.0
    noise: float = 0.045
    fill: Fill | None = None
    chunk: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse fills that do not exist, empty paths and weights below 0."""
        check_mask_fill(self.fill)
        if min(self.iterations, self.points) < 1 or min(self.l1, self.tv, self.tv_time, self.noise) < 0:
            raise SpecError("iterations and points must be at least 1, l1, tv, tv_time and noise at least 0.")

    @classmethod
    def quick(cls) -> Self:
        """Two steps along paths of three points."""
        return cls(iterations=2, points=3)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """A path of gradients a step, then the mask as it is and every length that the line search may try."""
        path, tries = self.points * self.terms, ceil(log(LEAST / self.first_step) / log(SHRINK))
        return Price(2 + self.iterations * (path + self.terms * (1 + tries)), self.iterations * path, at_most=True)

    @abstractmethod
    def shown(self, masks: Float[Tensor, "m t h w"], part: Tensor) -> tuple[Float[Tensor, "p terms t h w"], Tensor]:
        """Masks of the clips to look at where `part` (p,) of the way is gone, and the sign of each in the loss."""

    @abstractmethod
    def rough(self, masks: Float[Tensor, "m t i j"], x: Float[Tensor, "1 c t h w"], at: float) -> Float[Tensor, ""]:
        """What the masks pay for their size and roughness when `at` of all steps are done."""

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` (1, masks, t, i, j) is what each mask hides; `extra['loss']` (1, steps, 2) before and after each."""
        clip = masked(Subject(model, x, score, chunk=self.chunk), self.fill)
        t, h, w = x.shape[2:]
        masks = torch.ones(self.masks, t, min(SIDE, h), min(SIDE, w), device=x.device)
        generator = torch.Generator().manual_seed(self.seed)
        losses = []
        for step in counted(range(self.iterations), label="steps of the mask"):
            noise = self.noise * torch.randn(x.shape, generator=generator).to(x)
            at = step / self.iterations
            masks, before, after = self._stepped(clip, masks, noise, at)
            losses.append((before, after))
        hidden = 1 - enlarged(masks.prod(dim=0, keepdim=True), h, w)
        return Attributions(
            hidden.float(),
            raw=1 - masks[None],
            certificate=Certificate(flags=clip.flags),
            extra={"loss": torch.tensor([losses])},
        )

    def _stepped(self, clip: MaskedClip, masks: Tensor, noise: Tensor, at: float) -> tuple[Tensor, float, float]:
        """The masks after one step, and the loss that was accepted, before and after."""
        downhill = self._gradient(clip, masks, noise, at)
        before, length = self._loss(clip, masks, at), self.first_step
        while length > LEAST:
            tried = (masks - length * downhill).clamp(0, 1)
            after = self._loss(clip, tried, at)
            if after <= before - ARMIJO * float((downhill * (masks - tried)).sum()):
                return tried, before, after
            length *= SHRINK
        return masks, before, before

    def _gradient(self, clip: MaskedClip, masks: Tensor, noise: Tensor, at: float) -> Tensor:
        """Of the loss averaged over the path, with noise on what is seen."""
        asked = masks.detach().clone().requires_grad_()
        found = torch.autograd.grad(self.rough(asked, clip.subject.x, at), asked)[0]
        parts = torch.arange(1, self.points + 1, device=masks.device) / self.points
        for some in torch.split(parts, clip.at_once(self.terms)):
            total = self._shares(clip, asked, some, noise).sum() / self.points
            found = found + torch.autograd.grad(total, asked)[0]
        return found

    def _loss(self, clip: MaskedClip, masks: Tensor, at: float) -> float:
        """The loss at the end of the path, without noise: what a step is accepted for."""
        with torch.no_grad():
            share = self._shares(clip, masks, torch.ones(1, device=masks.device), None).sum()
            return float(share + self.rough(masks, clip.subject.x, at))

    def _shares(self, clip: MaskedClip, masks: Tensor, parts: Tensor, noise: Tensor | None) -> Float[Tensor, " p"]:
        h, w = clip.subject.x.shape[3:]
        seen, signs = self.shown(enlarged(masks, h, w), parts)
        rows = clip.shown(seen.flatten(0, 1)[:, None])
        if noise is not None:
            rows = rows + noise
        shares = clip.share(rows).view(len(parts), -1)
        return shares @ signs.to(shares)


@dataclass(frozen=True)
class IGOS(_MaskSearch):
    """1 - m, where m minimises  share of the score + `l1` * mean(1 - m) + `tv` * mean |grad m|^2.

    The gradient is averaged over `points` between the hidden clip and the mask, with `noise` on the clip (the paper's
    0.2 of normalised pixels); a step is taken only where it lowers the loss itself. `l1` falls to a tenth after half
    of the steps, and to a fiftieth after 80 %. `fill`: None is the paper's blur, for autoencoders what they expected.
    """

    masks: ClassVar[int] = 1
    terms: ClassVar[int] = 1
    first_step: ClassVar[float] = 8.0

    def shown(self, masks: Float[Tensor, "m t h w"], part: Tensor) -> tuple[Float[Tensor, "p terms t h w"], Tensor]:
        """The clip less what is deleted."""
        return part[:, None, None, None, None] * masks, masks.new_ones(1)

    def rough(self, masks: Float[Tensor, "m t i j"], x: Float[Tensor, "1 c t h w"], at: float) -> Float[Tensor, ""]:
        """Size and total variation."""
        l1 = self.l1 * (1 if at < 0.5 else 0.1 if at < 0.8 else 0.02)
        tv = self.tv * variation(masks, 2, self.tv_time / self.tv if self.tv else 0)
        return l1 * (1 - masks).mean() + tv[0]


@dataclass(frozen=True)
class IGOSPlusPlus(_MaskSearch):
    """Two masks, one that deletes and one that leaves what it inserts, whose product does both; positive = what the
    product hides. The roughness is bilateral: a step of the mask at an edge of the picture costs little.
    """

    masks: ClassVar[int] = 2
    terms: ClassVar[int] = 4
    first_step: ClassVar[float] = 1000.0
    edge: ClassVar[float] = 0.01

    def shown(self, masks: Float[Tensor, "m t h w"], part: Tensor) -> tuple[Float[Tensor, "p terms t h w"], Tensor]:
        """The clip without, and the hidden clip with, what each mask and their product take."""
        parts = part[:, None, None, None, None]
        product = masks.prod(dim=0, keepdim=True)
        out, into = parts * torch.cat([masks[:1], product]), 1 - parts * torch.cat([masks[1:], product])
        return torch.cat([out, into], dim=1), masks.new_tensor([1.0, 1.0, -1.0, -1.0])

    def rough(self, masks: Float[Tensor, "m t i j"], x: Float[Tensor, "1 c t h w"], at: float) -> Float[Tensor, ""]:
        """Size and bilateral variation of the product."""
        product = masks.prod(dim=0, keepdim=True)
        picture = enlarged(x[0].mean(dim=0, keepdim=True), *masks.shape[2:])
        down, across = (torch.exp(-(picture.diff(dim=axis) / self.edge).square()) for axis in (2, 3))
        tv = self.tv * variation(product, 2, self.tv_time / self.tv if self.tv else 0, (down, across))
        return self.l1 * (1 - product).mean() + tv[0]
