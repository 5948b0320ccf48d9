"""Poly-CAM: Score-CAM at several depths, coarse maps sharpened by finer ones (Englebert et al., MVA 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.activation import Activation, in_frames, on_grid, with_activations
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import has_only_tokens
from vidence.attribution.perturb.fills import Fill
from vidence.attribution.score_cam import as_probability, background, check_budget, masked_scores, most_varied, tried
from vidence.attribution.subject import Subject
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction

LEAST = 1e-12  # a local mean below it divides nothing
ROUNDING = 1e-6  # share of |score| that float32 leaves uncertain


@dataclass(frozen=True)
class PolyCAM(Explainer):
    """Maps M = relu(sum_k w_k A_k) of several layers, over their local means, multiplied deep to shallow.

    `layers`: how many, from the deepest (the last layer before each change of size in space or time), or their module
    names, shallow to deep. `mode`: '+', w_k = s(clip seen through channel k); '-', what the score loses without it;
    '+-', both. s is the class's probability where the score is its logit, as in the paper, and any other score as it
    is. The ReLUs belong to the formula, which multiplies maps: no value is negative.
    `channels`: how many of each layer are tried, those of largest variance; None: all. `fill`: as in Score-CAM.
    """

    layers: int | tuple[str, ...] = 2
    mode: Literal["+", "-", "+-"] = "+"
    channels: int | None = 64
    fill: Fill | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse modes that do not exist and no layers at all."""
        if self.mode not in ("+", "-", "+-"):
            raise SpecError(f"mode must be '+', '-' or '+-'; got {self.mode!r}.")
        if not self.layers or (isinstance(self.layers, int) and self.layers < 1):
            raise SpecError(f"layers must be at least 1, or names of modules; got {self.layers!r}.")
        check_budget(self.channels, self.fill)

    @classmethod
    def quick(cls) -> PolyCAM:
        """Eight channels of each of two layers."""
        return cls(channels=8)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, and a pass (two for '+-') a channel of each layer, if each has `channels`."""
        layers = self.layers if isinstance(self.layers, int) else len(self.layers)
        return Price(1 + len(self.mode) * layers * min(channels, self.channels or channels), at_most=True)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Tokens, unless a convolutional network made them: one scale only has nothing to sharpen with."""
        if has_only_tokens(model):
            return "poly-cam multiplies layers of several sizes, and a transformer has one. Use score-cam or grad-cam."
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Values on the shallowest layer's grid; `extra['maps']` are the layers' own, deepest first."""
        subject, layers = with_activations(
            model, self.layers, x.shape[2], lambda: Subject(model, x, score, chunk=self.chunk)
        )
        subject.score = as_probability(subject.score)
        maps, changes = zip(*(self._map(subject, layer) for layer in reversed(layers)), strict=True)
        path = maps[0]
        for finer in maps[1:]:
            path = sharpened(path, finer)
        names = ", ".join(layer.layer for layer in layers)
        flags = [] if path.any() else ["no channel that was tried speaks for the score: the map is zero"]
        if path.any() and max(changes) <= ROUNDING * float(subject.whole.abs()):
            flags.append(
                "no channel changes the score when the clip is seen through it: the map shows activations only"
            )
        everything = max(layer.values.shape[1] for layer in layers)
        if self.channels is not None and self.channels < everything:
            flags.append(tried(self.channels, everything))
        return Attributions(
            in_frames(path, x.shape[2])[None].float(),
            layer=names,
            certificate=Certificate(layer=names, flags=tuple(flags)),
            extra={"maps": list(maps)},
        )

    def _map(self, subject: Subject, layer: Activation) -> tuple[Float[Tensor, "s h w"], float]:
        """The map of one layer, and the largest change of the score by a channel."""
        values = layer.values[:, most_varied(layer.values, self.channels)]
        maps, back = values.transpose(0, 1), background(subject, self.fill)
        whole = subject.score(subject.output, subject.x).detach()

        def masks(first: int, last: int) -> Tensor:
            return on_grid(between_percentiles(maps[first:last]), tuple(subject.x.shape[2:]))

        weights, change = values.new_zeros(len(maps)), 0.0
        for way in self.mode:
            scores = masked_scores(subject, masks, len(maps), back, keep=way == "+")
            change = max(change, float((scores - whole).abs().max()))
            weights = weights + scores if way == "+" else (weights + whole - scores).clamp(min=0)
        return (weights[:, None, None] * values).sum(dim=1).clamp(min=0), change


def between_percentiles(maps: Float[Tensor, "v s i j"]) -> Float[Tensor, "v s i j"]:
    """Each map from its 0.1 to its 99.9 percentile, clamped to [0, 1]."""
    ends = torch.tensor([0.001, 0.999], device=maps.device, dtype=maps.dtype)
    low, high = maps.flatten(1).quantile(ends, dim=1)[..., None, None, None]
    return ((maps - low) / (high - low).clamp(min=LEAST)).clamp(0, 1)


def sharpened(coarse: Float[Tensor, "s i j"], fine: Float[Tensor, "t h w"]) -> Float[Tensor, "t h w"]:
    """The fine map over its own mean in each cell of the coarse one, times the coarse one."""
    size = tuple(fine.shape)
    t, h, w = coarse.shape
    mean = on_grid(F.adaptive_avg_pool3d(fine[None], (t, h, w)), size)[0]
    return fine / mean.clamp(min=LEAST) * on_grid(coarse[None], size)[0]
