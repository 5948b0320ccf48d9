"""Gradients along a way to the clip, summed: what the way adds up to is the change of the score, place by place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import Any, Self, TypeAlias

import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn

from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.gradient import FLAT
from vidence.attribution.perturb.fills import FILLS, filled_with
from vidence.attribution.subject import Rows, Subject
from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import Reconstruction
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

Baseline: TypeAlias = str | float
BASELINES = (*FILLS, "black", "frozen", "reversed")
EQUAL = "the clip equals its baseline: the map is zero"
# (nodes) -> the clips at the nodes, and the weighted steps that their gradients are multiplied with, both chunkwise
Way: TypeAlias = Callable[[int], tuple[Rows, Rows]]


def check_baseline(baseline: Baseline) -> None:
    """Raise `SpecError` for a baseline that does not exist."""
    if isinstance(baseline, str) and baseline not in BASELINES:
        raise SpecError(f"baseline must be {', '.join(map(repr, BASELINES))} or a value; got {baseline!r}.")


def baseline_of(x: Float[Tensor, "1 c t h w"], baseline: Baseline, output: Any) -> Float[Tensor, "1 c t h w"]:
    """The clip to start from; `output` is the model's of x.

    `auto`: an autoencoder's own reconstruction, else each pixel's median over time, which keeps the scene and takes
    out what moves; of fewer than three frames, and where nothing moves, the mean colour. `frozen` repeats the first
    frame and `reversed` runs backwards: what is left to explain is motion. `black` is 0.
    """
    baseline = meant(x, baseline, output)
    if baseline in ("frozen", "reversed"):
        if x.shape[2] == 1:
            raise ExplainError(
                f"baseline={baseline!r} isolates motion, and an image has none. Take 'mean', 'blur' or 'black'."
            )
        return x[:, :, :1].expand_as(x) if baseline == "frozen" else x.flip(2)
    return filled_with(x, 0.0 if baseline == "black" else baseline, output)


def meant(x: Float[Tensor, "1 c t h w"], baseline: Baseline, output: Any) -> Baseline:
    """The baseline that 'auto' stands for here; any other is itself."""
    if baseline != "auto":
        return baseline
    if isinstance(output, Reconstruction):
        return "reconstruction"
    return "mean" if x.shape[2] < 3 or stands_still(x) else "median"


def stands_still(x: Float[Tensor, "1 c t h w"]) -> bool:
    """Whether three frames or more all show the same, which is then their median, too."""
    return x.shape[2] > 2 and torch.equal(x, x[:, :, :1].expand_as(x))


def instead(x: Float[Tensor, "1 c t h w"], baseline: Baseline, output: Any) -> tuple[str, ...]:
    """What a certificate says of a still clip, for which 'auto' means something else than for others."""
    if baseline != "auto" or isinstance(output, Reconstruction) or not stands_still(x):
        return ()
    return ("the clip stands still and equals its temporal median: its baseline is its mean colour instead",)


def of_nothing(raw: Tensor, x: Tensor, starts: Float[Tensor, "v c t h w"]) -> tuple[str, ...]:
    """What a certificate says of a map of zeros: no start differs from the clip, or the score asks for no pixel."""
    if torch.allclose(starts, x.expand_as(starts)):
        return (EQUAL,)
    return () if raw.any() else (FLAT,)


def nodes(count: int) -> tuple[Float[Tensor, " v"], Float[Tensor, " v"]]:
    """Gauss-Legendre nodes and weights on [0, 1]: exact for polynomials up to the degree 2 count - 1."""
    places, weights = leggauss(count)
    return torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2)


def check_nodes(steps: int, limit: int, tolerance: float) -> None:
    """Raise `SpecError` for numbers of nodes, and a gap to reach, that mean nothing."""
    if steps < 1 or limit < steps or tolerance <= 0:
        raise SpecError(
            f"steps must be at least 1, limit at least steps, tolerance positive; got {steps}, {limit}, {tolerance}."
        )


@dataclass(frozen=True)
class _PathMethod(Explainer):
    """Settings of a sum along a path, and the sum: the number of nodes is doubled until it is complete."""

    steps: int = 32
    tolerance: float = 0.01
    limit: int = 256
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_nodes(self.steps, self.limit, self.tolerance)

    @classmethod
    def quick(cls) -> Self:
        """Eight nodes, doubled once at most."""
        return cls(steps=8, limit=16)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """`steps` F + G where they suffice, twice as many more for each doubling; the clip and where it starts from."""
        passes = sum(rounds(self.steps, self.limit))
        return Price(2 + passes, passes, at_most=self.limit >= 2 * self.steps)

    def summed(
        self, subject: Subject, start: Float[Tensor, "1 c t h w"], way: Way, *, said: tuple[str, ...] = ()
    ) -> Attributions:
        """The attribution (1, c, t, h, w) as `raw`, its sum over channels, and what it misses of the change; the
        certificate has the warnings that were `said` before.
        """
        change = subject.whole - subject.scores(lambda first, last: start, 1, label="baseline")
        for count in rounds(self.steps, self.limit):
            points, steps = way(count)
            raw = torch.zeros_like(subject.x)
            for part, _, gradient in subject.gradients(points, count, label="gradients on the path"):
                raw += (gradient * steps(part.start, part.stop)).sum(dim=0)
            gap = change - raw.double().sum().float()
            share = relative_gap(float(gap), float(change), float(subject.whole))
            if abs(share) <= self.tolerance:
                break
        flags = [*said, *of_nothing(raw, subject.x, start)]
        if abs(share) > self.tolerance:
            flags.append(f"the path integral misses {abs(share):.1%} of the change of the score with {count} nodes")
        extra = {"effect": change, "nodes": count}
        certificate = Certificate(gap=share, flags=tuple(flags))
        return Attributions(raw.sum(dim=1).float(), raw=raw, gap=gap, certificate=certificate, extra=extra)


def rounds(steps: int, limit: int) -> list[int]:
    """How many nodes are tried: `steps`, doubled while `limit` is not exceeded."""
    tried = [steps]
    while 2 * tried[-1] <= limit:
        tried.append(2 * tried[-1])
    return tried


@dataclass(frozen=True)
class IntegratedGradients(_PathMethod):
    """(x - x') times the mean gradient on the straight way from a baseline x' (Sundararajan et al., ICML 2017).

    Signed, and sums to the change of the score, s(x) - s(x'); `gap` is what Gauss-Legendre nodes miss of it. They are
    doubled from `steps` up to `limit` until the gap is within `tolerance`, else the certificate says so. `baseline`:
    'auto' (an autoencoder's reconstruction, else the clip's temporal median, of an image or a still clip its mean
    colour), 'black', 'mean', 'median', 'blur', 'reconstruction', 'frozen' and 'reversed' (both isolate motion), or a
    value; the certificate says where a clip stood still. Places that equal the baseline get nothing, whatever they
    mean. Under an error in `live` mode the target moves with the clip.
    """

    baseline: Baseline = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        check_baseline(self.baseline)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, c, t, h, w); in `extra` the change of the score, the number of nodes and the baseline's name."""
        subject = Subject(model, x, score, chunk=self.chunk)
        start = baseline_of(x, self.baseline, subject.output)
        apart = x - start

        def way(count: int) -> tuple[Rows, Rows]:
            places, weights = (part.to(x)[:, None, None, None, None] for part in nodes(count))
            return (
                lambda first, last: start + places[first:last] * apart,
                lambda first, last: weights[first:last] * apart,
            )

        found = self.summed(subject, start, way, said=instead(x, self.baseline, subject.output))
        return replace(found, extra={**found.extra, "baseline": meant(x, self.baseline, subject.output)})


@dataclass(frozen=True)
class BlurIG(_PathMethod):
    """Gradients summed along the way from the blurred clip to the clip (Xu et al., CVPR 2020): no colour is neutral.

    Each gradient is taken at the middle of a step and multiplied with what the step adds to the picture, so the steps
    telescope; it sums to s(x) - s(blurred), and steps are doubled as for `integrated-gradients`. `sigma` is the
    strongest blur in pixels (None: a quarter of the shorter side), `sigma_t` in frames: with `sigma=0` it blurs
    motion alone. The picture is mirrored at its borders, so that none turns dark.
    """

    sigma: float | None = None
    sigma_t: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        super().__post_init__()
        if min(self.sigma_t, self.sigma or 0) < 0 or (self.sigma == 0 and self.sigma_t == 0):
            raise SpecError(f"sigma and sigma_t must be at least 0 and not both 0; got {self.sigma}, {self.sigma_t}.")

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, c, t, h, w); in `extra` the change of the score and the number of steps."""
        subject = Subject(model, x, score, chunk=self.chunk)
        side = min(x.shape[3:]) / 4 if self.sigma is None else self.sigma
        sizes = torch.tensor([self.sigma_t, side, side], dtype=torch.float64)

        def at(parts: Float[Tensor, " v"]) -> Float[Tensor, "v c t h w"]:
            return blurred(x, parts[:, None] * sizes)

        def way(count: int) -> tuple[Rows, Rows]:
            # strongest first; fine details go within the first pixel of blur, so steps shrink towards the clip
            edges = torch.linspace(1, 0, count + 1, dtype=torch.float64).square()
            middles = (edges[:-1] + edges[1:]) / 2

            def steps(first: int, last: int) -> Tensor:
                return at(edges[first : last + 1]).diff(dim=0)

            return lambda first, last: at(middles[first:last]), steps

        found = self.summed(subject, at(torch.ones(1, dtype=torch.float64)), way)
        return replace(found, extra={**found.extra, "baseline": "blur"})


def blurred(x: Float[Tensor, "1 c t h w"], sigmas: Float[Tensor, "v 3"]) -> Float[Tensor, "v c t h w"]:
    """The clip under Gaussian blurs of the deviations (frames, rows, columns), mirrored at its borders."""
    rows = x.expand(len(sigmas), -1, -1, -1, -1)
    for axis, size in enumerate(x.shape[2:]):
        if sigmas[:, axis].any():
            matrices = _blur_matrices(size, sigmas[:, axis]).to(x)
            rows = torch.einsum("vij,v...j->v...i", matrices, rows.movedim(2 + axis, -1)).movedim(-1, 2 + axis)
    return rows


def _blur_matrices(size: int, sigmas: Float[Tensor, " v"]) -> Float[Tensor, "v size size"]:
    """Blurs of a line as products with matrices: a Gaussian damps the waves of the cosine transform one by one."""
    waves = pi * torch.arange(size, dtype=torch.float64) / size
    basis = torch.cos(waves[:, None] * (torch.arange(size, dtype=torch.float64) + 0.5))
    basis = basis / basis.norm(dim=1, keepdim=True)
    damping = torch.exp(-(sigmas[:, None] * waves).square() / 2)
    return torch.einsum("ki,vk,kj->vij", basis, damping, basis)
