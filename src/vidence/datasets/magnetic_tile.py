"""Magnetic tile defects (Huang, Qiu, Yuan, The Visual Computer 2020), as published or in plain class folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.publication import Published, picture_truth, visible
from vidence.errors import DataError

_NAME = re.compile(r"exp(\d+)_num_(\d+)")
_GAP = 150  # numbers of one tile's pictures lie closer together than this


@dataclass(frozen=True)
class MagneticTile(Published):
    """Gray pictures of tiles: free of defects, or with a blowhole, break, crack or fray, or uneven.

    Read are `MT_Free/Imgs/NAME.jpg` with the mask `NAME.png` beside it (as published) and `free/NAME.jpg` with
    `NAME_mask.png`. A tile was photographed at up to six exposures: its pictures stay together. There is no official
    split.
    """

    origin = "https://github.com/abin24/Magnetic-tile-defect-datasets."
    layout = "a folder per class (MT_Free/Imgs and others, or free and others) with exp1_num_*.jpg and their masks"
    calm = ("free",)

    def samples(self) -> list[Sample]:
        """All pictures, defects with their mask; the group is the tile."""
        home = self.home_of("[Ff]ree", "MT_Free")
        folders = self.some((path for path in home.glob("*") if path.is_dir()), "a folder per class")
        pictures = [(path, _label(folder)) for folder in folders for path in visible(_pictures(folder))]
        if not any(label in self.calm for _, label in pictures):
            raise self.absent("the class free")
        tiles = tile_groups(path.stem for path, _ in pictures)
        return [
            Sample(str(path), label, f"tile-{tiles[path.stem]}", None if label in self.calm else self._mask(path))
            for path, label in pictures
        ]

    def truth(self, sample: Sample, frames: int) -> Truth:
        """One picture: its label (a few uneven tiles have an empty mask), and the mask of the defect."""
        return picture_truth(sample, frames, anomalous=sample.label not in self.normal)

    def _mask(self, picture: Path) -> str:
        for name in (f"{picture.stem}_mask.png", f"{picture.stem}.png"):
            if (mask := picture.with_name(name)).exists():
                return str(mask)
        raise self.absent(f"the mask of {picture.parent.name}/{picture.name}")


def tile_groups(names: Iterable[str]) -> dict[str, int]:
    """Which tile each picture shows, told from the names exp<exposure>_num_<number>, which the camera gave in order.

    A new tile begins where the exposure does not rise, or the number jumps. Raises `DataError` for another name.
    """
    taken = []
    for name in names:
        read = _NAME.fullmatch(name)
        if read is None:
            raise DataError(f"pictures of magnetic tiles must be named like exp1_num_108719; got {name!r}.")
        taken.append((int(read[2]), int(read[1]), name))
    groups, group = {}, 0
    before = (0, 0)
    for number, exposure, name in sorted(taken):
        if exposure <= before[1] or number - before[0] > _GAP:
            group += 1
        groups[name], before = group, (number, exposure)
    return groups


def _pictures(folder: Path) -> Iterable[Path]:
    inside = folder / "Imgs"
    return (inside if inside.is_dir() else folder).glob("*.jpg")


def _label(folder: Path) -> str:
    return folder.name.lower().removeprefix("mt_")
