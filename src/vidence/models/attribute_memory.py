"""What was normal: a bounded sample of moving cells with their attributes, and how far another cell is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from scipy.spatial import KDTree
from torch import Tensor, nn

from vidence.errors import DataError
from vidence.motion.moving_cells import CHANNELS

_SIDES = ("right", "left", "down", "up")
_EDGES = tuple(name for name in CHANNELS if name.startswith("edge"))
ATTRIBUTES = ("speed", "burst", *_SIDES, "turn", *_EDGES, "peak", "size", "crowd")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "speed": ("speed", "burst"),
    "direction": _SIDES,
    "acceleration": ("turn",),
    "size": ("size", "crowd"),
    "shape": _EDGES,
    "manner": ("speed", *_SIDES, *_EDGES, "peak"),
}
"""Each attribute group has a density of its own; `manner` is how something of a shape moves, all at once."""
ENOUGH = 50  # normal cells that a scale is read off at least
USUAL = 0.999  # the quantile of normal cells' distances that a distance of 1 stands for
ROUGH = 0.3  # neighbours may be this much further than the nearest ones: twice as quick, and exact enough


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Moving cells: `attributes` (m, a) in the order of ATTRIBUTES, `places` (m, 2) as shares of height and width,
    `crops` (m, s, s), what they looked like in gray.
    """

    attributes: Float32[np.ndarray, "m a"]
    places: Float32[np.ndarray, "m 2"]
    crops: UInt8[np.ndarray, "m s s"]

    def __len__(self) -> int:
        return len(self.attributes)

    def take(self, chosen: Int[np.ndarray, " k"]) -> Cells:
        """Some of them."""
        return Cells(self.attributes[chosen], self.places[chosen], self.crops[chosen])

    @staticmethod
    def joined(parts: Sequence[Cells]) -> Cells:
        """One after another."""
        return Cells(
            np.concatenate([each.attributes for each in parts]),
            np.concatenate([each.places for each in parts]),
            np.concatenate([each.crops for each in parts]),
        )


class CellSample:
    """At most `room` of the cells that are added, each with the same chance; how many there were, and their highest
    values.
    """

    def __init__(self, room: int, *, seed: int) -> None:
        self._room, self._rng = room, np.random.default_rng(seed)
        self._parts: list[Cells] = []
        self._keys = np.empty(0)
        self.seen = 0
        self.top = np.zeros(len(ATTRIBUTES), np.float32)

    def add(self, cells: Cells) -> None:
        """Add some cells; those with the smallest random numbers stay."""
        if not len(cells):
            return
        self.seen += len(cells)
        self.top = np.maximum(self.top, cells.attributes.max(axis=0))
        self._parts.append(cells)
        self._keys = np.concatenate([self._keys, self._rng.random(len(cells))])
        if len(self._keys) > 2 * self._room:
            self._thin()

    @property
    def cells(self) -> Cells:
        """The sample; its crops are empty where nothing was added."""
        if not self._parts:
            return Cells(np.empty((0, len(ATTRIBUTES)), np.float32), np.empty((0, 2), np.float32), np.empty((0, 1, 1)))
        self._thin()
        return self._parts[0]

    def _thin(self) -> None:
        chosen = np.sort(np.argsort(self._keys)[: self._room])
        self._parts, self._keys = [Cells.joined(self._parts).take(chosen)], self._keys[chosen]


def attributes(cells: Float32[np.ndarray, "i j c"], surrounding: Float32[np.ndarray, "i j"]) -> np.ndarray:
    """(i, j, a) of every cell from its channels and the share that moves in its wider surrounding."""
    held = dict(zip(CHANNELS, np.moveaxis(cells, -1, 0), strict=True))
    moving = np.maximum(held["moving"], 1e-3)
    found = {name: held[name] for name in ("speed", *_SIDES, *_EDGES, "peak")}
    found |= {"burst": np.sqrt(held["square"]), "turn": held["turn"] / moving}
    found |= {"size": held["moving"], "crowd": surrounding}
    return np.stack([found[name] for name in ATTRIBUTES], axis=-1)


class AttributeMemory(nn.Module):
    """`held` (m, a), `places` (m, 2) and `crops` (m, s, s) of normal cells, of which the first `count` are set, a
    random sample of the `seen` ones; `mean` and `spread` (a,) standardise, `scale` (g,) is each group's usual
    distance and `top` (a,) the highest value that was ever seen.
    """

    held: Tensor
    places: Tensor
    crops: Tensor
    count: Tensor
    seen: Tensor
    mean: Tensor
    spread: Tensor
    scale: Tensor
    top: Tensor

    def __init__(self, groups: Sequence[str], *, coreset: int, neighbours: int, place: float, crop: int) -> None:
        super().__init__()
        self.groups, self.neighbours, self.place = tuple(groups), neighbours, place
        width = len(ATTRIBUTES)
        self.register_buffer("held", torch.zeros(coreset, width))
        self.register_buffer("places", torch.zeros(coreset, 2))
        self.register_buffer("crops", torch.zeros(coreset, crop, crop, dtype=torch.uint8))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("scale", torch.ones(len(self.groups)))
        self.register_buffer("top", torch.zeros(width))
        self._trees: dict[str, KDTree] = {}
        self.register_load_state_dict_post_hook(lambda module, keys: module._trees.clear())  # type: ignore[no-untyped-call]

    def cells(self) -> Cells:
        """Those that are kept."""
        n = int(self.count)
        return Cells(self.held[:n].numpy(), self.places[:n].numpy(), self.crops[:n].numpy())

    def learn(self, sample: CellSample, *, seed: int) -> None:
        """Take normal cells in; every cell ever seen is kept with the same chance. Raises `DataError` for too few."""
        kept, new, before = self.cells(), sample.cells, int(self.seen)
        if len(kept) + len(new) < ENOUGH:
            raise DataError(
                f"normal footage must hold at least {ENOUGH} moving cells to learn from; there were "
                f"{len(kept) + len(new)}. Give footage in which something moves, or a smaller least."
            )
        rng, room, total = np.random.default_rng(seed), len(self.held), before + sample.seen
        share = min(len(new), round(room * sample.seen / total) if total > room else room)
        old = kept.take(np.sort(rng.permutation(len(kept))[: room - share]))
        self._keep(Cells.joined([old, new.take(np.sort(rng.permutation(len(new))[:share]))]), total)
        self.top.copy_(torch.from_numpy(np.maximum(self.top.numpy(), sample.top)))

    def _keep(self, chosen: Cells, total: int) -> None:
        n = len(chosen)
        self.held[:n] = torch.from_numpy(chosen.attributes)
        self.places[:n] = torch.from_numpy(chosen.places)
        self.crops[:n] = torch.from_numpy(chosen.crops)
        self.count.fill_(n)
        self.seen.fill_(total)
        self.mean.copy_(self.held[:n].mean(dim=0))
        self.spread.copy_(self.held[:n].std(dim=0).clamp_min(1e-6))
        self._trees.clear()

    def calibrate(self, normal: Cells) -> None:
        """Set each group's scale on normal cells that were not learnt. Raises `DataError` where there are too few."""
        if len(normal) < ENOUGH:
            raise DataError(
                f"held-out normal footage must hold at least {ENOUGH} moving cells; it holds {len(normal)}. Give more."
            )
        self.scale.fill_(1)
        distances = self.distances(normal.attributes, normal.places)
        self.scale.copy_(torch.from_numpy(np.maximum(np.quantile(distances, USUAL, axis=0), 1e-6)))

    def distances(self, values: Float[np.ndarray, "m a"], places: Float[np.ndarray, "m 2"]) -> np.ndarray:
        """(m, g): the mean distance to the nearest normal cells in each group, 1 being what is usual at most."""
        found = [self._nearest(name, values, places)[0].mean(axis=1) for name in self.groups]
        return np.stack(found, axis=1) / self.scale.numpy()

    def nearest(self, group: str, values: Float[np.ndarray, "m a"], places: Float[np.ndarray, "m 2"]) -> np.ndarray:
        """(m, k): the places in `cells` of the nearest normal ones in a group, the nearest first."""
        return self._nearest(group, values, places)[1]

    def _nearest(self, group: str, values: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.count:
            raise DataError("motion-attributes must learn from normal footage first: train this detector.")
        if group not in self._trees:
            kept = self.cells()
            self._trees[group] = KDTree(self._coordinates(group, kept.attributes, kept.places))
        wanted = [*range(1, 1 + min(self.neighbours, int(self.count)))]
        distance, index = self._trees[group].query(self._coordinates(group, values, places), k=wanted, eps=ROUGH)
        return distance, index

    def _coordinates(self, group: str, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        columns = [ATTRIBUTES.index(name) for name in GROUPS[group]]
        standard = (values[:, columns] - self.mean.numpy()[columns]) / self.spread.numpy()[columns]
        return np.concatenate([standard, places * self.place], axis=1) if self.place else standard
