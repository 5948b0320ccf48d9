"""Daytime Driver Distraction (Ou, Zhao, Karray, El Khatib, ICIAR 2019): pictures of drivers in a simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidence.datasets.dataset import Sample, split_normal
from vidence.datasets.publication import Published, visible
from vidence.frames.images import IMAGE_SUFFIXES

SHARES = {"train": 0.52, "val": 0.12, "test": 0.36}  # the thesis learns from 16 of 25 drivers


@dataclass(frozen=True)
class Driver(Published):
    """25 drivers; normal, talking, texting, operating GPS. Read are DRIVER/CLASS/* and CLASS/DRIVER/*: the folders of
    the class are those of which one is called normal. A driver stays on one side of the split, so the distractions of
    drivers whose normal pictures are learned from are left out.
    """

    origin = (
        "its authors: C. Ou, Q. Zhao, F. Karray, A. El Khatib (ICIAR 2019, 'dual mode driver distraction detection')"
    )
    layout = "DRIVER/CLASS/*.jpg or CLASS/DRIVER/*.jpg with a class called normal"

    def samples(self) -> list[Sample]:
        """All pictures, labelled with their class in small letters."""
        home = self.home_of("*/*/*.jpg", "*/*/*.JPG", "*/*/*.png")
        outer = self.some((path for path in home.glob("*") if path.is_dir()), "a folder per driver or class")
        by_class = any(_label(folder) == "normal" for folder in outer)
        samples = []
        for first in outer:
            for second in self.some((path for path in first.iterdir() if path.is_dir()), f"{first.name}/*/"):
                kind, driver = (first, second) if by_class else (second, first)
                pictures = visible(path for path in second.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
                samples += [Sample(str(path), _label(kind), driver.name) for path in pictures]
        if not any(sample.label == "normal" for sample in samples):
            raise self.absent("a class folder called normal with pictures in it")
        return samples

    def normal_split(self, seed: int = 0) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """16 of 25 drivers to train and to validate, all classes of the others to test."""
        return split_normal(self.samples(), self.normal, parts=SHARES, seed=seed)


def _label(folder: Path) -> str:
    name = folder.name.strip().lower().replace("_", " ").replace("-", " ")
    return "normal" if name.startswith("normal") else name
