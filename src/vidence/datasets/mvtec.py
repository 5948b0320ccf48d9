"""MVTec AD (Bergmann, Fauser, Sattlegger, Steger, CVPR 2019) as published: one category of objects, or all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidence.datasets.dataset import Sample, Truth
from vidence.datasets.publication import Official, picture_truth


@dataclass(frozen=True)
class MVTec(Official):
    """Pictures of flawless and of damaged objects. `root` is the folder of a category (labels are its defects), or of
    all of them (labels are CATEGORY/DEFECT, and one detector learns all categories).
    """

    origin = "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    layout = "CATEGORY/train/good, CATEGORY/test/DEFECT, CATEGORY/ground_truth/DEFECT, or one category's folders"
    calm = ("good",)

    def part(self, name: Literal["train", "test"]) -> list[Sample]:
        """The pictures of a part, category by category; damaged ones with their mask."""
        samples, home = [], self.home_of("train", "test", "*/train")
        for category in self._categories(home):
            folders = (path for path in (category / name).glob("*") if path.is_dir())
            for folder in self.some(folders, f"{category.name}/{name}/*/"):
                pictures = self.some(folder.glob("*.png"), f"{category.name}/{name}/{folder.name}/*.png")
                samples += [self._sample(picture, category, alone=category == home) for picture in pictures]
        return samples

    def truth(self, sample: Sample, frames: int) -> Truth:
        """One picture: its label, and the mask of the damage."""
        return picture_truth(sample, frames, anomalous=sample.label not in self.normal)

    def _categories(self, home: Path) -> list[Path]:
        if (home / "train").is_dir() or (home / "test").is_dir():
            return [home]
        return self.some((path.parent for path in home.glob("*/train")), "CATEGORY/train")

    def _sample(self, picture: Path, category: Path, *, alone: bool) -> Sample:
        defect = picture.parent.name
        group = picture.relative_to(category.parent).as_posix()
        if defect in self.calm:
            return Sample(str(picture), defect, group)
        mask = category / "ground_truth" / defect / f"{picture.stem}_mask.png"
        if not mask.exists():
            raise self.absent(mask.relative_to(category.parent).as_posix())
        return Sample(str(picture), defect if alone else f"{category.name}/{defect}", group, str(mask))
