"""Clips set one behind the other, in both orders: a truth in time for sets that have none (Li et al., 2021)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vidence.aside import written_aside
from vidence.datasets.dataset import Sample
from vidence.datasets.synthetic import encode
from vidence.errors import DataError
from vidence.frames.windows import Windows

RATE = 8.0  # frames a second of what is written, where the windows keep the source's own


def write_pairs(
    folder: str | Path, samples: Sequence[Sample], n: int, *, normal: Sequence[str], windows: Windows, seed: int = 0
) -> Path:
    """Write `n` pairs, each in both orders, and return their CSV (file,label,group,mask), to be used as a whole.

    A film is one window long: half of it an anomalous sample's first frames, as the windows sample them, half a normal
    one's at the same size. Its mask holds in the whole of the anomalous half. Samples are drawn anew until there are
    `n` pairs. Raises `DataError` where one of the two kinds is missing, or a window has fewer than two frames.
    """
    kinds = [[one for one in samples if (one.label in normal) == calm] for calm in (False, True)]
    half = windows.length // 2
    if not all(kinds) or half < 1 or n < 1:
        raise DataError(
            "pairs need anomalous and normal samples, windows of two frames or more, and n of 1 or more; got "
            f"{len(kinds[0])} and {len(kinds[1])} samples, {windows.length} frames, n={n}."
        )
    place, rng = Path(folder), np.random.default_rng(seed)
    for name in ("clips", "masks"):
        (place / name).mkdir(parents=True, exist_ok=True)
    drawn = [[kind[i] for i in _in_turn(len(kind), n, rng)] for kind in kinds]
    rows = [["file", "label", "group", "mask"]]
    for i, (loud, calm) in enumerate(zip(*drawn, strict=True)):
        event, rest = _fitted(_half(loud, windows, half), _half(calm, windows, half))
        for order, parts in (("first", (event, rest)), ("last", (rest, event))):
            stem = f"pair-{i:03d}-{order}"
            mask = np.zeros((2 * half, *event.shape[1:3]), dtype=bool)
            mask[slice(None, half) if order == "first" else slice(half, None)] = True
            encode(place / f"clips/{stem}.mp4", np.concatenate(parts), rate=windows.rate or RATE)
            with written_aside(place / f"masks/{stem}.npz") as aside, aside.open("wb") as file:
                np.savez_compressed(file, mask=mask)
            rows.append([f"clips/{stem}.mp4", loud.label, f"pair-{i:03d}", f"masks/{stem}.npz"])
    with written_aside(place / "pairs.csv") as aside, aside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return place / "pairs.csv"


def _in_turn(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` places below `count`, each drawn once before any is drawn again."""
    return np.concatenate([rng.permutation(count) for _ in range(-(-n // count))])[:n]


def _half(sample: Sample, windows: Windows, frames: int) -> UInt8[np.ndarray, "t h w 3"]:
    """The first frames of a sample as the windows sample them; a shorter one's last frame stands still."""
    cut = Windows(length=frames, stride=frames, rate=windows.rate, partial="pad").cut(sample.open())
    return next(islice(cut, 1)).pixels


def _fitted(first: UInt8[np.ndarray, "t h w 3"], second: UInt8[np.ndarray, "t h w 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Both at the first one's size, its sides even, as H.264 wants them."""
    h, w = (side - side % 2 for side in first.shape[1:3])
    resized = np.stack([cv2.resize(frame, (w, h), interpolation=cv2.INTER_AREA) for frame in second])
    return first[:, :h, :w], resized
