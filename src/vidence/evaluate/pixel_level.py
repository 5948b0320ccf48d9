"""How well maps find the anomalous pixels, where masks say which they are: AUC, average precision, PRO.

A set has too many pixels to keep. They are counted at 2^20 levels, the leading bits of their float32: levels are
spaced by less than 0.05 % of the value, whatever its size, so no range has to be known beforehand.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import label
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from vidence.errors import DataError, ShapeError
from vidence.frames.transforms import resize_map

DROPPED = 12  # bits of a float32
LEVELS = 1 << (32 - DROPPED)
FALSE_POSITIVES = 0.3  # PRO is integrated up to this rate (Bergmann et al. 2021)
CHUNK = 16  # frames brought to source pixels at a time


class PixelTally:
    """Counts pixels of maps with masks, source by source; `measures` speaks of all of them together."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, LEVELS), dtype=np.int64)  # normal, anomalous
        self._overlap = np.zeros(LEVELS)  # of the regions' pixels, each weighs 1 / its region's pixels
        self._regions = 0

    def add(
        self,
        density: Float[np.ndarray, "t h w"],
        masks: Bool[np.ndarray, "t H W"],
        *,
        affine: Float[np.ndarray, "2 3"],
    ) -> None:
        """Count frames: `density` on the network's grid, `masks` in source pixels, `affine` from the one to the other.

        Pixels that the network does not see have density 0. Raises `DataError` for values that are not finite.
        """
        if len(density) != len(masks):
            raise ShapeError(f"maps need a mask per frame; got {len(density)} maps and {len(masks)} masks.")
        if not np.isfinite(density).all():
            raise DataError("a map must be finite everywhere; this detector's is not. Train it again.")
        for first in range(0, len(density), CHUNK):
            mask = masks[first : first + CHUNK]
            self._count(_levels(resize_map(density[first : first + CHUNK], affine, mask.shape[1:])), mask)

    def _count(self, levels: Int[np.ndarray, "t H W"], mask: Bool[np.ndarray, "t H W"]) -> None:
        inside = levels[mask]
        _add(self._counts[1], inside)
        _add(self._counts[0], levels[~mask])
        labels, regions = label(mask, structure=_within_frames())
        if regions:
            named = labels[mask]
            weights = 1 / np.bincount(named, minlength=regions + 1).clip(min=1)
            _add(self._overlap, inside, weights[named])
            self._regions += regions

    def measures(self) -> dict[str, float | None]:
        """`pixel_auc`, `pixel_ap`, and `pro`: the mean overlap with connected regions of a frame, over false-positive
        rates up to 0.3, in [0, 1]. None where there is one kind of pixel.
        """
        if not self._counts.any(axis=1).all():
            return {"pixel_auc": None, "pixel_ap": None, "pro": None}
        held = np.flatnonzero(self._counts.any(axis=0))
        counts, overlap = self._counts[:, held], self._overlap[held]
        truth, level = np.repeat([False, True], len(held)), np.tile(np.arange(len(held)), 2)
        weights, some = counts.reshape(-1), counts.reshape(-1) > 0
        pixels = {"y_true": truth[some], "y_score": level[some], "sample_weight": weights[some]}
        return {
            "pixel_auc": float(roc_auc_score(**pixels)),
            "pixel_ap": float(average_precision_score(**pixels)),
            "pro": _pro(counts[0], overlap / self._regions),
        }


def _add(held: np.ndarray, levels: Int[np.ndarray, " m"], weights: Float[np.ndarray, " m"] | None = None) -> None:
    """Count where the levels lie; between the lowest and the highest, most of the range being empty."""
    if len(levels):
        low = int(levels.min())
        found = np.bincount(levels - low, weights)
        held[low : low + len(found)] += found.astype(held.dtype, copy=False)


def _pro(normal: Int[np.ndarray, " k"], overlap: Float[np.ndarray, " k"]) -> float:
    rate = np.concatenate([[0.0], np.cumsum(normal[::-1]) / normal.sum()])
    found = np.concatenate([[0.0], np.cumsum(overlap[::-1])])
    inside = rate < FALSE_POSITIVES
    ends = np.append(rate[inside], FALSE_POSITIVES)
    return float(auc(ends, np.append(found[inside], np.interp(FALSE_POSITIVES, rate, found))) / FALSE_POSITIVES)


def _levels(values: Float[np.ndarray, "t h w"]) -> Int[np.ndarray, "t h w"]:
    """The leading bits as whole numbers in the order of the values."""
    bits = (np.ascontiguousarray(values, dtype=np.float32) + 0.0).view(np.int32)  # + 0.0: -0.0 becomes 0.0
    rising = np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF))
    return (rising >> DROPPED) + LEVELS // 2


def _within_frames() -> Bool[np.ndarray, "3 3 3"]:
    """Pixels touch their eight neighbours in the frame, none in other frames."""
    touching = np.zeros((3, 3, 3), dtype=bool)
    touching[1] = True
    return touching
