"""Anomalies of motion staged in normal footage, with masks: what choices are made on where no anomaly is at hand.

[own method; pasting as in CutPaste, Li et al., CVPR 2021, but of what moves, over time]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from vidence.errors import ShapeError

MARGIN = 7  # normal frames that stay before and after what is staged
LENGTH = 32  # frames that are staged at most
SHORTEST = 12  # frames of a walker that are enough
DIFFERENT, OPAQUE = 18, 12  # gray levels from the background: of somebody, and of a pixel of somebody
PAD = 4  # pixels around a walker
TRIES = 200
WIDER = 1.8  # times as wide


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A section of footage, `pixels` (t, h, w, 3), that begins at frame `first` of it; `mask` (t, h, w), where
    something is staged.
    """

    pixels: UInt8[np.ndarray, "t h w 3"]
    mask: Bool[np.ndarray, "t h w"]
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """Somebody who was followed from frame `first` on: `sprites` (k, k_h, k_w, 3) with their `opacity` in [0, 1] as
    float32, each of its own size, and the `path` (k, 2) of their upper left corners, x and y in pixels.
    """

    first: int
    sprites: list[np.ndarray]
    opacity: list[np.ndarray]
    path: Float[np.ndarray, "k 2"]

    @property
    def velocity(self) -> Float[np.ndarray, " 2"]:
        """Pixels a frame on average, not slower than half a pixel."""
        mean = (self.path[-1] - self.path[0]) / (len(self.path) - 1)
        return mean * max(1.0, 0.5 / max(float(np.hypot(*mean)), 1e-6))


def _usual(pixels: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.median(pixels[::5], axis=0).astype(np.uint8)


def _apart(frame: np.ndarray, usual: np.ndarray) -> np.ndarray:
    return cv2.absdiff(frame, usual).max(axis=2)


def _figures(frame: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Boxes (m, 4), x y width height, of what differs from the background and is as large as a person may be."""
    h, w = frame.shape[:2]
    apart = (cv2.GaussianBlur(_apart(frame, usual), (5, 5), 0) > DIFFERENT).astype(np.uint8)
    boxes = cv2.connectedComponentsWithStats(apart)[2][1:]
    high, wide = boxes[:, 3], boxes[:, 2]
    inside = (boxes[:, 0] > PAD) & (boxes[:, 0] + wide < w - PAD) & (boxes[:, 1] > PAD)
    inside &= boxes[:, 1] + high < h - PAD
    return boxes[(high > h / 16) & (high < h / 4) & (wide > 6) & (wide < high) & inside][:, :4]


def followed(pixels: UInt8[np.ndarray, "t h w 3"], first: int, rng: np.random.Generator) -> Walker | None:
    """Somebody in frame `first`, for as long as they stand apart from others; None where nobody does."""
    usual = _usual(pixels)
    boxes = _figures(pixels[first], usual)
    if not len(boxes):
        return None
    box, taken = boxes[rng.integers(len(boxes))], []
    for frame in pixels[first : first + 2 * LENGTH]:
        near = _figures(frame, usual)
        off = np.abs(near - box).max(axis=1) if len(near) else np.array([np.inf])
        if off.min() > PAD:
            break
        box = near[off.argmin()]
        taken.append(box)
    if len(taken) < SHORTEST:
        return None
    sprites, opacity = [], []
    for frame, (x, y, w, h) in zip(pixels[first:], taken, strict=False):
        part = (slice(y - PAD, y + h + PAD), slice(x - PAD, x + w + PAD))
        sprites.append(frame[part].astype(np.float32))
        solid = (_apart(frame[part], usual[part]) > OPAQUE).astype(np.float32)
        opacity.append(cv2.GaussianBlur(solid, (5, 5), 0))
    return Walker(first, sprites, opacity, np.array([box[:2] - PAD for box in taken], float))


def _pasted(
    pixels: UInt8[np.ndarray, "t h w 3"],
    rng: np.random.Generator,
    *,
    pace: float,
    size: float = 1.0,
    gait: bool = True,
    turn: bool = False,
    box: bool = False,
    astray: bool = False,
    shaped: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Staged | None:
    """Somebody of the footage once more, beside their way, at `pace` times their speed and `size` times as large;
    without `gait` they glide as they stand, with `turn` they move across their way, as a `box` they are a textured one,
    and `astray` they walk as far from where anybody is as they can. `shaped` changes what they look like.
    """
    for _ in range(TRIES):
        walker = followed(pixels, int(rng.integers(MARGIN, len(pixels) - MARGIN - SHORTEST)), rng)
        if walker is not None:
            break
    else:
        return None
    if shaped is not None:
        walker = replace(walker, sprites=[*map(shaped, walker.sprites)], opacity=[*map(shaped, walker.opacity)])
    still = box or not gait or turn
    room = LENGTH if still else int((len(walker.path) - 1) / pace)
    count = min(LENGTH, room, len(pixels) - MARGIN - walker.first)
    steps = pace * np.arange(count)
    velocity = walker.velocity[::-1] if turn else walker.velocity
    placed = np.interp(steps, np.arange(len(walker.path)), walker.path[:, 0])
    along = np.stack([placed, np.interp(steps, np.arange(len(walker.path)), walker.path[:, 1])], axis=1)
    path = size * (steps[:, None] * velocity if still else along - along[0])
    start = walker.path[0] + rng.uniform((-80, -20), (80, 20))
    h, w = pixels.shape[1:3]
    high, wide = walker.sprites[0].shape[:2]
    texture = _texture(rng, round(0.9 * high), round(1.5 * high)) if box else None
    largest = size * np.array([1.5 * high if box else 1.2 * wide, high])
    low, top = 4 - path.min(axis=0), np.array([w, h]) - 4 - largest - path.max(axis=0)
    start = _deserted(pixels, path + largest / 2, low, top) if astray else np.clip(start, low, top)
    first = walker.first - MARGIN
    section = pixels[first : walker.first + count + MARGIN].copy()
    mask = np.zeros(section.shape[:3], bool)
    for k in range(count):
        pose = int(min(steps[k], len(walker.path) - 1)) if gait else 0
        sprite, solid = (walker.sprites[pose], walker.opacity[pose]) if texture is None else texture
        x, y = start + path[k]
        move = np.array([[size, 0, x], [0, size, y]])
        shown = cv2.warpAffine(sprite, move, (w, h), borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(solid, move, (w, h))[..., None]
        frame = section[MARGIN + k]
        section[MARGIN + k] = np.rint(frame * (1 - cover) + shown * cover).astype(np.uint8)
        mask[MARGIN + k] = cover[..., 0] > 0.5
    return Staged(section, mask, first)


def _lying(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(picture))


def _wide(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, None, fx=WIDER, fy=1.0)


def _deserted(pixels: UInt8[np.ndarray, "t h w 3"], path: np.ndarray, low: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Where, between `low` and `top`, a path (k, 2) begins that is furthest from all that ever is somewhere."""
    usual = _usual(pixels)
    taken = np.max([cv2.GaussianBlur(_apart(frame, usual), (5, 5), 0) for frame in pixels[::5]], axis=0) > DIFFERENT
    away = cv2.distanceTransform(1 - taken.astype(np.uint8), cv2.DIST_L2, 5)
    grid = np.stack(np.meshgrid(*(np.linspace(a, max(a, b), 24) for a, b in zip(low, top, strict=True))), axis=-1)
    x, y = np.moveaxis(np.rint(grid[:, :, None] + path).astype(int), -1, 0)
    nearest = away[y.clip(0, len(away) - 1), x.clip(0, away.shape[1] - 1)].min(axis=2)
    return np.asarray(grid[np.unravel_index(nearest.argmax(), nearest.shape)])


def _texture(rng: np.random.Generator, high: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
    """A box with patches of brightness, and its opacity."""
    coarse = rng.uniform(70, 180, (2, 3, 1)).astype(np.float32)
    patches = cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_NEAREST)
    return np.repeat(patches[..., None], 3, axis=2), np.ones((high, wide), np.float32)


def _faster(pixels: UInt8[np.ndarray, "t h w 3"], rng: np.random.Generator, *, pace: float) -> Staged | None:
    """A stretch of the footage at `pace` times its speed; frames between frames are made along the optical flow."""
    first = int(rng.integers(MARGIN, max(MARGIN + 1, int(len(pixels) - MARGIN - pace * LENGTH))))
    count = min(LENGTH, int((len(pixels) - MARGIN - first) / pace))
    if count < SHORTEST:
        return None
    usual, between = _usual(pixels), cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    shown = [_between(pixels, first + pace * k, between) for k in range(count)]
    after = round(first + pace * count)
    section = np.stack([*pixels[first - MARGIN : first], *shown, *pixels[after : after + MARGIN]])
    mask = np.zeros(section.shape[:3], bool)
    for k, frame in enumerate(shown):
        mask[MARGIN + k] = _apart(frame, usual) > DIFFERENT
    return Staged(section, mask, first - MARGIN)


def _between(pixels: UInt8[np.ndarray, "t h w 3"], place: float, flow: cv2.DISOpticalFlow) -> np.ndarray:
    """The frame at a place between two frames."""
    whole, part = int(place), place - int(place)
    if part < 0.01:
        return pixels[whole]
    gray = [cv2.cvtColor(pixels[k], cv2.COLOR_RGB2GRAY) for k in (whole, whole + 1)]
    back = flow.calc(gray[1], gray[0], np.zeros((*gray[0].shape, 2), np.float32))  # from the later to the earlier
    columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in gray[0].shape[::-1]))
    x, y = (grid - (1 - part) * back[..., k] for k, grid in enumerate((columns, rows)))
    return cv2.remap(pixels[whole + 1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


KINDS: Mapping[str, Callable[[UInt8[np.ndarray, "t h w 3"], np.random.Generator], Staged | None]] = {
    **{f"faster {pace}": partial(_faster, pace=pace) for pace in (1.25, 1.5, 2.0)},
    "running 2.0": partial(_pasted, pace=2.0),
    **{f"gliding {pace}": partial(_pasted, pace=pace, gait=False) for pace in (1.0, 1.5, 2.0)},
    "large 1.5": partial(_pasted, pace=1.0, size=1.5),
    "across": partial(_pasted, pace=1.0, gait=False, turn=True),
    **{f"cart {pace}": partial(_pasted, pace=pace, box=True) for pace in (1.0, 1.5)},
    "elsewhere": partial(_pasted, pace=1.0, astray=True),
    "lying": partial(_pasted, pace=1.0, gait=False, shaped=_lying),
    "wide": partial(_pasted, pace=1.0, gait=False, shaped=_wide),
}
"""What can be staged: the whole scene too fast; one of its people running, gliding like a skater, too large (and so
moving further), across the others' way; a box that glides; one of the people walking where nobody does; one gliding as
they are, but turned by a quarter, or nearly twice as wide, so that it is their looks that differ. The number is how
many times the speed, or the size. Nobody runs at half a step more, nor walks across with their steps: such poses jerk,
and what jerks is found by that alone.
"""


def staged(pixels: UInt8[np.ndarray, "t h w 3"], kind: str, *, seed: int) -> Staged | None:
    """One anomaly of a `kind` of KINDS in normal footage; None where nobody in it can be followed."""
    if pixels.ndim != 4 or len(pixels) < 2 * MARGIN + 2 * SHORTEST:
        raise ShapeError(
            f"staging needs frames (t, h, w, 3), at least {2 * MARGIN + 2 * SHORTEST}; got {pixels.shape}. "
            "Give a longer clip."
        )
    return KINDS[kind](pixels, np.random.default_rng(seed))
