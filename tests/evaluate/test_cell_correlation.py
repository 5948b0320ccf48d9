"""Correlations of a map's sums with losses, against loops over the definition."""

import numpy as np
import pytest
import torch

from linear_clip import Linear
from vidence.attribution import Gradient
from vidence.errors import SpecError
from vidence.evaluate.cell_correlation import FaithfulnessCorrelation, SingleCell
from vidence.evaluate.cells import cells_of
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit

WORTH = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(1))
X = torch.rand(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(2))
EXACT = (WORTH * (X[0].mean(dim=0) - 0.5)).numpy()  # against grey


class Squashed(Linear):
    def forward(self, x):
        return torch.tanh(super().forward(x) / 3)


def case(values=EXACT, model=None, x=X, **given):
    return Case(model or Linear(WORTH), x, Logit(0), Gradient(), values, **given)


@pytest.mark.parametrize("measure", [FaithfulnessCorrelation(fill=0.5, grid=3), SingleCell(fill=0.5, grid=3, depth=2)])
def test_the_exact_map_of_a_linear_model_has_one(measure):
    assert measure(case()) == pytest.approx(1, abs=1e-4)
    assert measure(case(-7 * EXACT)) == pytest.approx(-1, abs=1e-4)
    noise = np.random.default_rng(0).normal(size=EXACT.shape)
    assert abs(measure(case(noise))) < 0.7
    assert measure(case(np.zeros_like(EXACT))) is None
    assert measure(case(model=Linear(torch.zeros(4, 6, 6)))) is None


def test_single_cells_are_hidden_in_turn():
    values, model = np.random.default_rng(1).normal(size=EXACT.shape), Squashed(WORTH)
    labels = cells_of(X, "grid", grid=2, depth=2)
    whole, losses = float(model(X)[0, 0]), []
    for cell in range(8):
        hidden = X.clone()
        hidden[:, :, torch.from_numpy(labels == cell)] = 0.5
        losses.append(whole - float(model(hidden)[0, 0]))
    slow = np.corrcoef([values[labels == cell].sum() for cell in range(8)], losses)[0, 1]
    assert SingleCell(fill=0.5, grid=2, depth=2)(case(values, model)) == pytest.approx(slow, abs=1e-4)


def test_sets_have_one_size_and_depend_on_the_seed():
    measure = FaithfulnessCorrelation(share=0.25, runs=7)
    sets = measure.hidden(16, np.random.default_rng(0))
    assert (sets.sum(axis=1) == 4).all()
    assert len(np.unique(sets, axis=0)) == 7
    assert measure(case(model=Squashed(WORTH), seed=1)) != measure(case(model=Squashed(WORTH), seed=2))


def test_a_picture_will_do():
    assert SingleCell(fill=0.5)(case(EXACT[:1], Linear(WORTH[:1]), X[:, :, :1])) == pytest.approx(1, abs=1e-4)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(SpecError, match="runs"):
        FaithfulnessCorrelation(runs=2)
