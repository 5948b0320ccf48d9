"""Cells cover the clip once; a map's order of them is by what lies inside, ties at random."""

import numpy as np
import pytest
import torch

from vidence.errors import SpecError
from vidence.evaluate.cells import cells_of, check_cells, first_of, pooled, ranking

X = torch.rand(1, 3, 5, 6, 7, generator=torch.Generator().manual_seed(0))


def test_a_grid_is_blocks_of_whole_frames():
    labels = cells_of(X, "grid", grid=3, depth=2)
    slow = np.array(
        [[[(t // 2 * 3 + y * 3 // 6) * 3 + x * 3 // 7 for x in range(7)] for y in range(6)] for t in range(5)]
    )
    assert (labels == slow).all()
    assert len(np.unique(labels)) == 3 * 3 * 3


def test_a_grid_is_no_finer_than_its_pixels():
    labels = cells_of(X[:, :, :1], "grid", grid=16, depth=4)
    assert sorted(labels.reshape(-1)) == list(range(42))


def test_frames_and_tubes_tell_only_when_and_only_where():
    frames, tubes = (cells_of(X, cut, grid=2, depth=1) for cut in ("frames", "tubes"))
    assert all((frames[t] == t).all() for t in range(5))
    assert (tubes == tubes[:1]).all()
    assert len(np.unique(tubes)) == 4


def test_supervoxels_are_numbered_without_gaps_and_stay_in_their_slab():
    labels = cells_of(X, "supervoxels", grid=2, depth=2)
    assert set(labels.reshape(-1)) == set(range(labels.max() + 1))
    assert not set(labels[:2].reshape(-1)) & set(labels[2:].reshape(-1))


def test_pooling_is_the_sum_or_mean_inside():
    rng = np.random.default_rng(1)
    values, labels = rng.normal(size=(5, 6, 7)), cells_of(X, "grid", grid=4, depth=2)
    for by in ("sum", "mean"):
        slow = [getattr(values[labels == cell], by)() for cell in range(labels.max() + 1)]
        assert np.allclose(pooled(values, labels, by), slow)


def test_ties_are_broken_by_the_seed_alone():
    strengths = np.array([0.0, 2, 0, 0, 3, 0, 0, 0])
    orders = [ranking(strengths, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all(list(order[:2]) == [4, 1] for order in orders)
    assert list(orders[0]) == list(orders[1]) != list(orders[2])


def test_the_first_cells_of_an_order():
    first = first_of(np.array([2, 0, 1]), np.array([0, 1, 3]))
    assert first.tolist() == [[False] * 3, [False, False, True], [True] * 3]


def test_rows_have_orders_of_their_own():
    order = ranking(np.array([[1.0, 3, 2], [5, 5, 4]]), np.random.default_rng(0))
    assert order[0].tolist() == [1, 2, 0]
    assert order[1, 2] == 2
    assert first_of(order, np.array([1, 2])).tolist() == [[False, True, False], [True, True, False]]


def test_cells_that_do_not_exist_are_refused():
    with pytest.raises(SpecError, match="cells must be"):
        check_cells("hexagons", grid=2, depth=1)
    with pytest.raises(SpecError, match="1 or more"):
        check_cells("grid", grid=0, depth=1)
