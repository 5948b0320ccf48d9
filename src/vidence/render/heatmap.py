"""A heat-map over the picture: the colour says how strong and which way, the transparency fades with the value."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vidence.errors import ShapeError
from vidence.render.ramp import AGAINST, STEPS, TOWARDS

Scope = Literal["clip", "frame"]
_HALF = 127  # colours a side, zero between them at 128: one byte looks up everything
_SHARES = np.clip((np.arange(256) - 128) / _HALF, -1, 1)
_PLACES = np.round(np.abs(_SHARES) * (STEPS - 1)).astype(np.intp)
_COLOURS = np.where(_SHARES[:, None] < 0, AGAINST[_PLACES], TOWARDS[_PLACES])


def require_values(values: Float[np.ndarray, "t h w"]) -> None:
    """Raise `ShapeError` unless `values` is a finite, floating (t, h, w) array that is not empty."""
    if values.ndim != 3 or 0 in values.shape or not np.issubdtype(values.dtype, np.floating):
        raise ShapeError(
            f"a map must be floating (t, h, w), not empty; got {values.dtype} {values.shape}. "
            "Take one clip of the batch and bring it to the picture's size."
        )
    if not np.isfinite(values).all():
        raise ShapeError("a map must be finite to be drawn; got NaN or infinity. Look at the explainer's input.")


def require_drawable(pixels: UInt8[np.ndarray, "t h w 3"], values: Float[np.ndarray, "t h w"]) -> None:
    """Raise `ShapeError` unless `values` is a map and `pixels` are uint8 RGB frames of its size."""
    require_values(values)
    if pixels.dtype != np.uint8 or pixels.shape != (*values.shape, 3):
        raise ShapeError(
            f"pixels must be uint8 (t, h, w, 3) of the map's size {values.shape}; got {pixels.dtype} "
            f"{pixels.shape}. Bring the map to the picture's size with resize_map."
        )


def peaks(values: Float[np.ndarray, "t h w"], scope: Scope = "clip") -> Float[np.ndarray, " t"]:
    """The absolute value drawn at full intensity, per frame: the clip's greatest, or each frame's own.

    With `frame`, intensities of different frames cannot be compared, and a frame without evidence is blown up.
    """
    require_values(values)
    largest = np.maximum(values.max(axis=(1, 2)), -values.min(axis=(1, 2))).astype(np.float32)
    if scope == "frame":
        return largest
    if scope == "clip":
        return np.full_like(largest, largest.max())
    raise ShapeError(f"scope must be 'clip' or 'frame'; got {scope!r}.")


def smoothed(values: Float[np.ndarray, "t h w"], keep: float) -> Float[np.ndarray, "t h w"]:
    """An exponential mean over frames, for display only: each frame keeps the share `keep` of the one before.

    It calms flicker and shows nothing before it happens; a picture that uses it must say so.
    """
    if not 0 <= keep < 1:
        raise ShapeError(f"the share kept of the frame before must be in [0, 1); got {keep}.")
    calm = values.astype(np.float32, copy=True)
    for frame in range(1, len(calm)):
        calm[frame] += keep * (calm[frame - 1] - calm[frame])
    return calm


def overlay(
    pixels: UInt8[np.ndarray, "t h w 3"],
    values: Float[np.ndarray, "t h w"],
    *,
    scope: Scope = "clip",
    alpha: float = 0.6,
    peak: float | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Blend the map over the frames; a zero leaves its pixel unchanged bit for bit.

    `alpha` is the opacity at the peak, falling to nothing with the value. `peak` fixes the value drawn at
    full intensity (several clips on one scale); without it `scope` decides.
    """
    require_drawable(pixels, values)
    if not 0 <= alpha <= 1:
        raise ShapeError(f"alpha must be an opacity in [0, 1]; got {alpha}.")
    picture = pixels.copy()
    for frame, top in enumerate(drawn_peaks(values, scope, peak)):
        if top > 0:
            picture[frame] = _blend(pixels[frame], values[frame] / top, alpha)
    return picture


def drawn_peaks(values: Float[np.ndarray, "t h w"], scope: Scope, peak: float | None) -> Float[np.ndarray, " t"]:
    """The scale of each frame: `peak` where the caller fixed one, else what `scope` says."""
    if peak is None:
        return peaks(values, scope)
    if not (np.isfinite(peak) and peak >= 0):
        raise ShapeError(f"a fixed peak must be finite and not negative; got {peak}.")
    return np.full(len(values), peak, dtype=np.float32)


def _blend(
    pixels: UInt8[np.ndarray, "h w 3"], share: Float[np.ndarray, "h w"], alpha: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Whole-number arithmetic, so that opacity 0 returns the very same byte. `share` is the value over the peak."""
    strength = np.abs(_SHARES)
    # above the diagonal, so that half of the peak is plainly seen; not steeper at 0, where a step would draw an edge
    opacity = np.round(256 * alpha * strength * (1.6 - 0.6 * strength)).astype(np.uint16)
    clear = np.repeat(256 - opacity[:, None], 3, axis=1)[None]  # (1, 256, 3), a look-up table of three channels
    tint = (_COLOURS * opacity[:, None] + np.uint16(128))[None]  # at most 255 * 256 + 128 with the picture added
    place = np.rint(np.clip(share, -1, 1) * _HALF + 128).astype(np.uint8)
    place = cv2.merge([place, place, place])
    blended = cv2.LUT(place, clear)
    blended *= pixels
    blended += cv2.LUT(place, tint)
    blended >>= 8
    return blended.astype(np.uint8)
