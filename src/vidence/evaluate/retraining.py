"""Remove and retrain (ROAR) or keep and retrain (KAR): what can still be learnt of clips without what a map names?

Hooker et al., NeurIPS 2019. The strongest share of each clip's map goes, in training and test clips alike, and a new
network learns them from its start: unlike a clip with a hole in it shown to a network that never saw one, nothing here
is strange to the network. A good map leaves little to learn when its strongest places go, and much when they stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import nn

from vidence.attribution.explainer import Explainer
from vidence.attribution.progress import counted
from vidence.errors import ShapeError, SpecError
from vidence.evaluate.cells import first_of, ranking
from vidence.evaluate.controls import RandomMap
from vidence.models.cnn_rnn import CnnRnn
from vidence.models.evaluating import evaluating
from vidence.scoring.scores import Logit
from vidence.training.classify import train_classifier
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples, decided
from vidence.training.schedule import Schedule

Mode: TypeAlias = Literal["remove", "keep"]
TOGETHER = 16  # clips in one pass where nothing is learnt


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClips:
    """Clips of one length and size, uint8 RGB, with the class of each."""

    pixels: UInt8[np.ndarray, "n t h w 3"]
    labels: Int[np.ndarray, " n"]

    @property
    def colour(self) -> UInt8[np.ndarray, " c"]:
        """The mean colour of all clips."""
        return self.pixels.mean(axis=(0, 1, 2, 3)).round().astype(np.uint8)

    @property
    def examples(self) -> Examples:
        """As the training loop takes them."""
        rows = rearrange(self.pixels, "n t h w c -> n 1 t c h w")
        times = np.arange(self.pixels.shape[1], dtype=np.float64)[None]
        return Examples([[Entry(row, times) for row in rows]], self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a network learns from, what chooses its epoch, and what it is measured on."""

    train: LabelledClips
    val: LabelledClips
    test: LabelledClips

    def __iter__(self) -> Iterator[LabelledClips]:
        return iter((self.train, self.val, self.test))

    def without(self, values: Sequence[Float[np.ndarray, "n t h w"]], share: float, *, mode: Mode, seed: int) -> Parts:
        """All three without what their maps name, which takes the mean colour of the training clips.

        Ties are drawn for each part by itself: a pattern that the i-th clips had in common would tell their class.
        """
        changed = [
            without(part, told, share, mode=mode, colour=self.train.colour, seed=(seed, number))
            for number, (part, told) in enumerate(zip(self, values, strict=True))
        ]
        return Parts(*changed)


def trained(settings: CnnRnn, parts: Parts, schedule: Schedule, *, classes: int, seed: int) -> nn.Module:
    """A network of `settings` that learnt the training clips from its start; start and order follow `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = settings.resolved(weights=False).network(classes)
    schedule = replace(schedule, finetune="all")
    train_classifier(network, parts.train.examples, parts.val.examples, schedule, classes=classes, seed=seed)
    return network


def accuracy(network: nn.Module, clips: LabelledClips) -> float:
    """Share of clips whose likeliest class is theirs."""
    with evaluating(network):
        found = [decided(network, batch.x).argmax(dim=1).numpy() for batch in clips.examples.batches(TOGETHER)]
    return float((np.concatenate(found) == clips.labels).mean())


def maps(explainer: Explainer, network: nn.Module, clips: LabelledClips, *, seed: int) -> Float[np.ndarray, "n t h w"]:
    """The map of each clip, of the class that the network finds likeliest; a `RandomMap` is drawn anew for each."""
    found = []
    for i in counted(range(len(clips.labels)), label="clips explained"):
        drawn = replace(explainer, seed=seed + i) if isinstance(explainer, RandomMap) else explainer
        x = torch.from_numpy(clips.pixels[i : i + 1]).float() / 255
        found.append(drawn(network, rearrange(x, "n t h w c -> n c t h w"), Logit())[0].detach().numpy())
    return np.stack(found)


def without(
    clips: LabelledClips,
    values: Float[np.ndarray, "n t h w"],
    share: float,
    *,
    mode: Mode,
    colour: UInt8[np.ndarray, " c"],
    seed: int | tuple[int, int],
) -> LabelledClips:
    """The clips with the strongest `share` of each map's pixels removed, or with all others removed (`mode='keep'`).

    The order is over a clip's whole volume, ties drawn by `seed`. What goes takes a `colour` that is the same for all
    clips: a clip's own mean would tell of its class.
    """
    if not 0 <= share <= 1 or mode not in ("remove", "keep"):
        raise SpecError(f"share must lie in [0, 1] and mode be 'remove' or 'keep'; got {share} and {mode!r}.")
    if values.shape != clips.pixels.shape[:4]:
        raise ShapeError(f"maps must be {clips.pixels.shape[:4]}, like their clips; got {values.shape}.")
    rng, rows = np.random.default_rng(seed), clips.pixels.copy()
    count = np.array([round(share * values[0].size)])
    for row, told in zip(rows, values, strict=True):
        strongest = first_of(ranking(told.reshape(-1), rng), count).reshape(told.shape)
        gone = strongest if mode == "remove" else ~strongest
        row[gone] = colour
    return LabelledClips(rows, clips.labels)
