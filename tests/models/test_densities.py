"""Each density against its definition on a few codes."""

import numpy as np
import pytest

from vidence.models.densities import DENSITIES, Density

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=(60, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.2]])
CODES = RANDOM.normal(size=(7, 3))


@pytest.mark.parametrize("kind", DENSITIES)
class TestEveryDensity:
    def test_a_strange_code_scores_higher_than_the_usual_ones(self, kind: str) -> None:
        strange = np.array([[9.0, -9.0, 4.0]])
        density = Density(kind)
        assert density.scores(NORMAL, strange)[0] > np.quantile(density.scores(NORMAL, NORMAL), 0.95)

    def test_the_same_codes_give_the_same_density_in_any_unit(self, kind: str) -> None:
        found = Density(kind).scores(NORMAL, CODES)
        np.testing.assert_allclose(Density(kind).scores(NORMAL, CODES), found)
        unit, shift = np.array([1000.0, 0.01, 5.0]), np.array([3.0, 0.0, -70.0])
        np.testing.assert_allclose(Density(kind).scores(NORMAL * unit + shift, CODES * unit + shift), found, rtol=1e-6)

    def test_a_code_is_scored_alone_and_a_dimension_that_never_changes_is_no_trouble(self, kind: str) -> None:
        flat = np.concatenate([NORMAL, np.ones((60, 1))], axis=1)
        codes = np.concatenate([CODES, np.ones((7, 1))], axis=1)
        density = Density(kind)
        together = density.scores(flat, codes)
        assert np.isfinite(together).all()
        np.testing.assert_allclose(np.concatenate([density.scores(flat, code[None]) for code in codes]), together)

    def test_it_is_fitted_once_until_it_is_to_forget(self, kind: str) -> None:
        density = Density(kind)
        before = density.scores(NORMAL, CODES)
        np.testing.assert_array_equal(density.scores(CODES, CODES), before)
        density.forget()
        assert not np.allclose(density.scores(NORMAL[:30] * [1, 2, 3], CODES), before)


def test_k_nearest_neighbours() -> None:
    distances = np.sort(np.linalg.norm(CODES[:, None] - NORMAL[None], axis=2), axis=1)
    np.testing.assert_allclose(DENSITIES["knn"](NORMAL)(CODES), distances[:, :5].mean(axis=1))


def test_principal_components() -> None:
    mean = NORMAL.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(NORMAL.T))
    kept = axes[:, ::-1][:, : 1 + int(np.argmax(np.cumsum(values[::-1]) / values.sum() > 0.95))]
    assert kept.shape[1] == 2
    centred = CODES - mean
    wanted = ((centred - centred @ kept @ kept.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(DENSITIES["pca"](NORMAL)(CODES), wanted)


def test_kernel_density() -> None:
    width = len(NORMAL) ** (-1 / (3 + 4))
    far = ((CODES[:, None] - NORMAL[None]) ** 2).sum(axis=2)
    kernels = np.exp(-far / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5
    np.testing.assert_allclose(DENSITIES["kde"](NORMAL)(CODES), -np.log(kernels.mean(axis=1)))


def test_mahalanobis_of_many_codes_is_that_of_their_covariance() -> None:
    many = np.random.default_rng(1).normal(size=(20000, 2)) * [1.0, 3.0]
    wanted = ((np.array([[2.0, 3.0]]) / [1.0, 3.0]) ** 2).sum()
    assert DENSITIES["mahalanobis"](many)(np.array([[2.0, 3.0]]))[0] == pytest.approx(wanted, rel=0.05)
