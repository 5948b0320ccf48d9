"""What turns a map into a picture: frozen settings, called with pixels and values, also written as a spec line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from vidence.errors import SpecError
from vidence.render.contours import LEVELS, contours, draw
from vidence.render.heatmap import Scope, overlay, require_drawable, smoothed


class Renderer(Protocol):
    """`renderer(pixels, values)` returns new pixels of the same shape; a map of zeros leaves them unchanged.

    `pixels` uint8 RGB (t, h, w, 3), `values` (t, h, w) of the same size, positive = towards the score. `peak`
    fixes the value drawn at full intensity where clips or streamed frames must share a scale.
    """

    @property
    def scope(self) -> Scope:
        """Whether intensities compare over the clip or within each frame only."""
        ...

    @property
    def smooth(self) -> float:
        """The share of the frame before that is kept for display; 0 shows every frame as computed."""
        ...

    def __call__(
        self,
        pixels: UInt8[np.ndarray, "t h w 3"],
        values: Float[np.ndarray, "t h w"],
        *,
        peak: float | None = None,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """Draw."""
        ...


def describe(renderer: Renderer) -> str:
    """What a viewer must know to read the picture's scale, in plain words."""
    words = "one scale for the whole clip" if renderer.scope == "clip" else "each frame on its own scale"
    if renderer.smooth:
        words += f"; smoothed in time for display ({renderer.smooth:.0%} of the frame before kept)"
    return words


def _require(scope: Scope, smooth: float) -> None:
    if scope not in ("clip", "frame"):
        raise SpecError(f"a renderer's scope must be 'clip' or 'frame'; got {scope!r}.")
    if not 0 <= smooth < 1:
        raise SpecError(f"a renderer's smooth must be a share in [0, 1); got {smooth}. 0 switches it off.")


@dataclass(frozen=True)
class Heatmap:
    """Colour over the picture, more opaque where the map is stronger; `alpha` is the opacity at the peak."""

    scope: Scope = "clip"
    alpha: float = 0.6
    smooth: float = 0.0

    def __post_init__(self) -> None:
        _require(self.scope, self.smooth)
        if not 0 <= self.alpha <= 1:
            raise SpecError(f"a heat-map's alpha must be an opacity in [0, 1]; got {self.alpha}.")

    def __call__(
        self,
        pixels: UInt8[np.ndarray, "t h w 3"],
        values: Float[np.ndarray, "t h w"],
        *,
        peak: float | None = None,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """Blend the map over the frames."""
        return overlay(pixels, smoothed(values, self.smooth), scope=self.scope, alpha=self.alpha, peak=peak)


@dataclass(frozen=True)
class ContourLines:
    """Lines of equal evidence at `levels`, shares of the peak; stronger lines are brighter and wider.

    Regions under `min_area` pixels are left out. Lines widen with the picture.
    """

    levels: tuple[float, ...] = LEVELS
    scope: Scope = "clip"
    min_area: float = 16.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        _require(self.scope, self.smooth)
        if not self.levels or not all(0 < level <= 1 for level in self.levels):
            raise SpecError(f"contour levels must be shares of the peak in (0, 1], at least one; got {self.levels}.")

    def __call__(
        self,
        pixels: UInt8[np.ndarray, "t h w 3"],
        values: Float[np.ndarray, "t h w"],
        *,
        peak: float | None = None,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """Draw the lines over the frames."""
        require_drawable(pixels, values)
        found = contours(
            smoothed(values, self.smooth), levels=self.levels, scope=self.scope, min_area=self.min_area, peak=peak
        )
        return draw(pixels, found, width=max(min(values.shape[1:]) / 280, 0.5))


@dataclass(frozen=True)
class HeatmapWithContours:
    """The heat-map with contour lines on top: the lines keep the intensity readable where the colours are faint."""

    levels: tuple[float, ...] = LEVELS
    scope: Scope = "clip"
    alpha: float = 0.5
    min_area: float = 16.0
    smooth: float = 0.0

    def __post_init__(self) -> None:
        _require(self.scope, self.smooth)
        self._parts()

    def _parts(self) -> tuple[Heatmap, ContourLines]:
        return Heatmap(self.scope, self.alpha), ContourLines(self.levels, self.scope, self.min_area)

    def __call__(
        self,
        pixels: UInt8[np.ndarray, "t h w 3"],
        values: Float[np.ndarray, "t h w"],
        *,
        peak: float | None = None,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        """Blend the map over the frames, then draw its lines."""
        heatmap, lines = self._parts()
        calm = smoothed(values, self.smooth)
        return lines(heatmap(pixels, calm, peak=peak), calm, peak=peak)
