"""Sets as their publishers ship them: what is missing is named with the place to get it, official parts are kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from vidence.datasets.dataset import PARTS, Dataset, Sample, Truth, split
from vidence.datasets.intervals import same_length
from vidence.datasets.masks import read_mask
from vidence.errors import DataError

DEPTH = 3  # the root, the folder of the archive, and one in that


@dataclass(frozen=True)
class Published(Dataset):
    """A set in its publisher's layout below the folder `root`, for detectors that learn from normal samples.

    `origin` says where to get it, `layout` what its folder holds, `top` the folder in the publisher's archive, which
    may be the root or lie in it, `calm` the labels of what is normal. Where a folder holds nothing that is looked for
    and a single visible folder, as an unpacked archive does, that one is searched: see `homes`.
    """

    root: str
    origin: ClassVar[str]
    layout: ClassVar[str]
    top: ClassVar[str] = ""
    calm: ClassVar[tuple[str, ...]] = ("normal",)

    @property
    def normal(self) -> tuple[str, ...]:
        """The labels that count as normal."""
        return self.calm

    def split(self, name: str, *, seed: int = 0) -> list[Sample]:
        """The samples of `train` or `val`, all normal, or of `test`: the parts of `normal_split`."""
        if name not in PARTS:
            raise DataError(f"a part is one of {', '.join(PARTS)}; got {name!r}.")
        return self.normal_split(seed)[list(PARTS).index(name)]

    def homes(self) -> Iterator[Path]:
        """Where the set may lie: the root, `top` in it, and where a folder holds a single visible one that, twice."""
        home = Path(self.root)
        for _ in range(DEPTH):
            yield from dict.fromkeys((home, home / self.top))
            inside = [one for one in visible(home.glob("*")) if one.is_dir()]
            if len(inside) != 1:
                return
            (home,) = inside

    def home_of(self, *signs: str) -> Path:
        """The first of `homes` that holds something visible by one of these patterns, else the root."""
        held = (home for home in self.homes() for sign in signs if visible(home.glob(sign)))
        return next(held, Path(self.root))

    def found(self, *names: str) -> Path | None:
        """The first of these paths that exists, in the first of `homes` that holds one."""
        places = (home / name for home in self.homes() for name in names)
        return next((place for place in places if place.exists()), None)

    def place(self, *names: str) -> Path:
        """The same. Raises `DataError` if none exists."""
        found = self.found(*names)
        if found is None:
            raise self.absent(" or ".join(names))
        return found

    def absent(self, what: str) -> DataError:
        """The error for a missing file or folder."""
        return DataError(
            f"{what} is missing in {self.root!r}, which must hold {self.layout}. Get the set from {self.origin}."
        )

    def some(self, paths: Iterable[Path], what: str) -> list[Path]:
        """Those that are `visible`. Raises `DataError` if there are none."""
        found = visible(paths)
        if not found:
            raise self.absent(what)
        return found


@dataclass(frozen=True)
class Official(Published):
    """A published set that says what is for training and what for testing.

    The official test part is the test; of the normal samples of the training part some groups validate.
    """

    @abstractmethod
    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """All samples of an official part, in a fixed order."""

    def samples(self) -> list[Sample]:
        """Both official parts, the one for training first."""
        return self.part("train") + self.part("test")

    def split(self, name: str, *, seed: int = 0) -> list[Sample]:
        """The samples of `train` or `val`, all normal, or of `test`, which needs no training files to be there."""
        return self.part("test") if name == "test" else super().split(name, seed=seed)

    def normal_split(self, seed: int = 0) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """The official training part's normal samples, split by group to train and to validate; the official test."""
        return *self.learned(seed), self.part("test")

    def learned(self, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
        """The first two of these, which need no test files to be there."""
        normal = [sample for sample in self.part("train") if sample.label in self.normal]
        shares = {"train": 1 - PARTS["val"], "val": PARTS["val"]}
        parts = split(normal, parts=shares, seed=seed)
        return parts["train"], parts["val"]


def visible(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of their names, without hidden ones, which systems put beside others (.DS_Store, ._1.jpg)."""
    return sorted(path for path in paths if not path.name.startswith("."))


def picture_truth(sample: Sample, frames: int, *, anomalous: bool) -> Truth:
    """The truth of one picture: its mask, or where it has none, not a pixel anomalous; (1, h, w) in its own pixels.

    Raises `DataError` when the mask has another size than the picture.
    """
    same_length(1, frames, where=f"the picture {sample.path!r}")
    size = sample.open().size
    mask = np.zeros(size, dtype=bool) if sample.mask is None else read_mask(sample.mask)
    if mask.shape != size:
        raise DataError(f"a mask must have the size of its picture; {sample.mask!r} has {mask.shape} for {size}.")
    return Truth(np.array([anomalous]), mask[None])
