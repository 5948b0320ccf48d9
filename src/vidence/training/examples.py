"""Labelled windows as the training loop takes them: in batches, in an order that seed and epoch alone decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.training.entry_store import Entry


class Batch(NamedTuple):
    """`x` float32 (n, t, ...): features, or pixels in [0, 1]; `label`, `clip` (n,): class, index of the source."""

    x: Float[Tensor, "n t ..."]
    label: Int[Tensor, " n"]
    clip: Int[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Sources with their class; `entries[version][clip]`, version 0 being the plain view.

    An entry's `x` (w, t, ...) are a source's windows of features or pixels, its `times` (w, t).
    """

    entries: Sequence[Sequence[Entry]]
    labels: Int[np.ndarray, " clips"]

    def chosen(self, clips: Sequence[int] | Int[np.ndarray, " m"]) -> Examples:
        """The same versions of some sources."""
        return Examples([[row[clip] for clip in clips] for row in self.entries], self.labels[list(clips)])

    def batches(self, size: int, *, order: np.random.Generator | None = None) -> Iterator[Batch]:
        """All windows once. With `order`: one version of each source, drawn, and its windows shuffled."""
        versions = np.zeros(len(self.labels), dtype=int)
        if order is not None:
            versions = order.integers(len(self.entries), size=len(self.labels))
        places = [
            (self.entries[version][clip], clip, window)
            for clip, version in enumerate(versions)
            for window in range(len(self.entries[version][clip].x))
        ]
        if order is not None:
            places = [places[place] for place in order.permutation(len(places))]
        for first in range(0, len(places), size):
            part = places[first : first + size]
            x = np.stack([entry.x[window] for entry, _, window in part])
            clip = torch.tensor([clip for _, clip, _ in part])
            yield Batch(_floats(x), torch.from_numpy(self.labels)[clip], clip)


class Batches:
    """Lightning's loader. With a seed the order is drawn from seed and epoch alone: a resumed fit sees the same."""

    def __init__(self, examples: Examples, size: int, *, seed: int | None = None, epoch: int = 1) -> None:
        self.examples, self.size, self.seed, self.epoch = examples, size, seed, epoch

    @property
    def steps(self) -> int:
        """Batches of an epoch without views (a drawn view may cut a source into one window more or less)."""
        return -(-sum(len(entry.x) for entry in self.examples.entries[0]) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        order = None if self.seed is None else np.random.default_rng([self.seed, self.epoch])
        return self.examples.batches(self.size, order=order)


def decided(network: nn.Module, x: Float[Tensor, "n t ..."]) -> Float[Tensor, "n k"]:
    """Logits of features (n, t, f) or of pixels (n, t, c, h, w)."""
    return network(rearrange(x, "n t c h w -> n c t h w")) if x.ndim == 5 else network.decide(x)  # type: ignore[operator]


def clip_means(values: Float[Tensor, "m k"], clip: Int[Tensor, " m"], clips: int) -> Float[Tensor, "clips k"]:
    """The mean over each source's windows, (m, k) -> (clips, k): how several windows become one answer."""
    sums = torch.zeros(clips, values.shape[1], dtype=torch.float64).index_add_(0, clip.cpu(), values.cpu().double())
    return (sums / torch.bincount(clip.cpu(), minlength=clips)[:, None]).float()


def _floats(x: np.ndarray) -> Tensor:
    values = torch.from_numpy(x)
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()
