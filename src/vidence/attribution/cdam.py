"""Class-discriminative attention maps: tokens times gradients before the last attention (Brocki et al., 2023)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, with_activation
from vidence.attribution.attention_calls import without_attention
from vidence.attribution.calls import GradientOn
from vidence.attribution.certifying import relative_gap
from vidence.attribution.concept import ConceptScore, Latent, read_concept
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.hooks import replaced
from vidence.attribution.outputs import one_each, score_rows
from vidence.attribution.progress import counted
from vidence.errors import ExplainError, SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction, pinned

VALUES_AT_ONCE = 4 * 1569 * 768  # of tokens in one pass with a gradient: bounds memory
LARGEST_GAP = 0.01  # share of the score's change along the path, above which the certificate says so


@dataclass(frozen=True)
class TokenGradients(Explainer, ABC):
    """The score's gradient in the tokens that the last attention reads, after their norm, at `layer` (None: that one).

    Only what attention makes of a token counts, the residual path is left out on purpose. `concept` is a file (.npy,
    .npz, .safetensors) of one vector, the mean latent of example clips (`vidence.attribution.concept`): the score is
    then the product of the clip's latent with it, and the score that is passed is not asked.
    """

    layer: str | None = None
    concept: str | None = None

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Models without attention."""
        return without_attention(model, windows=True)

    def attribute(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction, *, certify: bool = True
    ) -> Attributions:
        """Explain `score(model(x), x)`, or how close each clip's latent is to the concept."""
        if self.concept is not None and without_attention(model, windows=True) is None:
            model, score = Latent(model), ConceptScore(read_concept(self.concept))
        return super().attribute(model, x, score, certify=certify)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, t', d, h', w'). As part of a combination it explains its concept, too, and says so."""
        if self.concept is None or isinstance(score, ConceptScore):
            return self.of_tokens(model, x, score)
        found = self.of_tokens(Latent(model), x, ConceptScore(read_concept(self.concept)))
        said = f"the map is of the concept {self.concept}, not of the score, which frame deletion is measured by"
        held = found.certificate
        return replace(found, certificate=replace(held, flags=(*held.flags, said)))

    @abstractmethod
    def of_tokens(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """The map of one clip under a score of the model's output."""


@dataclass(frozen=True)
class CDAM(TokenGradients):
    """S_i = sum_j T_ij dscore/dT_ij over the tokens T that have a place, signed.

    If the score is linear in the tokens, and no other tokens count, the map sums to it.
    """

    def of_tokens(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass, and a backward pass of the last block. `raw` is (1, t', d, h', w')."""
        output, tokens = _tokens(model, x, self.layer)
        gradient = tokens.gradient(score_rows(score, output, x).sum())
        return _found(gradient * tokens.values, x.shape[2], tokens.layer)


@dataclass(frozen=True)
class SmoothCDAM(TokenGradients):
    """The mean of the maps of `n` clips whose tokens got noise of `sigma` standard deviations of the clip's own.

    How much noise, and how often, is ours: the paper's abstract says no more than that the maps of slightly altered
    tokens are averaged.
    """

    n: int = 30
    sigma: float = 0.1
    seed: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse no samples and no noise."""
        _check_whole("n", self.n)
        if not self.sigma > 0:
            raise SpecError(f"sigma must be above 0; got {self.sigma}. Take cdam for the map without noise.")

    @classmethod
    def quick(cls) -> SmoothCDAM:
        """Three samples."""
        return cls(n=3)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """A forward pass for the tokens, and n of the altered ones with a backward pass of the last block each."""
        return Price(1 + self.n, self.n)

    def of_tokens(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is the mean (1, t', d, h', w')."""
        output, tokens = _tokens(model, x, self.layer, once=True)
        held = pinned(score, output, x)
        leaf = tokens.leaves[-1].detach()
        generator, scale = torch.Generator().manual_seed(self.seed), self.sigma * leaf.std()
        total = torch.zeros_like(leaf)
        for first, last in _chunks(self.n, self.chunk, leaf, "noisy tokens"):
            noise = torch.stack([torch.randn(leaf.shape, generator=generator) for _ in range(first, last)])
            rows = leaf + scale * noise.to(leaf)
            total += (rows * _gradients(model, x, held, tokens.layer, rows)[1]).sum(dim=0)
        return _found(_placed(tokens, total / self.n), x.shape[2], tokens.layer)


@dataclass(frozen=True)
class IntegratedCDAM(TokenGradients):
    """Integrated gradients in the tokens that have a place, from zero, by the midpoint rule in `steps`, signed.

    The map sums to the score less the score without these tokens; `gap` says how far it misses that.
    """

    steps: int = 30
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty path."""
        _check_whole("steps", self.steps)

    @classmethod
    def quick(cls) -> IntegratedCDAM:
        """Four steps."""
        return cls(steps=4)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """A forward pass for the tokens, one without them, and one with a backward pass of the last block a step."""
        return Price(2 + self.steps, self.steps)

    def of_tokens(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """`raw` is (1, t', d, h', w')."""
        output, tokens = _tokens(model, x, self.layer, once=True)
        held = pinned(score, output, x)
        leaf = tokens.leaves[-1].detach()
        moving = _with_place(tokens)
        total = torch.zeros_like(leaf)
        for first, last in _chunks(self.steps, self.chunk, leaf, "steps along tokens"):
            share = (torch.arange(first, last, device=leaf.device) + 0.5) / self.steps
            share = share.to(leaf.dtype).reshape(-1, *[1] * leaf.ndim)
            rows = leaf * (1 - moving * (1 - share))
            total += _gradients(model, x, held, tokens.layer, rows)[1].sum(dim=0)
        raw = _placed(tokens, leaf * total / self.steps)
        whole = one_each(held(output, x), 1).detach()
        without = _gradients(model, x, held, tokens.layer, (leaf * (1 - moving))[None], gradient=False)[0]
        change = whole - without
        gap = (change - raw.sum()).float()
        missed = relative_gap(float(gap), float(change), float(whole))
        found = _found(raw, x.shape[2], tokens.layer)
        flags = found.certificate.flags
        if abs(missed) > LARGEST_GAP:
            flags += (f"the map misses {abs(missed):.0%} of the score's change along the path: take more steps",)
        certificate = Certificate(gap=missed, layer=tokens.layer, flags=flags)
        return Attributions(found.values, raw=found.raw, gap=gap, layer=found.layer, certificate=certificate)


def _check_whole(name: str, value: int) -> None:
    if value < 1:
        raise SpecError(f"{name} must be at least 1; got {value}.")


def _tokens(model: nn.Module, x: Tensor, layer: str | None, *, once: bool = False) -> tuple[Any, Activation]:
    """The model's output and the tokens of one clip, which start its graph."""
    output, tokens = with_activation(model, layer, x.shape[2], lambda leaves: model(x))
    if tokens.layout is None:
        raise ExplainError(
            f"this method needs a layer that returns tokens (m, l, d) with places; {tokens.layer} does not. "
            "Name such a layer, or take grad-cam."
        )
    if once and len(tokens.leaves) > 1:
        raise ExplainError(
            f"the layer whose tokens are altered must be called once a clip; {tokens.layer} was called "
            f"{len(tokens.leaves)} times. Name another layer, or take cdam."
        )
    return output, tokens


def _gradients(
    model: nn.Module,
    x: Tensor,
    score: ScoreFunction,
    layer: str,
    rows: Float[Tensor, "v m l d"],
    *,
    gradient: bool = True,
) -> tuple[Float[Tensor, " v"], Tensor]:
    """The scores of variants of a layer's tokens, and their gradients."""
    asked = rows.detach().clone().requires_grad_(gradient)
    clips = x.expand(len(rows), -1, -1, -1, -1)

    def change(output: Any) -> Tensor:
        shapes = asked.flatten(0, 1), rearrange(asked, "v l 1 d -> l v d") if asked.shape[2] == 1 else None
        for shown in shapes:  # clips are folded into the sequences, or sequences come first
            if shown is not None and isinstance(output, Tensor) and shown.shape == output.shape:
                return shown
        raise ExplainError(f"{layer} must return the same tokens for each clip of a batch. Name another layer.")

    with replaced(model, layer, change), GradientOn() if gradient else torch.no_grad():
        values = one_each(score(model(clips), clips), len(rows))
    if not values.requires_grad:
        return values.detach(), torch.zeros_like(rows)
    return values.detach(), torch.autograd.grad(values.sum(), asked, materialize_grads=True)[0]


def _chunks(count: int, chunk: int | None, leaf: Tensor, label: str) -> Iterator[tuple[int, int]]:
    step = chunk or max(1, VALUES_AT_ONCE // leaf.numel())
    for first in counted(range(0, count, step), label=label):
        yield first, min(first + step, count)


def _placed(tokens: Activation, values: Tensor) -> Float[Tensor, "t d h w"]:
    """Values of tokens as maps."""
    return Activation([values], tokens.t, tokens.layer, tokens.layout).values


def _with_place(tokens: Activation) -> Tensor:
    """1 for each token that has a place, 0 for a class token, shaped as the tokens."""
    leaf = torch.ones_like(tokens.leaves[-1]).requires_grad_()
    held = Activation([leaf], tokens.t, tokens.layer, tokens.layout)
    if held.layout is None:
        return leaf.detach()
    return torch.autograd.grad(held.layout.maps(leaf).sum(), leaf)[0]


def _found(raw: Float[Tensor, "t d h w"], t: int, layer: str) -> Attributions:
    flags = () if raw.any() else (f"the score does not depend on {layer}: the map is zero",)
    return Attributions(
        in_frames(raw.sum(dim=1), t)[None].float(),
        raw=raw[None],
        layer=layer,
        certificate=Certificate(layer=layer, flags=flags),
    )
