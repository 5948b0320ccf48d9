"""Connected regions of what moves, or has come and stands: objects without an object detector."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

MOST = 64  # regions of a frame, the largest
SETTLE_S = 1.0  # until then the background is the mean of what was seen
WEIGHT = 0.1  # the share of the recent past from which on MOG2 takes a colour for background
SURE = 16.0  # squared standard deviations that a pixel of the foreground differs by
STILL = 0.2  # a region of which a smaller share moves stands


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """`boxes` (k, 4): top, left, height, width in pixels; `areas` (k,) in pixels; `names` where a user gave some."""

    boxes: Float32[np.ndarray, "k 4"]
    areas: Float32[np.ndarray, " k"]
    names: tuple[str | None, ...]


class MovingRegions:
    """Causal: a mixture of Gaussians per pixel (MOG2: Zivkovic, ICPR 2004) remembers what usually is in each place.

    A region is what differs from that: it moves, or has come and stands, which is background after `absorb` seconds.
    The first second is background at once. Regions of less than `smallest` pixels are left out.
    """

    def __init__(self, *, absorb: float, smallest: int) -> None:
        self._absorb, self._smallest = absorb, smallest
        self._background = cv2.createBackgroundSubtractorMOG2(varThreshold=SURE, detectShadows=False)
        self._began: float | None = None
        self._last, self._frames = 0.0, 0

    def push(self, gray: UInt8[np.ndarray, "h w"], moving: Bool[np.ndarray, "h w"] | None, time: float) -> Regions:
        """The regions of the next frame; `moving` are its pixels that move, None where there was no frame before."""
        mask = cv2.morphologyEx(self._foreground(gray, time), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        if moving is None:
            return Regions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        moved = np.bincount(labels.ravel(), weights=moving.ravel(), minlength=count) / areas
        chosen = np.array([k for k in np.argsort(-areas[1:], kind="stable") + 1 if areas[k] >= self._smallest], int)
        kept = [k for k in chosen[:MOST] if moved[k] >= STILL or self._came(gray, labels == k)]
        order = [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]
        return Regions(stats[kept][:, order].astype(np.float32), areas[kept].astype(np.float32), (None,) * len(kept))

    def _foreground(self, gray: UInt8[np.ndarray, "h w"], time: float) -> UInt8[np.ndarray, "h w"]:
        """1 where the picture is unlike the background."""
        self._began = time if self._began is None else self._began
        self._frames += 1
        rate = WEIGHT * max(time - self._last, 0.0) / self._absorb
        settled = time - self._began >= SETTLE_S
        self._last = time
        found = self._background.apply(gray, learningRate=min(rate, 1.0) if settled else 1 / self._frames)
        return np.minimum(found, 1) if settled else np.zeros_like(gray)

    def _came(self, gray: UInt8[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"]) -> bool:
        """Whether a standing region has its outline in this picture; what has left has it in the background."""
        outline = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
        now, before = (_edges(each)[outline].mean() for each in (gray, self._background.getBackgroundImage()))
        return bool(now > before)


def _edges(gray: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    x, y = (cv2.Sobel(gray, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return cv2.magnitude(x, y)
