"""Does the map lie on the anomaly? Measures against a known mask (methods.md B.3).

Where several places are equally strong, the clip's own generator draws among them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from skimage.filters import threshold_otsu

from vidence.errors import SpecError
from vidence.evaluate.cells import first_of, ranking
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.pixel_level import PixelTally

Map: TypeAlias = Float[np.ndarray, "t h w"]
Mask: TypeAlias = Bool[np.ndarray, "t h w"]
Cut: TypeAlias = Literal["area", "otsu", "share"]

TOLERANCE = 1 / 16  # of the shorter side: Li et al. allow 7 pixels at 112
UNMOVED = np.eye(2, 3)


class AgainstTruth(Measure):
    """A measure that needs no more than the map and the mask."""

    aspect = "localisation"
    needs_truth = True

    @abstractmethod
    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float | None:
        """The number for a map (t, h, w) and a mask of its shape that is not empty."""

    def of(self, case: Case) -> float | None:
        """That of the case's map and mask."""
        return None if case.mask is None else self.against(case.values, case.mask, case.rng)


@dataclass(frozen=True)
class MassInside(AgainstTruth):
    """Share of the positive mass inside the mask, in [0, 1]; 0 where there is none (relevance mass accuracy)."""

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """What speaks against the score counts nowhere."""
        positive = np.maximum(values, 0, dtype=np.float64)
        total = positive.sum()
        return float(positive[mask].sum() / total) if total > 0 else 0.0


@dataclass(frozen=True)
class MassRatio(AgainstTruth):
    """`mass-inside` over the mask's share of the volume: a constant map has 1."""

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """At most 1 / share."""
        return MassInside().against(values, mask, rng) / float(mask.mean())


@dataclass(frozen=True)
class Pointing(AgainstTruth):
    """1 if the strongest place of the volume lies in the mask, grown in each frame by `tolerance` of the shorter side.

    The pointing game (Zhang et al., IJCV 2018) over space and time at once; `tolerance=0` is the exact one.
    """

    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Refuse a tolerance that is no share."""
        _check_share("tolerance", self.tolerance, least=0)

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """0 or 1."""
        return float(grown(mask, self.tolerance).reshape(-1)[strongest(values.reshape(1, -1), rng)[0]])


@dataclass(frozen=True)
class PointingFrames(AgainstTruth):
    """Share of the mask's frames whose strongest place lies in it, with the tolerance of `pointing`: place alone."""

    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Refuse a tolerance that is no share."""
        _check_share("tolerance", self.tolerance, least=0)

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """As Li et al. (WACV 2021) play it."""
        frames = mask.any(axis=(1, 2))
        wide = grown(mask[frames], self.tolerance).reshape(int(frames.sum()), -1)
        places = strongest(values[frames].reshape(wide.shape), rng)
        return float(np.take_along_axis(wide, places[:, None], axis=1).mean())


@dataclass(frozen=True)
class StrongestFrame(AgainstTruth):
    """1 if the frame with the largest positive mass is one of the event (temporal pointing): time alone.

    None where every frame is. For a pair of clips set one behind the other, the mask is the whole of the true half.
    """

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float | None:
        """0 or 1."""
        frames = np.flatnonzero(mask.any(axis=(1, 2)))
        mass = np.maximum(values, 0, dtype=np.float64).sum(axis=(1, 2))
        return None if len(frames) == len(mask) else float(strongest(mass[None], rng)[0] in frames)


@dataclass(frozen=True)
class RankAccuracy(AgainstTruth):
    """Share of the |mask| strongest places that lie inside the mask (RRA, Arras et al., Information Fusion 2022)."""

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """In [0, 1]; 1 for every map that is stronger inside than anywhere outside."""
        held = first_of(ranking(values.reshape(-1), rng), np.array([mask.sum()]))[0]
        return float(mask.reshape(-1)[held].mean())


@dataclass(frozen=True)
class IoU(AgainstTruth):
    """Overlap of the map's marked pixels with the mask, over their union: the mean over frames with a mask.

    Marked are, in each frame, `cut='area'`: as many strongest pixels as the mask has there; `'otsu'`: those above
    Otsu's threshold of the positive part; `'share'`: a fixed `share` of the frame.
    """

    cut: Cut = "area"
    share: float = 0.05

    def __post_init__(self) -> None:
        """Refuse an unknown cut."""
        _check_cut(self.cut, self.share)

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """Place alone: the other frames of the map do not matter."""
        frames = mask.any(axis=(1, 2))
        truth = mask[frames].reshape(int(frames.sum()), -1)
        return _overlap(values[frames].reshape(truth.shape), truth, rng, cut=self.cut, share=self.share)


@dataclass(frozen=True)
class VolumeIoU(AgainstTruth):
    """`iou` over the whole volume at once, place and time together (vIoU); with `cut='area'` r / (2 - r) of RRA r."""

    cut: Cut = "area"
    share: float = 0.05

    def __post_init__(self) -> None:
        """Refuse an unknown cut."""
        _check_cut(self.cut, self.share)

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float:
        """In [0, 1]."""
        return _overlap(values.reshape(1, -1), mask.reshape(1, -1), rng, cut=self.cut, share=self.share)


class Pixelwise(AgainstTruth):
    """A measure that takes the map, sign and all, as an anomaly score per pixel; None where all are anomalous."""

    def _tallied(self, name: str, values: Map, mask: Mask) -> float | None:
        tally = PixelTally()
        tally.add(values, mask, affine=UNMOVED)
        return tally.measures()[name]


@dataclass(frozen=True)
class PixelAUROC(Pixelwise):
    """Area under the ROC curve of the clip's pixels: chance .5."""

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float | None:
        """In [0, 1]."""
        return self._tallied("pixel_auc", values, mask)


@dataclass(frozen=True)
class PixelAP(Pixelwise):
    """Average precision of the clip's pixels: chance is the mask's share of the volume."""

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float | None:
        """In [0, 1]."""
        return self._tallied("pixel_ap", values, mask)


@dataclass(frozen=True)
class PRO(Pixelwise):
    """Mean overlap with each connected region, over false-positive rates up to .3 (Bergmann et al., 2021).

    Chance is .15; a small region counts as much as a large one.
    """

    def against(self, values: Map, mask: Mask, rng: np.random.Generator) -> float | None:
        """In [0, 1]."""
        return self._tallied("pro", values, mask)


def strongest(rows: Float[np.ndarray, "r p"], rng: np.random.Generator) -> Int[np.ndarray, " r"]:
    """The place of each row's largest value, drawn where several are."""
    ties = rows == rows.max(axis=1, keepdims=True)
    return np.where(ties, rng.random(rows.shape), -1).argmax(axis=1)


def grown(mask: Mask, tolerance: float = TOLERANCE) -> Mask:
    """The mask widened in each frame by `tolerance` of the shorter side."""
    radius = round(min(mask.shape[1:]) * tolerance)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.stack([cv2.dilate(frame.astype(np.uint8), disc) for frame in mask]).astype(bool)


def _overlap(
    rows: Float[np.ndarray, "r p"], truth: Bool[np.ndarray, "r p"], rng: np.random.Generator, *, cut: Cut, share: float
) -> float:
    """Mean over rows of intersection over union."""
    if cut == "otsu":
        positive = np.maximum(rows, 0)
        held = positive >= np.array([[_otsu(row)] for row in positive])
    else:
        counts = truth.sum(axis=1) if cut == "area" else np.full(len(rows), max(1, round(share * rows.shape[1])))
        held = first_of(ranking(rows, rng), counts)
    return float(((held & truth).sum(axis=1) / (held | truth).sum(axis=1)).mean())


def _otsu(row: Float[np.ndarray, " p"]) -> float:
    """The lower end of the upper class: scikit-image's is a bin's middle, which parts values of that bin.

    Nothing stands out of a constant row.
    """
    if row.min() == row.max():
        return inf
    counts, edges = np.histogram(row, bins=256)
    return float(threshold_otsu(hist=(counts, edges[1:])))


def _check_cut(cut: str, share: float) -> None:
    if cut not in ("area", "otsu", "share"):
        raise SpecError(f"cut must be 'area', 'otsu' or 'share'; got {cut!r}.")
    _check_share("share", share, least=1e-6)


def _check_share(name: str, value: float, *, least: float) -> None:
    if not least <= value <= 1:
        raise SpecError(f"{name} must be a share between {least:g} and 1; got {value!r}.")
