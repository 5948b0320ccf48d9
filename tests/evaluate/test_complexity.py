import numpy as np
import pytest
import torch
from torch import nn

from vidence.attribution import Gradient
from vidence.errors import SpecError
from vidence.evaluate.complexity import EffectiveComplexity, Entropy, Gini, TemporalGini, area, entropy, gini
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit


def case(values):
    return Case(nn.Identity(), torch.rand(1, 3, *values.shape), Logit(0), Gradient(), values)


def point(side=16, t=4):
    values = np.zeros((t, side, side))
    values[1, 2, 3] = -5
    return values


def test_flat_masses_a_point_and_half_of_them():
    flat, one, half = np.ones(32), np.eye(32)[5] * 3, np.repeat([0.0, 2.0], 16)
    assert gini(flat) == pytest.approx(0)
    assert gini(one) == pytest.approx(31 / 32)
    assert gini(half) == pytest.approx(1 / 2)
    assert entropy(flat) == pytest.approx(1)
    assert entropy(one) == 0
    assert entropy(half) == pytest.approx(np.log(16) / np.log(32))
    assert [area(masses, 0.5) for masses in (flat, one, half)] == [1, 1 / 32, 1 / 2]
    nothing = np.zeros(32)
    assert (entropy(nothing), area(nothing, 0.5)) == (1, 1), "as flat as can be"


def test_gini_is_the_mean_difference_of_two():
    masses = np.random.default_rng(0).exponential(size=50)
    slow = np.abs(masses[:, None] - masses).mean() / (2 * masses.mean())
    assert gini(masses) == pytest.approx(slow)
    assert gini(7 * masses) == pytest.approx(slow)


def test_a_point_of_a_clip():
    assert Gini()(case(point())) == pytest.approx(1 - 1 / 1024)
    assert Entropy()(case(point())) == 0
    assert EffectiveComplexity()(case(point())) == 1 / 1024
    assert TemporalGini()(case(point())) == pytest.approx(3 / 4)


def test_the_grid_makes_maps_of_other_sizes_alike():
    coarse = np.random.default_rng(0).normal(size=(3, 4, 4))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2)
    for measure in (Gini(grid=4), Entropy(grid=4), EffectiveComplexity(grid=4)):
        assert measure(case(fine)) == pytest.approx(measure(case(coarse)), rel=1e-5)
    assert Entropy(grid=8)(case(coarse)) == Entropy(grid=4)(case(coarse)), "no finer than the frames are"
    assert Gini(grid=32)(case(point(side=32))) > Gini(grid=4)(case(point(side=32)))


def test_sizes_count_whatever_the_sign():
    values = np.random.default_rng(0).normal(size=(3, 8, 8))
    for measure in (Gini(), Entropy(), EffectiveComplexity(), TemporalGini()):
        assert measure(case(values)) == pytest.approx(measure(case(np.abs(values))))


def test_nothing_is_said_of_a_zero_map_and_of_the_time_of_an_image():
    for measure in (Gini(), Entropy(), EffectiveComplexity(), TemporalGini()):
        assert measure(case(np.zeros((3, 8, 8)))) is None
    assert TemporalGini()(case(point(t=4)[1:2])) is None


def test_settings_that_are_none():
    for wrong in (lambda: Gini(grid=0), lambda: Entropy(grid=-1), lambda: EffectiveComplexity(least=0)):
        with pytest.raises(SpecError):
            wrong()
