"""Which detectors none surpasses, and the plot of it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from vidence.evaluate.pareto import frontier, write_pareto


def surpassed(i: int, gain: np.ndarray, cost: np.ndarray) -> bool:
    """By the definition, pair by pair."""
    return any(
        gain[j] >= gain[i] and cost[j] <= cost[i] and (gain[j] > gain[i] or cost[j] < cost[i]) for j in range(len(gain))
    )


def test_the_frontier_is_what_none_surpasses() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        gain, cost = rng.integers(0, 6, 12).astype(float), rng.integers(0, 6, 12).astype(float)
        expected = [not surpassed(i, gain, cost) for i in range(12)]
        assert frontier(gain, cost).tolist() == expected


def test_equals_stand_side_by_side() -> None:
    assert frontier(np.array([0.8, 0.8, 0.7]), np.array([5.0, 5.0, 5.0])).tolist() == [True, True, False]


def test_the_plot_is_written_with_what_is_known(tmp_path: Path) -> None:
    rows = [
        {"name": "previous frame", "live_frame_auc": 0.8, "parameters": 0.0, "frames_per_s": 900.0},
        {"name": "bcae1", "live_frame_auc": 0.7, "parameters": 1e6, "frames_per_s": 60.0, "flops_per_frame": 1e9},
        {"name": "without", "live_frame_auc": math.nan, "parameters": 1e6, "frames_per_s": None},
    ]
    write_pareto(tmp_path / "pareto.png", rows)
    picture = cv2.imread(str(tmp_path / "pareto.png"))
    assert picture is not None
    assert picture.shape[1] > 2 * picture.shape[0]
    write_pareto(tmp_path / "empty.png", [])
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_many_rows_name_only_the_frontier(tmp_path: Path) -> None:
    rows = [{"name": f"row {i}", "live_frame_auc": i / 60, "parameters": float(60 - i)} for i in range(60)]
    write_pareto(tmp_path / "many.png", rows)
    assert (tmp_path / "many.png").is_file()
