import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.evaluate.concentration import concentration


def test_a_point_a_flat_map_and_half_a_map() -> None:
    flat = np.ones((1, 2, 4, 4))
    assert concentration(flat) == {"entropy": pytest.approx(1.0), "area": 1.0}
    point = np.zeros((1, 2, 4, 4))
    point[0, 1, 2, 3] = 5
    assert concentration(point) == {"entropy": 0.0, "area": 1 / 32}
    half = np.zeros((1, 2, 4, 4))
    half[0, 0] = 3
    assert concentration(half) == {"entropy": pytest.approx(np.log(16) / np.log(32)), "area": 0.5}
    both = concentration(np.concatenate([flat, point]))
    assert both == {"entropy": pytest.approx(0.5), "area": pytest.approx((1 + 1 / 32) / 2)}


def test_scale_does_not_matter_and_negative_counts_as_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 5, 5))
    assert concentration(values * 7) == pytest.approx(concentration(values))
    assert concentration(np.maximum(values, 0)) == concentration(values)
    assert concentration(-np.ones((1, 1, 2, 2))) == {"entropy": pytest.approx(1.0), "area": 1.0}


def test_wrong_shapes() -> None:
    with pytest.raises(ShapeError):
        concentration(np.ones((2, 3, 4)))
    with pytest.raises(ShapeError):
        concentration(np.full((1, 1, 2, 2), np.nan))
