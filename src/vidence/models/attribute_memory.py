"""What was normal: a bounded sample of moving cells with their attributes, and how far another cell is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor, nn

from vidence.errors import DataError
from vidence.models.cell_appearance import LOOKS, CellAppearance
from vidence.models.nearest import Lookup, neighbours_among, whitening
from vidence.models.perspective import NONE, fitted, pace
from vidence.motion.moving_cells import CHANNELS
from vidence.motion.object_tracks import OF_OBJECT

_SIDES = ("right", "left", "down", "up")  # as channels: means over the cell
_WAYS = ("rightwards", "leftwards", "downwards", "upwards")  # means over what moves in it
_EDGES = tuple(name for name in CHANNELS if name.startswith("edge"))
_LOOKS = tuple(f"look {k}" for k in range(LOOKS))
_PLACE = ("row", "column")
_OF_CELL = (
    "speed",
    "burst",
    "peak",
    *_SIDES,
    *_WAYS,
    "turn",
    "unevenness",
    "agreement",
    *_EDGES,
    "size",
    "crowd",
    *_LOOKS,
)
ATTRIBUTES = (*_OF_CELL, *_PLACE, *OF_OBJECT)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "speed": ("speed", "burst"),
    "peak": ("peak",),
    "direction": _WAYS,
    "acceleration": ("turn",),
    "gait": ("unevenness", "agreement"),
    "shape": (*_EDGES, "size"),
    "manner": ("speed", *_SIDES, *_EDGES, "peak"),
    "size": ("size", "crowd"),
    "appearance": _LOOKS,
    "place": _PLACE,
    "object": ("width", "height", "area", "aspect", "pace"),
    "dwell": ("dwell",),
}
"""Each attribute group has a density of its own; `gait` is how unlike each other the motions within a cell are, which
is little for what is rigid; `manner` is speed, direction and shape at once; `appearance` is what a MobileNetV2 sees in
a cell that moves. `object` and `dwell` are of the tracked object that covers a cell.
"""
_SPEEDS = [ATTRIBUTES.index(name) for name in ("speed", "burst", "peak", *_SIDES, *_WAYS, "turn", "pace")]
_LOOKING = [ATTRIBUTES.index(name) for name in _LOOKS]
OBJECT_GROUPS = tuple(name for name, held in GROUPS.items() if set(held) <= set(OF_OBJECT))
ENOUGH = 50  # normal cells that a scale is read off at least
FLOOR = 0.1  # standard deviations that a distance of 1 stands for at least, where normal cells lie upon each other
USUAL = 0.999  # the quantile of normal cells' distances that a distance of 1 stands for; 0 is their median
ROWLESS = ("place", "appearance")  # it is one of the place's own; what is odd to look at is so in every row
TILES = 8  # the picture's height and width are divided by this; a tile and those around it are a neighbourhood


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Moving cells: `attributes` (m, a) in the order of ATTRIBUTES, and `crops` (m, s, s), what they looked like in
    gray.
    """

    attributes: Float32[np.ndarray, "m a"]
    crops: UInt8[np.ndarray, "m s s"]

    def __len__(self) -> int:
        return len(self.attributes)

    @property
    def places(self) -> Float32[np.ndarray, "m 2"]:
        """Row and column of each, as shares of the picture's height and width."""
        return places(self.attributes)

    def take(self, chosen: Int[np.ndarray, " k"]) -> Cells:
        """Some of them."""
        return Cells(self.attributes[chosen], self.crops[chosen])

    @staticmethod
    def joined(parts: Sequence[Cells]) -> Cells:
        """One after another."""
        return Cells(
            np.concatenate([each.attributes for each in parts]),
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
        self.top = np.zeros((TILES, TILES, len(ATTRIBUTES)), np.float32)

    def add(self, cells: Cells) -> None:
        """Add some cells; those with the smallest random numbers stay."""
        if not len(cells):
            return
        self.seen += len(cells)
        np.maximum.at(self.top, tuple(_tiles(cells.places).T), cells.attributes)
        self._parts.append(cells)
        self._keys = np.concatenate([self._keys, self._rng.random(len(cells))])
        if len(self._keys) > 2 * self._room:
            self._thin()

    @property
    def cells(self) -> Cells:
        """The sample; its crops are empty where nothing was added."""
        if not self._parts:
            return Cells(np.empty((0, len(ATTRIBUTES)), np.float32), np.empty((0, 1, 1), np.uint8))
        self._thin()
        return self._parts[0]

    def _thin(self) -> None:
        chosen = np.sort(np.argsort(self._keys)[: self._room])
        self._parts, self._keys = [Cells.joined(self._parts).take(chosen)], self._keys[chosen]


def attributes(
    cells: Float32[np.ndarray, "i j c"],
    surrounding: Float32[np.ndarray, "i j"],
    looks: Float32[np.ndarray, "i j k"],
    objects: Float32[np.ndarray, "i j v"],
    *,
    filled: float,
) -> np.ndarray:
    """(i, j, a) of every cell from its channels, the share that moves in its wider surrounding, what it looks like, and
    the values of the object that covers it. Those of objects are 0 where there is none, all others but the place 0
    where no more than a share `filled` moves.
    """
    held = dict(zip(CHANNELS, np.moveaxis(cells, -1, 0), strict=True))
    moving, speed = np.maximum(held["moving"], 1e-3), np.maximum(held["speed"], 1e-3)
    found = {name: held[name] for name in ("speed", "peak", *_SIDES, *_EDGES)} | {"turn": held["turn"] / moving}
    found["burst"] = np.sqrt(np.maximum(held["square"], 0))
    found |= {way: held[side] / moving for way, side in zip(_WAYS, _SIDES, strict=True)}
    found["unevenness"] = np.sqrt(np.maximum(held["square"] * moving / speed**2 - 1, 0))
    found["agreement"] = np.hypot(held["right"] - held["left"], held["down"] - held["up"]) / speed
    found |= {"size": held["moving"], "crowd": surrounding}
    found |= dict(zip(_LOOKS, np.moveaxis(looks, -1, 0), strict=True))
    counts = held["moving"] > filled
    motion = np.stack([np.where(counts, found[name], np.float32(0)) for name in _OF_CELL], axis=-1)
    at = (np.moveaxis(np.indices(counts.shape, np.float32), 0, -1) + 0.5) / np.array(counts.shape, np.float32)
    return np.concatenate([motion, at, objects], axis=-1)


def places(values: Float[np.ndarray, "m a"]) -> np.ndarray:
    """(m, 2): row and column of cells, as shares of the picture's height and width."""
    return values[:, [ATTRIBUTES.index(name) for name in _PLACE]]


def _rows(values: Float[np.ndarray, "m a"]) -> np.ndarray:
    return values[:, ATTRIBUTES.index("row")]


def has(group: str, values: Float[np.ndarray, "m a"]) -> Bool[np.ndarray, " m"]:
    """Which cells a group says something of: those that move, that moved when they were looked at, or that an object
    covers.
    """
    if group == "appearance":
        return np.asarray(values[:, _LOOKING].any(axis=1))
    return np.asarray(values[:, ATTRIBUTES.index("width" if group in OBJECT_GROUPS else "size")] > 0)


def _tiles(places: Float[np.ndarray, "m 2"]) -> Int[np.ndarray, "m 2"]:
    return (places * TILES).astype(int).clip(0, TILES - 1)


class _Normal(NamedTuple):
    """Normal cells that are compared with: what finds the nearest, which of `cells` they are, and whether of one
    neighbourhood.
    """

    find: Lookup
    rows: Int[np.ndarray, " r"]
    alone: bool


class AttributeMemory(nn.Module):
    """`held` (m, a) and `crops` (m, s, s) of normal cells, of which the first `count` are set, a
    random sample of the `seen` ones; `mean` and `spread` (a,) standardise, `axes` (v, v) whiten what cells look like,
    `middle` and `scale` (g,) are the distances in each group that count as 0 and 1, and `top` (i, j, a) is the highest
    value that was ever seen in each tile of the picture.

    `appearance` is what sees what cells look like, None without its group.

    With `perspective`, speeds are compared as multiples of what is usual in their row, the `line` (2,). In every group
    of motion, cells whose rows in the picture differ by a standard deviation are `rows` apart.

    With `local` above 0, a cell is compared with the normal ones of its neighbourhood alone, its tile and those around
    it, where at least so many are kept there.
    """

    held: Tensor
    crops: Tensor
    count: Tensor
    seen: Tensor
    mean: Tensor
    spread: Tensor
    axes: Tensor
    middle: Tensor
    scale: Tensor
    top: Tensor
    line: Tensor

    def __init__(
        self,
        groups: Sequence[str],
        *,
        coreset: int,
        neighbours: int,
        local: int,
        perspective: bool,
        rows: float,
        crop: int,
        appearance: CellAppearance | None = None,
    ) -> None:
        super().__init__()
        self.groups, self.neighbours, self.local = tuple(groups), neighbours, local
        self.perspective, self.rows = perspective, rows
        self.appearance = appearance
        width = len(ATTRIBUTES)
        self.register_buffer("held", torch.zeros(coreset, width))
        self.register_buffer("crops", torch.zeros(coreset, crop, crop, dtype=torch.uint8))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("axes", torch.eye(LOOKS))
        self.register_buffer("middle", torch.zeros(len(self.groups)))
        self.register_buffer("scale", torch.ones(len(self.groups)))
        self.register_buffer("top", torch.zeros(TILES, TILES, width))
        self.register_buffer("line", torch.tensor(NONE, dtype=torch.float64))
        self._trees: dict[tuple[str, tuple[int, int] | None], _Normal] = {}
        self.register_load_state_dict_post_hook(lambda module, keys: module._trees.clear())  # type: ignore[no-untyped-call]

    def cells(self) -> Cells:
        """Those that are kept."""
        n = int(self.count)
        return Cells(self.held[:n].numpy(), self.crops[:n].numpy())

    def learn(self, sample: CellSample, *, seed: int) -> None:
        """Take normal cells in; every cell ever seen is kept with the same chance. Raises `DataError` for too few."""
        kept, new, before = self.cells(), sample.cells, int(self.seen)
        _check("normal footage to learn from", self.groups, Cells.joined([kept, new]) if len(new) else kept)
        rng, room, total = np.random.default_rng(seed), len(self.held), before + sample.seen
        share = min(len(new), round(room * sample.seen / total) if total > room else room)
        old = kept.take(np.sort(rng.permutation(len(kept))[: room - share]))
        self._keep(Cells.joined([old, new.take(np.sort(rng.permutation(len(new))[:share]))]), total)
        self.top.copy_(torch.from_numpy(np.maximum(self.top.numpy(), sample.top)))

    def _keep(self, chosen: Cells, total: int) -> None:
        n = len(chosen)
        self.held[:n] = torch.from_numpy(chosen.attributes)
        self.crops[:n] = torch.from_numpy(chosen.crops)
        self.count.fill_(n)
        self.seen.fill_(total)
        if self.perspective:
            moving = chosen.attributes[has("peak", chosen.attributes)]
            self.line.copy_(torch.from_numpy(fitted(_rows(moving), moving[:, ATTRIBUTES.index("peak")])))
        level = torch.from_numpy(self.levelled(chosen.attributes))
        others = tuple(name for name in ATTRIBUTES if name not in (*OF_OBJECT, *_LOOKS))
        for group, names in (("speed", others), ("appearance", _LOOKS), (OBJECT_GROUPS[0], OF_OBJECT)):
            columns = [ATTRIBUTES.index(name) for name in names]
            there = has(group, chosen.attributes)
            if there.sum() > 1:
                values = level[torch.from_numpy(there)][:, columns]
                self.mean[columns] = values.mean(dim=0)
                self.spread[columns] = values.std(dim=0).clamp_min(1e-6)
        if "appearance" in self.groups:
            looks = self._standard(chosen.attributes[has("appearance", chosen.attributes)])[:, _LOOKING]
            self.axes.copy_(torch.from_numpy(whitening(looks)))
        self._trees.clear()

    def calibrate(self, normal: Cells) -> None:
        """Set each group's scale on normal cells that were not learnt. Raises `DataError` where there are too few."""
        _check("held-out normal footage", self.groups, normal)
        self.middle.fill_(0)
        self.scale.fill_(1)
        distances = self.distances(normal.attributes)
        for k, name in enumerate(self.groups):
            middle, usual = np.quantile(distances[has(name, normal.attributes), k], (0.5, USUAL))
            self.middle[k], self.scale[k] = float(middle), max(float(usual), float(middle) + FLOOR)

    def distances(self, values: Float[np.ndarray, "m a"]) -> np.ndarray:
        """(m, g): the mean distance to the nearest normal cells in each group, 0 for what is usual and 1 for what is
        usual at most; 0 where a group says nothing of a cell.
        """
        found = np.tile(self.middle.numpy().astype(np.float64), (len(values), 1))
        for k, name in enumerate(self.groups):
            there = has(name, values)
            if there.any():
                found[there, k] = self._nearest(name, values[there])[0].mean(axis=1)
        return np.maximum((found - self.middle.numpy()) / (self.scale - self.middle).numpy(), 0)

    def times(self, group: str, distance: float) -> float:
        """A distance in a group as a multiple of what is usual at most: neighbours of normal cells are not at 0."""
        k = self.groups.index(group)
        middle, scale = float(self.middle[k]), float(self.scale[k])
        return (middle + distance * (scale - middle)) / scale

    def nearest(self, group: str, values: Float[np.ndarray, "m a"]) -> np.ndarray:
        """(m, k): the indices in `cells` of the nearest normal ones in a group, the nearest first."""
        return self._nearest(group, values)[1]

    def highest(self, group: str, place: Float[np.ndarray, " 2"]) -> tuple[Float32[np.ndarray, " a"], bool]:
        """The highest values ever learnt of what a cell at a place is compared with, speeds as they would be in its
        row, and whether that is its neighbourhood alone.
        """
        (i, j), middles = _tiles(place[None])[0], (np.arange(TILES) + 0.5) / TILES
        top = self.top.numpy().copy()
        top[..., _SPEEDS] *= (self._pace(place[:1]) / self._pace(middles))[:, None, None]
        if not self._compared(group, (i, j)).alone:
            return top.max(axis=(0, 1)), False
        return top[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max(axis=(0, 1)), True

    def levelled(self, values: Float32[np.ndarray, "m a"], *, row: float | None = None) -> Float32[np.ndarray, "m a"]:
        """Speeds as they would be in a `row`; without one, at the average distance from the camera."""
        level = values.copy()
        there = 1.0 if row is None else self._pace(np.array([row]))[0]
        level[:, _SPEEDS] *= (there / self._pace(_rows(values)))[:, None]
        return level

    def _pace(self, rows: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        return pace(self.line.numpy(), rows)

    def _nearest(self, group: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.count:
            raise DataError("motion-attributes must learn from normal footage first: train this detector.")
        coordinates = self._coordinates(group, values)
        tiles = (
            _tiles(places(values)) if self.local else np.zeros((len(values), 2), int)
        )  # without neighbourhoods all is one
        parts = []
        for tile in np.unique(tiles, axis=0):
            here = np.flatnonzero((tiles == tile).all(axis=1))
            known = self._compared(group, (int(tile[0]), int(tile[1])))
            distance, index = known.find(coordinates[here], min(self.neighbours, len(known.rows)))
            parts.append((here, distance, known.rows[index]))
        order = np.argsort(np.concatenate([here for here, _, _ in parts]))
        distances, rows = (np.concatenate([part[k] for part in parts])[order] for k in (1, 2))
        return distances, rows

    def _compared(self, group: str, tile: tuple[int, int]) -> _Normal:
        """What a cell in a tile is compared with in a group."""
        if (group, tile) not in self._trees:
            kept = self.cells()
            rows = np.flatnonzero(has(group, kept.attributes))
            near = rows[(np.abs(_tiles(kept.places[rows]) - tile) <= 1).all(axis=1)]
            alone = 0 < self.local <= len(near)
            self._trees[group, tile] = self._normal(group, near, alone=True) if alone else self._all(group, rows)
        return self._trees[group, tile]

    def _all(self, group: str, rows: Int[np.ndarray, " r"]) -> _Normal:
        if (group, None) not in self._trees:
            self._trees[group, None] = self._normal(group, rows, alone=False)
        return self._trees[group, None]

    def _normal(self, group: str, rows: Int[np.ndarray, " r"], *, alone: bool) -> _Normal:
        return _Normal(neighbours_among(self._coordinates(group, self.cells().attributes[rows])), rows, alone)

    def _coordinates(self, group: str, values: np.ndarray) -> np.ndarray:
        standard = self._standard(values)
        found = standard[:, [ATTRIBUTES.index(name) for name in GROUPS[group]]]
        if group == "appearance":
            found = found @ self.axes.numpy()
        if group in ROWLESS or not self.rows:
            return np.asarray(found)
        return np.concatenate([found, self.rows * _rows(standard)[:, None]], axis=1)

    def _standard(self, values: Float32[np.ndarray, "m a"]) -> Float32[np.ndarray, "m a"]:
        return (self.levelled(values) - self.mean.numpy()) / self.spread.numpy()


def _check(what: str, groups: Sequence[str], cells: Cells) -> None:
    """Raise `DataError` where a group has too few cells."""
    for group in groups:
        count = int(has(group, cells.attributes).sum())
        if count < ENOUGH:
            kind = "cells of objects" if group in OBJECT_GROUPS else "moving cells"
            raise DataError(
                f"{what} must hold at least {ENOUGH} {kind}; there were {count}. Give footage in which something "
                "moves, or a smaller least."
            )
