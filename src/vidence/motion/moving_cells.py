"""What moves in each cell of a picture: sums over pixels that the attributes of motion are made of."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

ORIENTATIONS = 4
CHANNELS = (
    "moving",  # share of pixels that move
    "speed",  # pixels a second, 0 where nothing moves
    "square",  # its square
    *("right", "left", "down", "up"),  # the parts of the velocity, each at least 0
    "turn",  # how much the velocity of the place differs from the frame before's, pixels a second
    *(f"edge {k}" for k in range(ORIENTATIONS)),  # gradient of moving pixels, gray levels a pixel, by its orientation
    "peak",  # the highest speed, after a mean over 7 x 7 pixels
)
PER_SECOND = tuple(  # the power of "a second" that each channel is in
    {"moving": 0, "square": 2}.get(name, 0 if name.startswith("edge") else 1) for name in CHANNELS
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of about `block` pixels a side cover the picture; a cell is a block with its neighbours, 3 x 3 blocks.

    `least` is how many pixels a frame a pixel must be displaced to count as moving.
    """

    block: int
    least: float

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """Blocks (i, j) of a picture (h, w); at least one."""
        return max(1, round(size[0] / self.block)), max(1, round(size[1] / self.block))

    def cells(
        self,
        gray: UInt8[np.ndarray, "h w"],
        flow: Float32[np.ndarray, "h w 2"],
        before: Float32[np.ndarray, "h w 2"],
        *,
        seconds: float,
    ) -> Float32[np.ndarray, "i j c"]:
        """The channels of every cell, means over its pixels but for the peak. `flow` is displacement (x, y) over
        `seconds`, `before` that of the frame before.
        """
        i, j = self.shape((gray.shape[0], gray.shape[1]))
        u, v = flow[..., 0], flow[..., 1]
        length = cv2.magnitude(u, v)
        moving = (length > self.least).astype(np.float32)
        speed = length * (moving / np.float32(seconds))
        step = flow * (moving / np.float32(seconds))[..., None]
        turned = flow - before
        turn = cv2.magnitude(turned[..., 0], turned[..., 1]) * (moving / np.float32(seconds))
        pixels = [moving, speed, speed * speed, *_halves(step), turn, *_edges(gray, moving)]
        blocks = [cv2.resize(each, (j, i), interpolation=cv2.INTER_AREA) for each in pixels]
        cells = [cv2.blur(each, (3, 3), borderType=cv2.BORDER_REPLICATE) for each in blocks]
        return np.stack([*cells, _peak(length / np.float32(seconds), (i, j))], axis=-1)


def _halves(step: Float32[np.ndarray, "h w 2"]) -> tuple[np.ndarray, ...]:
    """Right, left, down, up."""
    x, y = step[..., 0], step[..., 1]
    zero = np.float32(0)
    return np.maximum(x, zero), np.maximum(-x, zero), np.maximum(y, zero), np.maximum(-y, zero)


def _edges(gray: UInt8[np.ndarray, "h w"], moving: Float32[np.ndarray, "h w"]) -> list[np.ndarray]:
    """The gradient's length where something moves, shared out by orientation."""
    x, y = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    length, angle = cv2.cartToPolar(x, y)
    held = (angle * np.float32(ORIENTATIONS / np.pi)).astype(np.int32) % ORIENTATIONS
    length = length * moving
    return [np.where(held == k, length, np.float32(0)) for k in range(ORIENTATIONS)]


def _peak(speed: Float32[np.ndarray, "h w"], shape: tuple[int, int]) -> np.ndarray:
    """The highest smoothed speed of each cell, looked up on a grid of four points a block."""
    smooth = cv2.blur(speed, (7, 7))
    points = cv2.resize(smooth, (4 * shape[1], 4 * shape[0]), interpolation=cv2.INTER_AREA)
    highest = points.reshape(shape[0], 4, shape[1], 4).max(axis=(1, 3))
    return cv2.dilate(highest, np.ones((3, 3), np.uint8))
