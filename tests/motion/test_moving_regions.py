"""Regions of what moves and of what has come: on films whose squares are where we put them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidence.motion.moving_regions import MovingRegions, Regions

RATE = 10.0
RNG = np.random.default_rng(0)
WALL = cv2.GaussianBlur(RNG.integers(60, 120, (96, 192), dtype=np.uint8), (0, 0), 2)
SQUARE = cv2.GaussianBlur(RNG.integers(100, 255, (24, 20), dtype=np.uint8), (0, 0), 1)


def regions(columns: Sequence[int | None], *, absorb: float = 60.0) -> list[Regions]:
    """Of a film with a square at a column of row 40 in each frame, None where there is none."""
    made, found, before = MovingRegions(absorb=absorb, smallest=100), [], None
    for k, column in enumerate(columns):
        gray = WALL.copy()
        if column is not None:
            gray[40:64, column : column + 20] = SQUARE
        moving = None if before is None else cv2.absdiff(gray, before) > 0
        found.append(made.push(gray, moving, k / RATE))
        before = gray
    return found


def test_a_square_is_a_region_while_it_moves_and_while_it_stands() -> None:
    columns = [None] * 12 + [10 + 3 * k for k in range(20)] + [67] * 40
    found = regions(columns)
    assert all(len(each.areas) == 0 for each in found[:12])
    for each, column in zip(found[13:], columns[13:], strict=True):
        np.testing.assert_allclose(each.boxes, [[40, column, 24, 20]], atol=2)
        np.testing.assert_allclose(each.areas, [480], rtol=0.15)


def test_what_stands_for_longer_than_absorb_is_background() -> None:
    found = regions([None] * 12 + [60] * 60, absorb=3.0)
    assert [len(each.areas) for each in found[13:36]] == [1] * 23
    assert all(len(each.areas) == 0 for each in found[50:])


def test_the_place_that_something_left_is_no_region() -> None:
    found = regions([60] * 15 + [None] * 20)  # there from the first frame on, so it is background
    assert all(len(each.areas) == 0 for each in found[17:])
