"""The place: a walkway between a hedge and a lawn, seen by one of many fixed cameras."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

TOP, BOTTOM = 0.40, 0.90  # the walkway's edges, as shares of the picture's height
SUN = (0.36, 0.12)  # a shadow's tip, in body heights to the right of and above the feet in the picture


def background(camera: int, size: tuple[int, int]) -> np.ndarray:
    """The empty scene, uint8 RGB (h, w, 3); every camera has its own light, colours and plants."""
    rng = np.random.default_rng([camera, 1])
    h, w = size
    y = (np.arange(h, dtype=np.float32) + 0.5)[:, None] / h
    x = (np.arange(w, dtype=np.float32) + 0.5)[None, :] / h
    picture = np.empty((h, w, 3), np.float32)
    picture[:] = _tone(rng, (168, 162, 152), 8)  # paving
    picture += 5 * _cloud(rng, size, 5)[..., None] + 4 * _cloud(rng, size, 40)[..., None]
    picture *= 1 - 0.13 * _joints(x, y, w / h, int(rng.integers(7, 11)))[..., None]
    hedge, lawn = y < TOP - 0.03, y > BOTTOM + 0.02
    leaves = _cloud(rng, size, 22)[..., None]
    dark, grass = _tone(rng, (92, 112, 84), 9), _tone(rng, (132, 146, 98), 9)
    picture = np.where(hedge[..., None], dark + 15 * leaves + 10 * _cloud(rng, size, 60)[..., None], picture)
    picture = np.where(lawn[..., None], grass + 8 * leaves + 6 * _cloud(rng, size, 70)[..., None], picture)
    kerb = ((y >= TOP - 0.03) & (y < TOP)) | ((y > BOTTOM) & (y <= BOTTOM + 0.02))
    picture = np.where(kerb[..., None], _tone(rng, (196, 190, 180), 6), picture)
    _wall(picture, rng, y)
    _lamp(picture, rng, h, w)
    picture *= 1 - 0.22 * _tree_shade(rng, size)[..., None]
    picture *= 1.04 - 0.1 * ((x - w / h / 2) ** 2 + (y - 0.5) ** 2)[..., None]  # the lens
    return np.clip(picture * float(rng.uniform(0.9, 1.08)), 0, 255).astype(np.uint8)


def person_height(y: float) -> float:
    """Height of a person whose feet stand at `y`, both as shares of the picture's height."""
    return 0.31 + 0.38 * (y - TOP)


def _tone(rng: np.random.Generator, colour: tuple[int, int, int], spread: float) -> np.ndarray:
    return np.array(colour, np.float32) + rng.normal(0, spread) + rng.normal(0, spread / 2, 3).astype(np.float32)


def _cloud(rng: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of unit scale with `cells` bumps from top to bottom, (h, w)."""
    wide = max(2, round(cells * size[1] / size[0]))
    coarse = rng.normal(0, 1, (cells, wide)).astype(np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def _joints(x: np.ndarray, y: np.ndarray, wide: float, rows: int) -> np.ndarray:
    """Joints between paving slabs in perspective, 1 on a joint, (h, w)."""
    depth = (y - TOP + 0.55) / 0.55  # 1 at the far edge, grows towards the camera
    along = (x - wide / 2) / depth * rows * 0.5
    across = np.log(np.maximum(depth, 0.1)) * rows * 1.2
    near = 0.028
    lines = (np.abs(along - np.round(along)) < near) | (np.abs(across - np.round(across)) < near)
    return lines.astype(np.float32)


def _wall(picture: np.ndarray, rng: np.random.Generator, y: np.ndarray) -> None:
    """A low facade behind the hedge, with windows."""
    h, w = picture.shape[:2]
    edge = float(rng.uniform(0.16, 0.24))
    rows = (y < edge)[:, 0]
    stone = _tone(rng, (186, 178, 168), 10)
    picture[rows] = stone + 3 * _cloud(rng, (h, w), 30)[rows][..., None]
    step, offset = float(rng.uniform(0.2, 0.3)) * h, float(rng.uniform(0, 0.2)) * h
    for left in np.arange(offset - step, w, step):
        a, b = round(max(left, 0)), round(max(left + 0.5 * step, 0))
        picture[round(0.03 * h) : round((edge - 0.06) * h), a:b] = stone * 0.62


def _lamp(picture: np.ndarray, rng: np.random.Generator, h: int, w: int) -> None:
    x = round(float(rng.uniform(0.1, 0.9)) * w)
    wide = max(1, round(0.012 * h))
    picture[round(0.04 * h) : round((TOP + 0.005) * h), x : x + wide] = (72, 74, 76)
    cv2.ellipse(picture, (x, round(0.045 * h)), (2 * wide, wide), 0, 0, 360, (226, 222, 206), cv2.FILLED)


def _tree_shade(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Dappled shade of a tree outside the picture, in [0, 1], (h, w)."""
    h, w = size
    spot = np.zeros(size, np.float32)
    centre = (round(float(rng.uniform(0, w))), round(float(rng.uniform(0.5, 1.0)) * h))
    axes = (round(0.5 * h), round(0.2 * h))
    cv2.ellipse(spot, centre, axes, 0, 0, 360, (1.0,), cv2.FILLED)
    spot = cv2.GaussianBlur(spot, (0, 0), 0.05 * h)
    return np.clip(spot * (0.7 + 0.5 * _cloud(rng, size, 14)), 0, 1)


def cast_shadow(empty: np.ndarray, feet: Sequence[tuple[float, float]]) -> np.ndarray:
    """Darken the ground behind people whose feet are at (x, y), in picture heights; uint8 (h, w, 3)."""
    h, w = empty.shape[:2]
    shade = np.zeros((h, w), np.float32)
    for x, y in feet:
        unit = person_height(y)
        ends = [(x + k * SUN[0] * unit, y - k * SUN[1] * unit) for k in (0, 1)]
        fixed = [(round(16 * h * right), round(16 * h * down)) for right, down in ends]
        cv2.line(shade, fixed[0], fixed[1], (1.0,), max(1, round(0.13 * unit * h)), shift=4)
    soft = cv2.GaussianBlur(shade, (0, 0), 0.008 * h)
    return (empty * (1 - 0.36 * soft)[..., None]).astype(np.uint8)
