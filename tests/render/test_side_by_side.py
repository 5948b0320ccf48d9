"""Rows of a frame, what was expected, the difference and the attention: composed, as a sheet and as a movie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.render.lettering import GROUND
from vidence.render.ramp import TOWARDS
from vidence.render.side_by_side import (
    ATTENTION,
    DIFFERENCE,
    FULL,
    MOVIE,
    SEEN,
    Row,
    draw_beside,
    pictures,
    side_by_side,
)


def shot(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def row(time: float, seed: int = 0) -> Row:
    residual = np.zeros((60, 80), dtype=np.float32)
    residual[10:20, 30:50] = FULL
    return Row(time, 1.25, pictures(shot(seed), {"reconstruction": shot(seed + 1)}, residual))


def test_the_difference_is_drawn_on_one_fixed_scale() -> None:
    residual = np.zeros((60, 80), dtype=np.float32)
    residual[0, 0], residual[0, 1], residual[0, 2] = FULL, FULL / 2, 1.0
    found = pictures(shot(), {}, residual)[DIFFERENCE]
    assert (found[1:] == GROUND).all()
    assert np.abs(found[0, 0].astype(int) - TOWARDS[-1]).max() <= 1
    np.testing.assert_array_equal(found[0, 2], found[0, 0])  # beyond the scale: as bright as it gets
    assert GROUND[0] < found[0, 1, 0]
    assert found[0, 1].sum() < found[0, 0].sum()


def test_attention_is_drawn_from_its_least_to_its_greatest() -> None:
    attention = np.full((60, 80), 0.4, dtype=np.float32)
    attention[5, 5] = 0.41
    residual = np.zeros((60, 80), dtype=np.float32)
    found = pictures(shot(), {"prediction": shot(1)}, residual, attention)
    assert list(found) == [SEEN, "prediction", DIFFERENCE, ATTENTION]
    assert np.abs(found[ATTENTION][5, 5].astype(int) - TOWARDS[-1]).max() <= 1
    assert (found[ATTENTION][6:] == GROUND).all()
    flat = pictures(shot(), {}, residual, np.ones((60, 80), dtype=np.float32))
    assert (flat[ATTENTION] == GROUND).all()


def test_a_row_holds_its_pictures_in_order_enlarged_to_be_readable() -> None:
    made = side_by_side(row(4.4))
    size = (240, 180)
    top = made.shape[0] - 180 - 8
    for place, picture in enumerate(row(4.4).pictures.values()):
        left = 8 + place * (240 + 8)
        np.testing.assert_array_equal(
            made[top : top + 180, left : left + 240], cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        )
    assert (made[:top] != GROUND).any(axis=2).sum() > 100  # time, score and captions are written
    assert (side_by_side(row(5.4))[:20] != made[:20]).any()
    assert made.shape[1] % 2 == 0


def test_wide_pictures_are_reduced() -> None:
    wide = np.zeros((100, 1200, 3), dtype=np.uint8)
    made = side_by_side(Row(0.0, 0.0, {"a": wide, "b": wide}))
    assert made.shape[1] == 2 * (400 + 8) + 8


def test_a_movie_of_all_rows_and_sheets_of_the_wanted_ones(tmp_path: Path) -> None:
    taken = []

    def rows() -> Iterator[Row]:
        for t in range(6):
            taken.append(t)
            yield row(t / 10, seed=t)

    draw_beside(tmp_path, rows(), {"a.png": {0.1, 0.4}, "b.png": {0.1}}, title="a.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {MOVIE, "a.png", "b.png"}
    with av.open(str(tmp_path / MOVIE)) as movie:
        times = [frame.time for frame in movie.decode(video=0)]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    one, sheet, other = side_by_side(row(0.1, seed=1)), *(cv2.imread(str(tmp_path / f"{name}.png")) for name in "ab")
    assert sheet is not None
    assert other is not None
    assert one.shape[0] < other.shape[0] < 2 * one.shape[0]
    assert 2 * one.shape[0] < sheet.shape[0] < 3 * one.shape[0]
    held = sheet[..., ::-1]
    places = [y for y in range(len(held)) if np.array_equal(held[y, 20 : 20 + one.shape[1]], one[60])]
    assert len(places) == 1  # the wanted row stands there, unscaled
    assert taken == list(range(6))


def test_without_a_row_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="at least one"):
        draw_beside(tmp_path, [], {}, title="a.mp4")
    assert list(tmp_path.iterdir()) == []
