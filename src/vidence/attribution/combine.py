"""Explainers made of explainers: several maps as one, and one map averaged under noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from vidence.attribution.averaging import moments, noise
from vidence.attribution.cam import GradCAM
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.path import IntegratedGradients
from vidence.attribution.perturb.occlusion import Occlusion
from vidence.attribution.progress import counted
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.models.detector import Detector
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

PLAIN = GradCAM()
LOW = 0.2  # rank correlation below which two maps are called different


@dataclass(frozen=True)
class _Several(Explainer, ABC):
    """Maps of several explainers on the finest of their grids, each divided by the sum of its sizes: units agree.

    Refuses what one of its parts refuses, costs what they cost together, and passes their warnings on.
    """

    of: tuple[Explainer, ...] = (GradCAM(), IntegratedGradients())

    def __post_init__(self) -> None:
        """Refuse fewer than two explainers; a list will do."""
        if isinstance(self.of, list):
            object.__setattr__(self, "of", tuple(self.of))
        if len(self.of) < 2:
            raise SpecError(f"of must list at least two explainers, as in of=[grad-cam, occlusion]; got {self.of!r}.")

    @classmethod
    def quick(cls) -> Self:
        """The same parts on their small budgets."""
        return cls(of=tuple(type(part).quick() for part in cls().of))

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The sum of the parts' prices."""
        prices = [part.price(t, h, w, channels) for part in self.of]
        return Price(
            sum(price.forwards for price in prices),
            sum(price.gradients for price in prices),
            at_most=any(price.at_most for price in prices),
        )

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """What the first part that refuses says."""
        return next(filter(None, (part.refusal(model, x, score) for part in self.of)), None)

    def informed(self, detector: Detector, score: ScoreFunction) -> Self:
        """With each part informed."""
        return replace(self, of=tuple(part.informed(detector, score) for part in self.of))

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the parts' normalised maps (1, m, t, i, j); `extra` their rank correlations (1, m, m), and `parts`:
        each explainer with all its settings, and its seed if it has one.
        """
        found = [part.explain_clip(model, x, score) for part in self.of]
        maps = _comparable([part.values for part in found])  # (m, t, i, j)
        agreement = rank_correlations(maps)
        flags = [
            f"{type(part).__name__}: {flag}"
            for part, one in zip(self.of, found, strict=True)
            for flag in one.certificate.flags
        ]
        seeds = {f"{type(part).__name__} {part.seed}": part.seed for part in self.of if hasattr(part, "seed")}
        layers = tuple(dict.fromkeys(one.layer for one in found if one.layer))
        return Attributions(
            self.joined(maps)[None],
            raw=maps[None],
            layer=", ".join(layers) or None,
            certificate=Certificate(
                seed=next(iter(seeds.values()), 0), flags=(*flags, *_unlike(seeds), *self.warnings(agreement))
            ),
            extra={"rank_correlations": agreement[None], "parts": [repr(part) for part in self.of]},
        )

    def warnings(self, agreement: Float[Tensor, "m m"]) -> tuple[str, ...]:
        """What is to be said of maps that agree so far."""
        return ()

    @abstractmethod
    def joined(self, maps: Float[Tensor, "m t i j"]) -> Float[Tensor, "t i j"]:
        """One map."""


@dataclass(frozen=True)
class Mean(_Several):
    """The mean of the maps; sizes sum to at most 1."""

    def joined(self, maps: Float[Tensor, "m t i j"]) -> Float[Tensor, "t i j"]:
        """The mean."""
        return maps.mean(dim=0)


@dataclass(frozen=True)
class Product(_Several):
    """The geometric mean of the maps' sizes, which ranks places as their product does, where all agree on the sign.

    Elsewhere 0: one method that gives a place nothing, or the other sign, has a veto.
    """

    def joined(self, maps: Float[Tensor, "m t i j"]) -> Float[Tensor, "t i j"]:
        """The signed geometric mean."""
        signs = maps.sign()
        agreed = (signs == signs[:1]).all(dim=0) * signs[0]
        return agreed * maps.abs().pow(1 / len(maps)).prod(dim=0)


@dataclass(frozen=True)
class Consensus(_Several):
    """The mean of the maps at places where at least `agree` of them share its sign (None: more than half), elsewhere 0.

    Rank correlations between the maps are in `extra`; a low one is flagged: then the methods tell different stories,
    and their mean is none of them.
    """

    of: tuple[Explainer, ...] = (GradCAM(), IntegratedGradients(), Occlusion())
    agree: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if self.agree is not None and not 1 <= self.agree <= len(self.of):
            raise SpecError(f"agree must be 1 to {len(self.of)}, the number of explainers; got {self.agree}.")

    def joined(self, maps: Float[Tensor, "m t i j"]) -> Float[Tensor, "t i j"]:
        """The mean where it is shared."""
        needed = len(maps) // 2 + 1 if self.agree is None else self.agree
        mean = maps.mean(dim=0)
        return torch.where((maps.sign() == mean.sign()).sum(dim=0) >= needed, mean, 0.0)

    def warnings(self, agreement: Float[Tensor, "m m"]) -> tuple[str, ...]:
        """A flag for each pair of maps that rank places differently."""
        rows, columns = torch.triu_indices(len(self.of), len(self.of), offset=1).tolist()
        return tuple(
            f"{type(self.of[i]).__name__} and {type(self.of[j]).__name__} agree little: rank correlation "
            f"{float(agreement[i, j]):.2f}"
            for i, j in zip(rows, columns, strict=True)
            if float(agreement[i, j]) < LOW
        )


@dataclass(frozen=True)
class Smooth(Explainer):
    """The mean map of an explainer over `n` clips under Gaussian noise, `spread` times the range of the clip's values.

    What is scored stays as it was pinned on the clip itself. `extra['deviation']` is how far the maps scatter.
    """

    explainer: Explainer = PLAIN
    n: int = 8
    spread: float = 0.15
    shared: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if self.n < 1 or self.spread < 0:
            raise SpecError(f"n must be at least 1 and spread at least 0; got {self.n}, {self.spread}.")

    @classmethod
    def quick(cls) -> Self:
        """Three draws."""
        return cls(n=3)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """`n` times the explainer's, and a forward pass that pins the score."""
        once = self.explainer.price(t, h, w, channels)
        return replace(once, forwards=1 + self.n * once.forwards, gradients=self.n * once.gradients)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """What the explainer refuses."""
        return self.explainer.refusal(model, x, score)

    def informed(self, detector: Detector, score: ScoreFunction) -> Self:
        """With the explainer informed."""
        return replace(self, explainer=self.explainer.informed(detector, score))

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the explainer's own form, averaged where it has one that lies on a grid."""
        held = Subject(model, x, score).score
        drawn = noise(x, spread=self.spread, seed=self.seed, shared=self.shared)
        raw, said, layers = _Mean(), dict[str, None](), dict[str | None, None]()

        def maps() -> Iterator[Tensor]:
            for _ in counted(range(self.n), label="maps under noise"):
                one = self.explainer.explain_clip(model, x + next(drawn), held)
                said.update(dict.fromkeys(one.certificate.flags))
                layers[one.layer] = None
                raw.add(one.raw)
                yield one.values

        mean = moments(maps())
        return Attributions(
            mean.mean[None],
            raw=raw.value,
            layer=next(iter(layers)),
            certificate=Certificate(flags=tuple(said)),
            extra={"deviation": mean.variance.sqrt()[None]},
        )


class _Mean:
    """The mean of what lies on a grid; weights of segments (1, m) belong to other segments in each noisy clip."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._count = 0

    def add(self, raw: Tensor | None) -> None:
        """Count one in."""
        if raw is None or raw.ndim < 3:
            return
        self._total = raw if self._total is None else self._total + raw
        self._count += 1

    @property
    def value(self) -> Tensor | None:
        """The mean, or None of nothing."""
        return None if self._total is None else self._total / self._count


def _unlike(seeds: Mapping[str, int]) -> tuple[str, ...]:
    """What is said where a certificate's one seed is not that of all parts, which are named with theirs."""
    return () if len(set(seeds.values())) < 2 else (f"the parts have seeds of their own: {', '.join(seeds)}",)


def _comparable(maps: list[Float[Tensor, "1 t i j"]]) -> Float[Tensor, "m t i j"]:
    """Maps on the finest of their grids, the sizes of each summing to 1 (a map of zeros stays one)."""
    size = max((one.shape[2:] for one in maps), key=prod)
    resized = torch.cat(
        [one if one.shape[2:] == size else F.interpolate(one, size=size, mode="bilinear") for one in maps]
    )
    return resized / resized.abs().sum(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(resized.dtype).tiny)


def rank_correlations(maps: Float[Tensor, "m ..."]) -> Float[Tensor, "m m"]:
    """Spearman's correlation of each pair of maps, ties at their middle rank; 0 with a map that is even."""
    ranks = torch.from_numpy(rankdata(maps.flatten(1).cpu().numpy(), axis=1))
    apart = ranks - ranks.mean(dim=1, keepdim=True)
    unit = apart / apart.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return (unit @ unit.T).to(maps)
