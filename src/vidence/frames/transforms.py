"""From source pixels to a network's input, and from a map's own grid back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.frames.clip import Clip
from vidence.spec import Settings

FitMode = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class Fit(Settings):
    """Brings a clip of any size to the network's square input.

    `stretch` fills the square and gives up the aspect ratio; `letterbox` keeps it and leaves black bars, centred.
    `crop` (top, left, height, width) in source pixels is cut out first; nothing outside it is seen.
    """

    size: int = 224
    mode: FitMode = "stretch"
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SpecError(f"fit: size must be at least 1 pixel; got {self.size!r}.")
        if self.mode not in get_args(FitMode):
            raise SpecError(f"fit: mode must be one of {', '.join(get_args(FitMode))}; got {self.mode!r}.")
        if self.crop is not None and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise SpecError(f"fit: crop must be (top, left, height, width) with a positive size; got {self.crop}.")

    def __str__(self) -> str:
        """In words, for records."""
        cut = "" if self.crop is None else " of the crop " + ",".join(map(str, self.crop))
        return f"{self.mode} {self.size}{cut}"

    def __call__(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """Float32 RGB in [0, 1]; each axis is averaged over areas where it shrinks, interpolated where it grows."""
        y0, x0, rows, columns = self.seen(clip.pixels.shape[1:3])
        top, left, height, width = self._content((rows, columns))
        x = torch.zeros(1, 3, len(clip.pixels), self.size, self.size)
        for t, pixels in enumerate(clip.pixels[:, y0 : y0 + rows, x0 : x0 + columns]):
            fitted = torch.from_numpy(resize(pixels, (height, width)))
            x[0, :, t, top : top + height, left : left + width] = rearrange(fitted, "h w c -> c h w")
        return x.div_(255)

    def to_source(self, size: tuple[int, int], grid: tuple[int, int]) -> Float[np.ndarray, "2 3"]:
        """The affine (2, 3) from a map's (x, y) on `grid` (h, w) to (x, y) in a source of `size` (h, w).

        Both count cell or pixel centres: cell (0, 0) lies half a cell inside the input's corner (half-pixel
        convention). The grid is taken to cover the whole input, evenly. float64.
        """
        if min(*size, *grid) < 1:
            raise ShapeError(f"a source and a map grid must have at least one pixel a side; got {size} and {grid}.")
        y0, x0, rows, columns = self.seen(size)
        top, left, height, width = self._content((rows, columns))
        affine = np.zeros((2, 3))
        for axis, (cells, start, fitted, pixels, first) in enumerate(
            ((grid[1], left, width, columns, x0), (grid[0], top, height, rows, y0))
        ):
            affine[axis, axis] = self.size / cells * pixels / fitted
            affine[axis, 2] = (self.size / cells / 2 - start) * pixels / fitted - 0.5 + first
        return affine

    def seen(self, size: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Top, left, height and width of what is seen of a source of `size` (h, w). Raises `ShapeError`."""
        if self.crop is None:
            return 0, 0, size[0], size[1]
        top, left, height, width = self.crop
        if top + height > size[0] or left + width > size[1]:
            raise ShapeError(
                f"the crop (top, left, height, width) {self.crop} must lie inside the picture; this one is "
                f"{size[1]}x{size[0]}. Give a crop for this camera, or none."
            )
        return self.crop

    def _content(self, size: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Top, left, height and width of the picture inside the square."""
        if self.mode == "stretch":
            return 0, 0, self.size, self.size
        height, width = (max(1, round(side * self.size / max(size))) for side in size)
        return (self.size - height) // 2, (self.size - width) // 2, height, width


def resize(pixels: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Resize to `size` (h, w): an axis that shrinks is averaged over areas, one that grows is interpolated."""
    shrunk = (min(size[0], pixels.shape[0]), min(size[1], pixels.shape[1]))
    if shrunk != pixels.shape[:2]:
        pixels = cv2.resize(pixels, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != tuple(size):
        pixels = cv2.resize(pixels, tuple(size)[::-1], interpolation=cv2.INTER_LINEAR)
    return pixels


def resize_map(
    values: Float[np.ndarray, "t h w"], affine: Float[np.ndarray, "2 3"], size: tuple[int, int]
) -> Float[np.ndarray, "t H W"]:
    """Bring maps (t, h, w) to source pixels `size` (H, W), bilinearly between cell centres (`align_corners=False`).

    `affine` is `Fit.to_source`'s: map (x, y) to source (x, y). Up to half a cell beyond the outer centres the edge
    value holds; pixels that no cell covers are 0. float32. Raises `ShapeError` for an affine that turns or shears.
    """
    if values.ndim != 3 or 0 in values.shape or min(size) < 1:
        raise ShapeError(
            f"maps must be (t, h, w), not empty, and the size at least one pixel; got {values.shape}, {size}."
        )
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (2, 3) or affine[0, 1] or affine[1, 0] or not affine[0, 0] or not affine[1, 1]:
        raise ShapeError(
            f"a map's affine must be (2, 3), scale and shift only; got {affine.tolist()}. Use `Fit.to_source`'s."
        )
    rows = _interpolation(values.shape[1], size[0], scale=affine[1, 1], shift=affine[1, 2])
    columns = _interpolation(values.shape[2], size[1], scale=affine[0, 0], shift=affine[0, 2])
    return rows @ values.astype(np.float32, copy=False) @ columns.T


def _interpolation(cells: int, pixels: int, *, scale: float, shift: float) -> Float[np.ndarray, "pixels cells"]:
    """Weights of each cell at each pixel: two neighbours along one axis, none outside the grid."""
    place = (np.arange(pixels) - shift) / scale
    covered = (place >= -0.5) & (place <= cells - 0.5)
    place = np.clip(place, 0, cells - 1)
    below = np.minimum(place.astype(int), max(cells - 2, 0))
    weights = np.zeros((pixels, cells), dtype=np.float32)
    index = np.arange(pixels)
    weights[index, np.minimum(below + 1, cells - 1)] = place - below
    weights[index, below] = 1 - (place - below)
    weights[~covered] = 0
    return weights
