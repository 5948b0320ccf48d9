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


def slow_histograms(frame, bins=9, cell=8):
    """The definition: unsigned directions of central differences, weighted by their lengths, in cells; one block."""
    down, across = np.zeros_like(frame), np.zeros_like(frame)
    down[1:-1], across[:, 1:-1] = frame[2:] - frame[:-2], frame[:, 2:] - frame[:, :-2]
    cells = []
    for i in range(0, frame.shape[0], cell):
        for j in range(0, frame.shape[1], cell):
            held = np.zeros(bins)
            for row in range(i, i + cell):
                for column in range(j, j + cell):
                    angle = np.degrees(np.arctan2(down[row, column], across[row, column])) % 180
                    held[min(int(angle // (180 / bins)), bins - 1)] += np.hypot(down[row, column], across[row, column])
            cells.append(held / cell**2)
    block = np.concatenate(cells)
    block = np.minimum(block / np.sqrt((block**2).sum() + 1e-10), 0.2)
    return block / np.sqrt((block**2).sum() + 1e-10)


def test_shapes_from_their_definition():
    maps = np.random.default_rng(1).normal(size=(2, 2, 16, 16))
    scaled = [values / np.abs(values).max() for values in maps]
    histograms = [np.concatenate([slow_histograms(frame) for frame in values]) for values in scaled]
    assert similarity(*maps, how="hog") == pytest.approx(np.corrcoef(*histograms)[0, 1], abs=1e-6)


def test_shapes_see_lines_and_no_signs(maps):
    rows, columns = np.mgrid[:32, :32]
    lying, standing = np.sin(rows / 2)[None], np.sin(columns / 2)[None]
    assert similarity(lying, 3 * lying, how="hog") == pytest.approx(1)
    assert similarity(lying, -lying, how="hog") == pytest.approx(1)
    assert similarity(lying, standing, how="hog") < 0
    assert abs(similarity(*np.random.default_rng(3).normal(size=(2, 4, 48, 48)), how="hog")) < 0.2
    still = np.arange(3.0)[:, None, None] * np.ones((3, 9, 8))
    assert similarity(still, maps[0], how="hog") is None, "no gradient in any frame"
    assert similarity(maps[0], still, how="hog") == 0


@pytest.mark.parametrize("how", ["spearman", "ssim", "hog"])
def test_a_constant_map_is_like_nothing(maps, how):
    flat = np.ones_like(maps[0])
    assert similarity(flat, maps[0], how=how) is None
    assert similarity(maps[0], flat, how=how) == 0


def test_small_frames_and_unknown_comparisons(maps):
    assert similarity(*maps[:, :, :4, :5], how="ssim") is not None
    assert similarity(*maps[:, :, :4, :5], how="hog") is not None
    for how in ("ssim", "hog"):
        assert similarity(*maps[:, :, :2], how=how) is None
    with pytest.raises(SpecError, match="'pearson'"):
        check_how("pearson")
