"""Lines of equal evidence, at several intensities (methods.md A.35: the first paper's future work).

The outline is cv2.findContours' on a grid three times finer than the picture, and every vertex is then moved to
where the interpolated map crosses the level: plain findContours puts vertices on the centres of the outermost
pixels inside, which costs half a pixel all around (10 % of the area of a disc of radius 10).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vidence.errors import ShapeError
from vidence.render.heatmap import Scope, drawn_peaks, require_values
from vidence.render.ramp import colour

LEVELS = (0.3, 0.5, 0.7, 0.9)
FINER = 3  # odd, so that every pixel's own value is a point of the finer grid and no single pixel is lost
_TOLERANCE = 0.1  # pixels a simplified outline may stray
_SHIFT = 4  # cv2 draws in sixteenths of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One region where the map reaches a level. `level` is its share of the peak, `threshold` the raw value
    (negative where `sign` is -1). `points` (m, 2) and `holes` are x, y in pixels, pixel centres at whole
    numbers; `area` in pixels, holes left out; `mean` is the mean raw value inside.
    """

    frame: int
    level: float
    sign: int
    threshold: float
    points: Float[np.ndarray, "m 2"]
    holes: tuple[Float[np.ndarray, "m 2"], ...]
    area: float
    mean: float


def contours(
    values: Float[np.ndarray, "t h w"],
    *,
    levels: Sequence[float] = LEVELS,
    scope: Scope = "clip",
    min_area: float = 16.0,
    peak: float | None = None,
    first: int = 0,
) -> list[Contour]:
    """Find the regions of every frame, level and sign, low levels first; an empty map has none.

    `levels` are shares in (0, 1] of the peak that `scope` or `peak` sets, the same for both signs; regions
    smaller than `min_area` pixels are left out. `first` is the number of the first frame, for a source in pieces.
    """
    require_values(values)
    if not levels or not all(0 < level <= 1 for level in levels):
        raise ShapeError(f"contour levels must be shares of the peak in (0, 1], at least one; got {tuple(levels)}.")
    found: list[Contour] = []
    for frame, top in enumerate(drawn_peaks(values, scope, peak)):
        for sign in (1, -1) if top > 0 else ():
            signed = values[frame].astype(np.float32) * sign
            found += _levels(signed, first + frame, sign, {level: level * float(top) for level in levels}, min_area)
    return found


def _levels(
    signed: Float[np.ndarray, "h w"], frame: int, sign: int, levels: Mapping[float, float], min_area: float
) -> list[Contour]:
    """The regions of one frame and sign. `levels` are share of the peak -> threshold."""
    x, y, w, h = cv2.boundingRect((signed >= _reached(min(levels.values()))).astype(np.uint8))
    if not w:
        return []
    left, top = max(x - 1, 0), max(y - 1, 0)
    origin = np.array([left, top], dtype=np.float32)
    fine = cv2.resize(signed[top : y + h + 1, left : x + w + 1], None, fx=FINER, fy=FINER)  # bilinear
    return [
        Contour(
            frame=frame,
            level=float(level),
            sign=sign,
            threshold=sign * threshold,
            points=_crossing(fine, rings[0], threshold) + origin,
            holes=tuple(_crossing(fine, ring, threshold) + origin for ring in rings[1:]),
            area=area,
            mean=sign * mean,
        )
        for level, threshold in sorted(levels.items())
        for rings, area, mean in _regions(fine, threshold, min_area)
    ]


def _reached(threshold: float) -> float:
    """The peak itself belongs to level 1 whatever the rounding."""
    return threshold * (1 - 1e-6)


def _regions(
    fine: Float[np.ndarray, "h w"], threshold: float, min_area: float
) -> Iterator[tuple[list[np.ndarray], float, float]]:
    """Each connected region on the fine grid: its rings (outline, then holes), area in pixels, mean value."""
    mask = (fine >= _reached(threshold)).astype(np.uint8)
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for index in range(len(outlines)):
        x, y, w, h = cv2.boundingRect(outlines[index])
        if tree[0, index, 3] >= 0 or w * h < min_area * FINER**2:
            continue
        rings = [outlines[ring] for ring in (index, *np.flatnonzero(tree[0, :, 3] == index))]
        inside = np.zeros((h, w), dtype=np.uint8)
        cv2.drawContours(inside, rings, -1, 1, cv2.FILLED, offset=(-x, -y))
        area = cv2.countNonZero(inside) / FINER**2
        if area >= min_area:
            mean = cv2.mean(fine[y : y + h, x : x + w], inside)[0]
            yield [ring[:, 0] for ring in rings], area, mean


def _crossing(fine: Float[np.ndarray, "h w"], ring: np.ndarray, threshold: float) -> Float[np.ndarray, "m 2"]:
    """Move the vertices of a ring, which lie inside, out to where the map falls to the threshold; in pixels.

    One Newton step along the steeper one-sided differences, at most one fine cell; exact on straight ramps.
    """
    x, y = ring.T
    h, w = fine.shape
    here = fine[y, x].astype(np.float64)  # on a plateau of great values float32 would overflow below
    right, left = here - fine[y, np.minimum(x + 1, w - 1)], here - fine[y, np.maximum(x - 1, 0)]
    down, up = here - fine[np.minimum(y + 1, h - 1), x], here - fine[np.maximum(y - 1, 0), x]
    fall = np.stack([np.where(right >= left, right, -left), np.where(down >= up, down, -up)], axis=1)
    fall[np.stack([np.maximum(right, left), np.maximum(down, up)], axis=1) <= 0] = 0
    steep = np.maximum((fall**2).sum(axis=1), np.finfo(np.float32).tiny)
    step = np.clip(fall * ((here - threshold) / steep)[:, None], -1, 1)
    points = (ring + step + 0.5) / FINER - 0.5
    thin = cv2.approxPolyDP(points.astype(np.float32)[:, None], _TOLERANCE, True)[:, 0]
    if len(thin) >= 3:
        return thin
    (x0, y0), (x1, y1) = thin.min(axis=0) - 0.5 / FINER, thin.max(axis=0) + 0.5 / FINER
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)


def draw(
    pixels: UInt8[np.ndarray, "t h w 3"], found: Sequence[Contour], *, width: float = 1.0
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draw contours over a copy of the frames, low levels first: colour and line width grow with the level.

    `width` scales the lines. A dark casing keeps a line readable on a bright picture and on a heat-map of its
    own colours.
    """
    picture = pixels.copy()
    for contour in sorted(found, key=lambda contour: contour.level):
        rings = [np.rint(ring * 2**_SHIFT).astype(np.int32)[:, None] for ring in (contour.points, *contour.holes)]
        line = max(1, round(width * (0.6 + 2.0 * contour.level)))
        target = picture[contour.frame]
        ink = colour(0.25 + 0.75 * contour.level, contour.sign)  # a thin line needs more light than a surface
        casing = tuple(part // 5 for part in ink)
        cv2.polylines(target, rings, True, casing, line + 2, cv2.LINE_AA, _SHIFT)
        cv2.polylines(target, rings, True, ink, line, cv2.LINE_AA, _SHIFT)
    return picture


def to_json(found: Sequence[Contour], times: Sequence[float], size: tuple[int, int]) -> dict[str, Any]:
    """The polygons as plain data for contours.json: pixels of a picture of `size` (h, w), seconds, raw map values.

    `times` are those of the frames that the contours count. Coordinates are rounded to hundredths of a pixel.
    """
    late = max((contour.frame for contour in found), default=-1)
    if late >= len(times):
        raise ShapeError(f"every contour's frame needs a time; got frame {late} and {len(times)} times.")
    return {
        "schema": 1,
        "height": size[0],
        "width": size[1],
        "unit": "pixels; the centre of the first pixel is at 0, 0",
        "contours": [
            {
                "frame": contour.frame,
                "time": float(times[contour.frame]),
                "level": contour.level,
                "sign": contour.sign,
                "threshold": contour.threshold,
                "points": _rounded(contour.points),
                "holes": [_rounded(hole) for hole in contour.holes],
                "area": round(contour.area, 2),
                "mean_value": contour.mean,
            }
            for contour in found
        ],
    }


def _rounded(points: Float[np.ndarray, "m 2"]) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
