"""Anomalies staged in normal footage: where the masks say, at the speed and size that the kind says, nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.motion.staged import KINDS, MARGIN, WIDER, followed, staged

PACE = 1.5  # pixels a frame


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """Somebody walks to the right before a still wall, and comes in again."""
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(60, 110, (160, 240), dtype=np.uint8), (0, 0), 2)
    figure = cv2.GaussianBlur(rng.integers(180, 255, (30, 14), dtype=np.uint8), (0, 0), 1)
    pixels = np.repeat(wall[None], 110, axis=0)
    for k in range(110):
        left = round(10 + (PACE * k) % 200)
        pixels[k, 70:100, left : left + 14] = figure
    return np.repeat(pixels[..., None], 3, axis=3)


def centres(mask: np.ndarray) -> np.ndarray:
    return np.array([[axis.mean() for axis in np.nonzero(each)] for each in mask])


def test_somebody_is_followed(street: np.ndarray) -> None:
    walker = followed(street, 20, np.random.default_rng(0))
    assert walker is not None
    assert len(walker.path) >= 40
    np.testing.assert_allclose(walker.velocity, (PACE, 0), atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_staged_is_where_the_mask_says_and_nowhere_else(street: np.ndarray, kind: str) -> None:
    made = staged(street, kind, seed=1)
    assert made is not None
    some = made.mask.any(axis=(1, 2))
    assert not some[:MARGIN].any()
    assert not some[-MARGIN:].any()
    assert some[MARGIN:-MARGIN].all()
    plain = street[made.first : made.first + len(made.pixels)]
    np.testing.assert_array_equal(made.pixels[:MARGIN], plain[:MARGIN])
    if not kind.startswith("faster"):
        near = np.stack([cv2.dilate(each.astype(np.uint8), np.ones((9, 9))) > 0 for each in made.mask])
        np.testing.assert_array_equal(made.pixels[~near], plain[~near])
        np.testing.assert_array_equal(made.pixels, staged(street, kind, seed=1).pixels)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "pace", "axis"), [("running 2.0", 2, 1), ("gliding 1.5", 1.5, 1), ("cart 1.0", 1, 1), ("across", 1, 0)]
)
def test_it_moves_as_fast_as_its_kind_says(street: np.ndarray, kind: str, pace: float, axis: int) -> None:
    made = staged(street, kind, seed=1)
    assert made is not None
    path = centres(made.mask[MARGIN:-MARGIN])[:, axis]
    assert abs(np.diff(path).mean()) == pytest.approx(pace * PACE, rel=0.1)


def test_a_large_one_is_larger(street: np.ndarray) -> None:
    areas = [staged(street, kind, seed=1).mask[MARGIN].sum() for kind in ("large 1.5", "running 2.0")]  # type: ignore[union-attr]
    assert areas[0] / areas[1] == pytest.approx(1.5**2, rel=0.15)


def test_one_lies_as_wide_as_people_are_high_and_another_is_wider(street: np.ndarray) -> None:
    high, wide = {}, {}
    for kind in ("gliding 1.0", "lying", "wide"):
        made = staged(street, kind, seed=1)
        assert made is not None
        high[kind], wide[kind] = (int(made.mask[MARGIN].any(axis=axis).sum()) for axis in (1, 0))
    assert high["lying"] == pytest.approx(wide["gliding 1.0"], abs=1)
    assert wide["lying"] == pytest.approx(high["gliding 1.0"], abs=1)
    assert high["wide"] == pytest.approx(high["gliding 1.0"], abs=1)
    assert wide["wide"] == pytest.approx(WIDER * wide["gliding 1.0"], abs=2)


def test_twice_the_speed_is_every_second_frame(street: np.ndarray) -> None:
    made = staged(street, "faster 2.0", seed=1)
    assert made is not None
    first = made.first + MARGIN
    np.testing.assert_array_equal(made.pixels[MARGIN:-MARGIN], street[first::2][: len(made.pixels) - 2 * MARGIN])


def test_nothing_is_staged_where_nobody_is_and_too_little_is_refused(street: np.ndarray) -> None:
    assert staged(np.repeat(street[:1], 60, axis=0), "gliding 1.0", seed=0) is None
    with pytest.raises(ShapeError, match="at least"):
        staged(street[:10], "across", seed=0)
