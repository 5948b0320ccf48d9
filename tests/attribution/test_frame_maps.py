"""Overlapping windows' maps, averaged per frame."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.attribution.frame_maps import FrameMaps
from vidence.errors import ShapeError


def flat(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)


def test_frames_in_two_windows_get_the_mean() -> None:
    maps = FrameMaps()
    maps.add((0.0, 0.5), flat(1, 2))
    maps.add((0.5, 1.0), flat(4, 6))
    assert maps.times.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(maps.values, flat(1, 3, 6))
    assert len(maps) == 3


def test_a_padded_frame_keeps_the_windows_sum() -> None:
    maps = FrameMaps()
    maps.add((0.0, 0.5, 0.5), flat(1, 2, 3))
    np.testing.assert_allclose(maps.values, flat(1, 5))


def test_a_map_without_its_times_is_refused() -> None:
    with pytest.raises(ShapeError, match="one time per frame"):
        FrameMaps().add((0.0,), flat(1, 2))
