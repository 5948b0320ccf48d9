"""Surrogates: a linear model of which segments of a clip are shown, fitted to the score."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import comb
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidence.attribution.certifying import relative_gap
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.detected_boxes import detected_boxes
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with, shown_through
from vidence.attribution.perturb.supervoxels import Kind, check_kind, segmented
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

HELD = 0.9  # share of a picture's variance that segments of their own mean colour may keep before it is said


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """What a surrogate found: a weight a segment, the weighted R^2, how many equally weighted samples it is worth."""

    weights: Float[Tensor, " m"]
    r2: float
    effective: float
    flags: tuple[str, ...] = ()
    change: float | None = None  # of the score, where the weights should sum to it


@dataclass(frozen=True)
class _Surrogate(Explainer):
    """`segments` are 'slic', 'tracked', 'frames' or 'grid', about `count`, none deeper than `depth` frames; or the
    boxes of an object detector, `boxes='FILE.json'` (a list of frame, x, y, w, h and perhaps track).

    A hidden segment shows `fill`: 'auto' (what an autoencoder expected; for other models the segment's own mean
    colour), 'segment' (its mean colour), or what other methods take. A segment's weight is spread evenly over its
    pixels, so that the map sums to the weights; they are `raw` and `extra['weights']`, by `extra['segments']`.
    """

    segments: Kind = "slic"
    boxes: str | None = None
    count: int = 100
    depth: int | None = None
    n: int | None = None
    fill: Fill = "auto"
    seed: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse segments and fills that do not exist, and fits without samples."""
        check_kind(self.segments)
        if self.fill != "segment":
            check_fill(self.fill)
        for name, value, least in (("count", self.count, 1), ("depth", self.depth or 1, 1), ("n", self.n or 2, 2)):
            if value < least:
                raise SpecError(f"{name} must be at least {least}; got {value}.")
        plain = {name: getattr(_Surrogate, name) for name in ("segments", "count", "depth")}
        unused = [name for name, value in plain.items() if getattr(self, name) != value and self._unused(name)]
        if unused:
            chosen = "boxes" if self.boxes is not None else f"segments={self.segments!r}"
            raise SpecError(f"{chosen} already says what is hidden: {', '.join(unused)} must be left out.")

    def _unused(self, name: str) -> bool:
        """Whether a setting of the segments changes nothing here."""
        return self.boxes is not None or (self.segments == "frames" and name != "segments")

    @classmethod
    def quick(cls) -> Self:
        """64 samples of about eight segments."""
        return cls(count=8, n=64)

    @abstractmethod
    def _samples(self, m: int) -> Bool[Tensor, "s m"]:
        """Which segments each row shows; the clip as it is needs no row."""

    @abstractmethod
    def _fit(self, shown: Float[Tensor, "s m"], scores: Float[Tensor, " s"], whole: Float[Tensor, " 1"]) -> _Fit:
        """The surrogate of these rows, in double precision."""

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`extra` also has `r2` and `effective_samples`, and of boxes their `names` and the file's `digest`."""
        extra: dict[str, Any] = {}
        if self.boxes is None:
            labels = segmented(x, self.segments, count=self.count, depth=self.depth)
        else:
            found = detected_boxes(self.boxes, (x.shape[2], x.shape[3], x.shape[4]))
            labels = found.labels.to(x.device)
            extra = {"names": found.names, "digest": found.digest}
        subject = Subject(model, x, score, chunk=self.chunk)
        filled, flags = self._filled(x, labels, subject.output)
        sizes = labels.flatten().bincount()
        shown = self._samples(len(sizes))
        on_device = shown.to(x.device)
        scores = subject.scores(
            lambda first, last: shown_through(x, filled, on_device[first:last][:, labels].to(x)),
            len(shown),
            label="segments hidden",
        )
        fit = self._fit(shown.double(), scores.double().cpu(), subject.whole.double().cpu())
        weights = fit.weights.float().to(x.device)
        extra |= {"segments": labels[None], "weights": weights[None], "r2": fit.r2, "effective_samples": fit.effective}
        gap = None if fit.change is None else fit.change - float(weights.sum())
        share = None if gap is None else relative_gap(gap, fit.change or 0.0, float(subject.whole))
        return Attributions(
            (weights / sizes)[labels][None],
            raw=weights[None],
            gap=None if gap is None else weights.new_tensor([gap]),
            certificate=Certificate(gap=share, flags=flags + fit.flags),
            extra=extra,
        )

    def _filled(self, x: Tensor, labels: Tensor, output: Any) -> tuple[Tensor, tuple[str, ...]]:
        """The clip with every segment hidden, and what has to be said of it."""
        if self.fill != "segment" and (self.fill != "auto" or isinstance(output, Reconstruction)):
            return filled_with(x, self.fill, output), ()
        flat, places = x[0].flatten(1), labels.flatten()
        sums = flat.new_zeros(len(flat), int(places.max()) + 1).index_add(1, places, flat)
        filled = (sums / places.bincount())[:, labels][None]
        spread = (x - x.mean(dim=(2, 3, 4), keepdim=True)).square().sum()
        held = float(1 - (x - filled).square().sum() / spread) if spread > 0 else 0.0
        if held <= HELD:
            return filled, ()
        return filled, (
            f"segments in their own mean colour keep {held:.0%} of the picture's variance, so that hiding them shows "
            "little; take fill='median', 'mean' or 'blur'",
        )


@dataclass(frozen=True)
class LIME(_Surrogate):
    """Ridge regression of the score on which segments are shown, near the clip (Ribeiro, Singh & Guestrin, KDD 2016).

    `n` clips (1000 unless given) show each segment with probability a half; the clip as it is is one of them. They
    count by their cosine distance d to it, as the root of exp(-d^2 / `width`^2); `alpha` is the ridge penalty. A fit
    that is worth fewer samples than it has segments is flagged.
    """

    width: float = 0.25
    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a kernel without width and a penalty below 0."""
        super().__post_init__()
        if self.width <= 0 or self.alpha < 0:
            raise SpecError(f"lime needs width above 0 and alpha of at least 0; got {self.width} and {self.alpha}.")

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, which is a sample too, and the other samples."""
        return Price(self.n or 1000)

    def _samples(self, m: int) -> Bool[Tensor, "s m"]:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand((self.n or 1000) - 1, m, generator=generator) < 0.5

    def _fit(self, shown: Tensor, scores: Tensor, whole: Tensor) -> _Fit:
        m = shown.shape[1]
        shown, scores = torch.cat([torch.ones(1, m).to(shown), shown]), torch.cat([whole, scores])
        distance = 1 - (shown.sum(dim=1) / m).sqrt()
        kernel = (-(distance**2) / self.width**2).exp().sqrt()
        share = kernel / kernel.sum()
        around, left = shown - share @ shown, scores - share @ scores
        gram = around.T @ (kernel[:, None] * around) + self.alpha * torch.eye(m).to(shown)
        weights = torch.linalg.lstsq(gram, (around.T @ (kernel * left))[:, None], driver="gelsd").solution[:, 0]
        effective = float(1 / share.square().sum())
        flags: tuple[str, ...] = ()
        if effective < m:
            flags = (
                f"the fit of {m} weights is worth {effective:.0f} samples; raise n or width, or take fewer segments",
            )
        return _Fit(weights, _r2(left, around @ weights, kernel), effective, flags)


@dataclass(frozen=True)
class KernelSHAP(_Surrogate):
    """Shapley values of the segments by regression on coalitions (Lundberg & Lee, NIPS 2017).

    They sum to the change of the score from the clip with everything hidden, exactly. `n` coalitions (2 `count` + 2048
    unless given) are drawn from the Shapley kernel, each with its complement; where `n` is as many as there are, all
    are taken, and the values are exact.
    """

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, the clip with everything hidden, and the coalitions; fewer where there are fewer."""
        return Price(2 + self._most, at_most=True)

    @property
    def _most(self) -> int:
        return self.n or 2 * self.count + 2048

    def _samples(self, m: int) -> Bool[Tensor, "s m"]:
        """Everything hidden, and the coalitions."""
        nothing = torch.zeros(1, m, dtype=torch.bool)
        if m == 1:
            return nothing
        if _all_fit(m, self._most):
            return torch.cat([nothing, (torch.arange(1, 2**m - 1)[:, None] >> torch.arange(m) & 1).bool()])
        generator = torch.Generator().manual_seed(self.seed)
        sizes = torch.arange(1, m)
        drawn = 1 + torch.multinomial(1 / (sizes * (m - sizes)), self._most // 2, replacement=True, generator=generator)
        ranks = torch.rand(len(drawn), m, generator=generator).argsort(dim=1)
        half = ranks < drawn[:, None]
        return torch.cat([nothing, half, ~half])

    def _fit(self, shown: Tensor, scores: Tensor, whole: Tensor) -> _Fit:
        """Least squares among the weights that sum to the change: its even share a segment, and what is orthogonal."""
        m, change = shown.shape[1], whole - scores[0]
        even = change.expand(m) / m
        shown, scores = shown[1:], scores[1:] - scores[0]
        if m == 1:
            return _Fit(even, 1.0, 1.0, change=float(change))
        exact = _all_fit(m, self._most)
        kernel = torch.ones_like(scores)
        if exact:
            kernel = torch.tensor([_kernel(m, int(size)) for size in shown.sum(dim=1)]).to(scores)
        root = kernel.sqrt()
        around = shown - shown.mean(dim=1, keepdim=True)  # (s, m): no row says anything of the sum
        left = scores - shown @ even
        found = torch.linalg.lstsq(root[:, None] * around, (root * left)[:, None], driver="gelsd").solution[:, 0]
        weights = even + found - found.mean()
        pairs = len(shown) // 2
        flags: tuple[str, ...] = ()
        if not exact and pairs < m:
            flags = (f"{pairs} pairs of coalitions are fewer than {m} segments; raise n or take fewer segments",)
        effective = float(kernel.sum() ** 2 / kernel.square().sum())
        return _Fit(weights, _r2(scores, shown @ weights, kernel), effective, flags, change=float(change))


def _all_fit(m: int, most: int) -> bool:
    return 2**m - 2 <= most


def _kernel(m: int, size: int) -> float:
    """The Shapley kernel of a coalition of `size` out of m."""
    return (m - 1) / (comb(m, size) * size * (m - size))


def _r2(scores: Tensor, fitted: Tensor, weights: Tensor) -> float:
    """The weighted share of the scores' variance that a fit explains; 1 where there is none to explain."""
    share = weights / weights.sum()
    spread = share @ (scores - share @ scores).square()
    return 1 - float(share @ (scores - fitted).square() / spread) if spread > 0 else 1.0
