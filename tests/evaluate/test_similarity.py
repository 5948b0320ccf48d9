import numpy as np
import pytest
from skimage.metrics import structural_similarity

from vidence.errors import SpecError
from vidence.evaluate.similarity import check_how, similarity


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(2, 3, 9, 8))


def test_equal_maps_are_1_and_opposite_ones_minus_1(maps):
    one = maps[0]
    assert similarity(one, np.exp(one)) == pytest.approx(1), "ranks alone count"
    assert similarity(one, -one) == pytest.approx(-1)
    assert similarity(one, -one, signed=False) == pytest.approx(1)
    assert similarity(one, 3 * one, how="ssim") == pytest.approx(1), "scale does not count"
    assert similarity(one, -one, how="ssim", signed=False) == pytest.approx(1)
    assert abs(similarity(*maps)) < 0.3


def test_spearman_from_its_definition(maps):
    first, second = (np.argsort(np.argsort(values.ravel())) for values in maps)
    n = first.size
    assert similarity(*maps) == pytest.approx(1 - 6 * ((first - second) ** 2).sum() / (n * (n**2 - 1)))


def test_ssim_is_the_mean_of_the_frames(maps):
    one, other = (values / np.abs(values).max() for values in maps)
    frames = [structural_similarity(a, b, data_range=2.0) for a, b in zip(one, other, strict=True)]
    assert similarity(*maps, how="ssim") == pytest.approx(np.mean(frames))


@pytest.mark.parametrize("how", ["spearman", "ssim"])
def test_a_constant_map_is_like_nothing(maps, how):
    flat = np.ones_like(maps[0])
    assert similarity(flat, maps[0], how=how) is None
    assert similarity(maps[0], flat, how=how) == 0


def test_small_frames_and_unknown_comparisons(maps):
    assert similarity(*maps[:, :, :4, :5], how="ssim") is not None
    assert similarity(*maps[:, :, :2], how="ssim") is None
    with pytest.raises(SpecError, match="'pearson'"):
        check_how("pearson")
