"""Channels of cells, on flows and pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.motion.flow import FLOWS
from vidence.motion.moving_cells import CHANNELS, Grid

GRID = Grid(block=8, least=0.5)


def channels(
    flow: np.ndarray, gray: np.ndarray | None = None, before: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    picture = np.full(flow.shape[:2], 128, np.uint8) if gray is None else gray
    found = GRID.cells(picture, flow, flow if before is None else before, seconds=0.1)
    return dict(zip(CHANNELS, np.moveaxis(found, -1, 0), strict=True))


def test_uniform_motion_has_its_speed_everywhere_in_pixels_a_second() -> None:
    found = channels(np.full((48, 64, 2), (3.0, -4.0), np.float32))
    for name, value in {"moving": 1, "speed": 50, "square": 2500, "right": 30, "left": 0, "up": 40, "down": 0}.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(found["peak"], 50, rtol=1e-5)
    assert found["turn"].max() == 0


def test_what_moves_less_than_least_is_still() -> None:
    found = channels(np.full((48, 64, 2), (0.3, 0.3), np.float32))
    assert all(found[name].max() == 0 for name in CHANNELS if name != "peak")


def test_a_cell_is_the_mean_of_its_three_by_three_blocks() -> None:
    flow = np.zeros((48, 64, 2), np.float32)
    flow[16:24, 24:32, 0] = 2.0  # one block, of row 2 and column 3
    found = channels(flow)
    inside = np.zeros((6, 8))
    inside[1:4, 2:5] = 20 / 9
    np.testing.assert_allclose(found["speed"], inside, atol=1e-4)
    np.testing.assert_allclose(found["moving"], inside / 20, atol=1e-4)
    assert found["peak"][2, 3] == pytest.approx(20, rel=0.2)


def test_a_turn_is_the_change_of_velocity() -> None:
    flow = np.full((48, 64, 2), (2.0, 0.0), np.float32)
    np.testing.assert_allclose(channels(flow, before=-flow)["turn"], 40, rtol=1e-5)


def test_edges_are_told_by_their_orientation() -> None:
    flow = np.full((48, 64, 2), (2.0, 0.0), np.float32)
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8) * 3, (48, 64)).copy()
    found = channels(flow, gray=ramp)
    assert found["edge 0"][3, 4] == pytest.approx(3, rel=1e-3)
    assert all(found[f"edge {k}"][3, 4] == 0 for k in (1, 2, 3))
    upright = channels(
        flow, gray=np.ascontiguousarray(np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None] * 3, (48, 64)))
    )
    assert upright["edge 2"][3, 4] == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("kind", FLOWS)
def test_every_flow_finds_a_shift(kind: str) -> None:
    rng = np.random.default_rng(0)
    large = rng.integers(0, 255, (16, 20), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)
    moved = np.roll(large, (2, 3), axis=(0, 1))
    flow = FLOWS[kind]()(large, moved)[24:-24, 24:-24]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (3, 2), atol=0.3)
