"""Class feature pyramids: which channels of earlier layers a class rests on (Stergiou et al., ICCVW 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.attribution.activation import Activation, with_activation
from vidence.attribution.calls import ConvolutionSite, EveryConvolution, per_frame
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.families import family_of
from vidence.attribution.outputs import score_rows
from vidence.errors import SpecError
from vidence.record.facts import Certificate
from vidence.scoring.scores import ScoreFunction


@dataclass(frozen=True)
class ClassFeaturePyramids(Explainer):
    """Steps back from the class to the channels of the last convolution, and from each to the channels it is made of.

    A channel's parents are those whose mean activation times mean kernel weight, from 0 to 1 over all of them, reaches
    `threshold`, or the `top` strongest. `depth` counts layers, the last convolution being the first. The map is the
    kept channels of the last convolution times their signed weights; `extra['graph']` is {layer: {channel: parents}},
    each layer's parents being channels of the next one listed, and `extra['tubes']` a map (s, h, w) for each layer.
    The first weights are the class's row of a linear layer behind global average pooling, from 0 to 1 over the whole
    matrix; where there is none (a recurrent head), ours: the size of the mean gradient. Residual sums count as their
    main branch, a grouped convolution's parents lie in its group, and the recurrent part is not traced.
    """

    depth: int = 3
    threshold: float = 0.5
    top: int | None = None

    def __post_init__(self) -> None:
        """Refuse empty pyramids."""
        if self.depth < 1 or (self.top is not None and self.top < 1):
            raise SpecError(f"depth and top must be at least 1; got {self.depth} and {self.top}.")
        if not 0 <= self.threshold <= 1:
            raise SpecError(f"threshold must lie in 0..1; got {self.threshold}.")

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """Networks without classes, or without channels that pass from layer to layer."""
        family = family_of(model)
        if family == "reconstruction":
            return "an autoencoder has no class whose channels could be traced. Use grad-cam."
        if family == "transformer":
            return "tokens mix in attention, where no kernel says which channel came from which. Use grad-cam."
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """One forward pass and a backward pass of the head; `raw` is (1, s, k, h, w), zero for channels left out."""

        def run(leaves: list[Tensor]) -> tuple[Tensor, EveryConvolution]:
            seen = EveryConvolution(model)
            with seen:
                return model(x), seen

        (output, seen), activation = with_activation(model, None, x.shape[2], run)
        weight = _first_weights(activation, score_rows(score, output, x).sum())
        importance = _in_matrix(model, weight)
        kept = self._chosen(importance)
        graph, tubes, flags = self._traced(seen, kept, importance[kept], x.shape[2])
        mask = torch.zeros_like(weight).index_fill_(0, kept, 1)
        raw = (weight * mask)[:, None, None] * activation.values
        flags = (*activation.flags, *flags)
        if not weight.any():
            flags = (f"the score does not depend on {activation.layer}: the map is zero", *flags)
        return Attributions(
            activation.in_frames(raw.sum(dim=1))[None].float(),
            raw=raw[None],
            layer=activation.layer,
            certificate=Certificate(layer=activation.layer, flags=flags),
            extra={"graph": graph, "tubes": tubes},
        )

    def _chosen(self, importance: Float[Tensor, " k"]) -> Int[Tensor, " kept"]:
        """The strongest channel, and all others that reach the threshold or are among the `top`."""
        order = importance.argsort(descending=True, stable=True)
        reached = int((importance >= self.threshold).sum())
        return order[: self.top if self.top is not None else max(1, reached)].sort().values

    def _traced(
        self, seen: EveryConvolution, kept: Int[Tensor, " kept"], share: Float[Tensor, " kept"], t: int
    ) -> tuple[dict[str, dict[int, tuple[int, ...]]], dict[str, Tensor], tuple[str, ...]]:
        """The graph and a tube for each layer, deepest first, and why a trace ended early."""
        first_called, site = next(iter(seen.sites.values())), next(reversed(seen.sites.values()))
        flags: tuple[str, ...] = ()
        graph: dict[str, dict[int, tuple[int, ...]]] = {}
        tubes: dict[str, Tensor] = {}
        for level in range(self.depth):
            maps = per_frame(site.outputs, t)[:, kept]
            tubes[site.layer] = (share[:, None, None] * maps).sum(dim=1)
            graph[site.layer] = dict.fromkeys(kept.tolist(), ())
            parent = seen.sites.get(site.source)
            if level + 1 == self.depth or site is first_called:
                break
            channels = site.inputs[0].shape[1], site.outputs[0].shape[1]  # branches put side by side have more
            if parent is None or site.transposed or channels != (len(parent.kernel), len(site.kernel)):
                flags = (f"the trace ends at {site.layer}: its channels are not those of one convolution",)
                break
            total = torch.zeros_like(site.inputs[0][0])
            for channel, part in zip(kept.tolist(), share, strict=True):
                first, strength = _parents(site, channel)
                found = self._chosen(strength)
                graph[site.layer][channel] = tuple((found + first).tolist())
                total[found + first] += part * strength[found]
            kept = torch.tensor(sorted({place for found in graph[site.layer].values() for place in found}))
            share, site = total[kept] / total.max(), parent
        return graph, tubes, flags


def _parents(site: ConvolutionSite, channel: int) -> tuple[int, Float[Tensor, " k"]]:
    """The first input channel of a channel's group, and how strongly each of the group feeds it, from 0 to 1.

    The paper also divides by the sum, which changes nothing here, or the order where the sum is negative: left out.
    """
    size = site.kernel.shape[1]
    first = channel * site.groups // len(site.kernel) * size
    means = torch.cat(site.inputs).mean(dim=0)[first : first + size]
    strength = site.kernel[channel].flatten(1).mean(dim=1) * means
    return first, _from_0_to_1(strength, strength)


def _first_weights(activation: Activation, total: Tensor) -> Float[Tensor, " k"]:
    """Sum of the gradient over places: of a linear layer behind global average pooling, the class's row."""
    return activation.gradient(total).sum(dim=(0, 2, 3))


def _in_matrix(model: nn.Module, weight: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The weights from 0 to 1, over the whole matrix that they are a row of; over their own sizes if there is none."""
    for matrix in model.parameters():
        if matrix.ndim == 2 and matrix.shape[1] == len(weight):
            off = (matrix.detach() - weight).abs().amax(dim=1).min()
            if off <= 1e-4 * weight.abs().max():
                return _from_0_to_1(weight, matrix.detach())
    return _from_0_to_1(weight.abs(), weight.abs())


def _from_0_to_1(values: Float[Tensor, " k"], among: Tensor) -> Float[Tensor, " k"]:
    """Where values lie between the least (0) and the largest (1) `among` others; all 1 where those are equal."""
    low, high = among.aminmax()
    return (values - low) / (high - low) if high > low else torch.ones_like(values)
