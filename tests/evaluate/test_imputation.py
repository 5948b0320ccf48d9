"""Imputation solves the system it states: each hidden pixel is the weighted mean of its neighbours."""

import numpy as np
import pytest

from vidence.evaluate.imputation import Imputation


def slow(x, hidden, *, through_time):
    """The definition, densely: unknowns equal to the weighted means of their neighbours."""
    c, t, h, w = x.shape
    at = [tuple(place) for place in np.argwhere(hidden)]
    system, given = np.eye(len(at)), np.zeros((len(at), c))
    for row, (i, j, k) in enumerate(at):
        steps = [(0, dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        near = {step: 1 / 6 if 0 in step[1:] else 1 / 12 for step in steps}
        near |= {(-1, 0, 0): 1 / 6, (1, 0, 0): 1 / 6} if through_time else {}
        inside = {
            (i + a, j + b, k + d): weight
            for (a, b, d), weight in near.items()
            if 0 <= i + a < t and 0 <= j + b < h and 0 <= k + d < w
        }
        for place, weight in inside.items():
            if hidden[place]:
                system[row, at.index(place)] -= weight / sum(inside.values())
            else:
                given[row] += x[(slice(None), *place)] * weight / sum(inside.values())
    shown = x.copy()
    shown[:, hidden] = np.linalg.solve(system, given).T
    return shown


@pytest.mark.parametrize("through_time", [False, True])
def test_hidden_pixels_are_the_means_of_their_neighbours(through_time):
    rng = np.random.default_rng(0)
    x, hidden = rng.random((3, 3, 5, 6)), rng.random((3, 5, 6)) < 0.4
    found = Imputation(x, rng, through_time=through_time, noise=0)(hidden)
    assert np.allclose(found, slow(x, hidden, through_time=through_time), atol=3e-3)
    assert np.allclose(found[:, ~hidden], x[:, ~hidden])


def test_time_fills_what_a_frame_cannot():
    x = np.stack([np.linspace(0, 1, 5)] * 3)[:, :, None, None] * np.ones((3, 5, 4, 4))
    hidden = np.zeros((5, 4, 4), dtype=bool)
    hidden[3] = True
    rng = np.random.default_rng(0)
    assert np.allclose(Imputation(x, rng, through_time=True, noise=0)(hidden), x, atol=3e-3)
    assert np.allclose(Imputation(x, rng, through_time=False, noise=0)(hidden)[:, 3], 0.5)  # the mean colour


def test_noise_belongs_to_the_place():
    x, rng = np.full((3, 1, 6, 6), 0.5), np.random.default_rng(2)
    noisy = Imputation(x, rng, through_time=True)
    little, all_hidden = np.zeros((1, 6, 6), dtype=bool), np.ones((1, 6, 6), dtype=bool)
    little[0, 2:4, 2:4] = True
    assert np.allclose(noisy(little)[:, little], noisy(all_hidden)[:, little])
    assert 0.005 < (noisy(all_hidden) - 0.5).std() < 0.015
    assert np.array_equal(noisy(~all_hidden), x.astype(np.float32))
