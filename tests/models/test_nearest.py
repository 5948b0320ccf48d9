"""Neighbours among known vectors, few values or many, and whitening."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.models.nearest import ROUGH, WIDE, neighbours_among, whitening


@pytest.mark.parametrize("width", [2, WIDE - 1, WIDE, 40])
def test_the_nearest_are_those_of_all_distances(width: int) -> None:
    rng = np.random.default_rng(width)
    known, values = rng.normal(size=(200, width)), rng.normal(size=(7, width))
    every = np.linalg.norm(values[:, None] - known, axis=2)
    distances, indices = neighbours_among(known)(values, 3)
    assert distances.shape == indices.shape == (7, 3)
    np.testing.assert_allclose(distances, np.take_along_axis(every, indices, axis=1), rtol=1e-4)
    assert (np.diff(distances, axis=1) >= 0).all()
    exact = np.sort(every, axis=1)[:, :3]
    allowed = 1 + (ROUGH if width < WIDE else 1e-4)
    assert (distances <= allowed * exact).all()


def test_whitened_distances_are_mahalanobis_and_what_never_differs_counts_nothing() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3))).astype(np.float32)
    values = np.concatenate([values, np.full((500, 1), 2.0, np.float32)], axis=1)  # one value never differs
    white = values @ whitening(values)
    covariance = np.cov(values[:, :3], rowvar=False)
    apart = values[:50, :3] - values[50:100, :3]
    expected = np.sqrt(np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart))
    np.testing.assert_allclose(np.linalg.norm(white[:50] - white[50:100], axis=1), expected, rtol=1e-3)
    assert not whitening(np.ones((5, 2), np.float32)).any()
