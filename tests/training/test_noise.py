import numpy as np
import pytest

from vidence.errors import DataError
from vidence.training.noise import differences, holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_paired_t_by_its_definition() -> None:
    first, second = [0.80, 0.84, 0.88, 0.81], [0.83, 0.86, 0.92, 0.83]
    (pair,) = differences({8: first, 16: second})
    change = np.subtract(second, first)
    t = change.mean() / (change.std(ddof=1) / 2)
    # two-sided p of Student's t with 3 degrees of freedom, in closed form
    x = t / np.sqrt(3)
    p = 1 - 2 / np.pi * (np.arctan(x) + x / (1 + x * x))
    assert pair.p == pytest.approx(p, rel=1e-6)
    assert pair.mean == pytest.approx(0.0275)
    assert (pair.first, pair.second, pair.p_holm) == (8, 16, pair.p)


def test_pure_noise_rarely_exceeds_the_noise() -> None:
    random = np.random.default_rng(0)
    hits = sum(
        any(pair.exceeds_noise() for pair in differences({v: random.normal(size=3).tolist() for v in range(9)}))
        for _ in range(40)
    )
    assert hits <= 6  # 5 % of 40 families is 2


def test_a_large_difference_does() -> None:
    random = np.random.default_rng(0)
    runs = {v: (random.normal(size=5) * 0.01 + v).tolist() for v in range(3)}
    assert all(pair.exceeds_noise() for pair in differences(runs))


def test_runs_that_do_not_vary_prove_little() -> None:
    (same,) = differences({1: [0.5, 0.5, 0.5], 2: [0.5, 0.5, 0.5]})
    (off,) = differences({1: [0.5, 0.6, 0.7], 2: [0.75, 0.85, 0.95]})
    assert same.p == 1.0
    assert off.p == 0.25, "of the 8 sign patterns of three differences two are this extreme"


@pytest.mark.parametrize("runs", [{1: [0.5], 2: [0.6]}, {1: [0.5, 0.6], 2: [0.6]}, {}])
def test_too_few_runs(runs: dict[int, list[float]]) -> None:
    with pytest.raises(DataError, match="two runs a setting"):
        differences(runs)
