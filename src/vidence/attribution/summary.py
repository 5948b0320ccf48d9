"""A map in few numbers and words: which frames, which part of the picture. For records, reports and sentences."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from vidence.record.evidence import Segment

STRONG = 0.5  # share of the map's peak from which a place counts as strong, as in the contours' middle level
MOST = 3  # segments that are told
CARRIED = 0.9  # share of the positive evidence that the carrying region holds


def profile(values: Float[np.ndarray, "t h w"]) -> Float[np.ndarray, " t"]:
    """Evidence per frame: the mean of the positive part over the picture."""
    return np.clip(values, 0, None).mean(axis=(1, 2), dtype=np.float64)


def strong(values: Float[np.ndarray, "t h w"]) -> Bool[np.ndarray, "t h w"]:
    """Where the map reaches half of its positive peak; nowhere without one."""
    peak = float(values.max(initial=0.0))
    return values >= STRONG * peak if peak > 0 else np.zeros(values.shape, dtype=bool)


def carrying(values: Float[np.ndarray, "t h w"]) -> Bool[np.ndarray, "t h w"]:
    """The smallest region of the volume that holds nine tenths of the positive evidence; empty without any."""
    positive = np.clip(values, 0, None).reshape(-1)
    order = np.argsort(-positive, kind="stable")
    summed = np.cumsum(positive[order], dtype=np.float64)
    region = np.zeros(positive.shape, dtype=bool)
    if summed[-1] > 0:
        region[order[: int(np.searchsorted(summed, CARRIED * summed[-1])) + 1]] = True
    return region.reshape(values.shape)


def segments(
    times: Float[np.ndarray, " t"],
    values: Float[np.ndarray, "t h w"],
    *,
    scored: Float[np.ndarray, " s"] | None = None,
) -> tuple[Segment, ...]:
    """The `MOST` strongest stretches, strongest first: consecutive frames with a strong region, and the box around it.

    `scored` are the times of the source's frames, rising: a stretch ends where one of them has no map. A weight is the
    share of the whole positive map that lies in those frames inside the box.
    """
    region, positive = strong(values), np.clip(values, 0, None)
    total = float(positive.sum(dtype=np.float64))
    held = np.flatnonzero(region.any(axis=(1, 2)))
    between = np.diff(np.searchsorted(times if scored is None else scored, times[held])) > 1
    found = []
    for frames in np.split(held, np.flatnonzero((np.diff(held) > 1) | between) + 1) if len(held) else ():
        rows = np.flatnonzero(region[frames].any(axis=(0, 2)))
        columns = np.flatnonzero(region[frames].any(axis=(0, 1)))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        inside = float(positive[frames, top:bottom, left:right].sum(dtype=np.float64))
        height, width = values.shape[1:]
        box = (float(left / width), float(top / height), float(right / width), float(bottom / height))
        found.append(
            Segment(first_s=times[frames[0]].item(), last_s=times[frames[-1]].item(), weight=inside / total, box=box)
        )
    return tuple(sorted(found, key=lambda segment: -segment.weight)[:MOST])


def place(box: tuple[float, float, float, float]) -> str:
    """Where in the picture a box (left, top, right, bottom; shares) lies, in words."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column = ("left", "middle", "right")[min(int(x * 3), 2)]
    row = ("upper", "middle", "lower")[min(int(y * 3), 2)]
    if row == column:
        return "in the middle of the picture"
    return (
        f"in the {row} {column} of the picture"
        if "middle" not in (row, column)
        else (f"in the {row if column == 'middle' else column} part of the picture")
    )
