"""Films whose motion is known, and a small detector of motion."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidence.datasets.dataset import Sample
from vidence.datasets.synthetic import encode
from vidence.models import MotionAttributes

RATE = 10.0
TINY = MotionAttributes(coreset=300, neighbours=2)


def film(path: Path, *, speed: float, seed: int = 0, frames: int = 40, fast: float = 0.0) -> Path:
    """A textured square that moves to the right, `fast` times as quickly in the second half, before a still wall."""
    rng = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(rng.integers(60, 120, (96, 192), dtype=np.uint8), (0, 0), 2)
    square = cv2.GaussianBlur(rng.integers(100, 255, (40, 28), dtype=np.uint8), (0, 0), 1)
    pixels = np.repeat(wall[None], frames, axis=0)
    place = 4.0
    for k in range(frames):
        pixels[k, 30:70, round(place) : round(place) + 28] = square
        place = min(place + (speed * fast if fast and k >= frames // 2 else speed), 160)
    encode(path, np.repeat(pixels[..., None], 3, axis=3), rate=RATE)
    return path


def normal_films(folder: Path, *, speed: float, count: int) -> list[Sample]:
    """Films of a square at `speed` or a little more, as normal samples of groups of their own."""
    paths = [film(folder / f"{k}.mp4", speed=speed + 0.25 * (k % 2), seed=k) for k in range(count)]
    return [Sample(str(path), "normal", str(k)) for k, path in enumerate(paths)]
