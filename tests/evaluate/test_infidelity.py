"""Infidelity from its definition, with captum as oracle on equal perturbations."""

import numpy as np
import pytest
import torch

from linear_clip import Linear
from vidence.attribution import Gradient
from vidence.errors import DataError, SpecError
from vidence.evaluate.infidelity import Infidelity
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit

WORTH = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(1))
X = torch.rand(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(2))
NOISE = np.random.default_rng(5).normal(size=(4, 6, 6))


class Squashed(Linear):
    def forward(self, x):
        return torch.tanh(super().forward(x) / 3)


def case(values, model=None, **given):
    return Case(model or Linear(WORTH), X, Logit(0), Gradient(), values, **given)


def test_the_gradient_of_a_linear_model_misses_nothing():
    for scaled in (True, False):
        asked = Infidelity("gaussian", scaled=scaled)
        assert asked(case(WORTH.numpy())) == pytest.approx(0, abs=1e-6)
    exact = (WORTH * (X[0].mean(dim=0) - 0.3)).numpy()
    assert Infidelity(fill=0.3, scaled=False)(case(exact)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("perturbation", ["boxes", "gaussian"])
def test_the_best_factor_is_never_worse_and_never_negative(perturbation):
    for values in (NOISE, 9 * WORTH.numpy(), -WORTH.numpy()):
        asked = {scaled: Infidelity(perturbation, scaled=scaled, fill=0)(case(values)) for scaled in (True, False)}
        assert 0 <= asked[True] <= min(1, asked[False]) + 1e-9
    assert Infidelity("gaussian")(case(-WORTH.numpy())) == 1
    assert Infidelity("gaussian")(case(np.zeros_like(NOISE))) == 1


@pytest.mark.parametrize("scaled", [False, True])
def test_captum_says_the_same_of_the_same_noise(scaled):
    from captum.metrics import infidelity

    samples, rng = 40, np.random.default_rng(3)
    values = NOISE + WORTH.numpy()
    drawn = torch.from_numpy(0.1 * rng.standard_normal((samples, 4, 6, 6))).float()[:, None].expand(-1, 3, -1, -1, -1)
    said = torch.from_numpy(values).float().expand(1, 3, -1, -1, -1) / 3  # our noise is the same in all channels
    model = Squashed(WORTH)
    oracle = infidelity(
        lambda x: model(x)[:, 0],
        lambda x: (drawn, x - drawn),
        X,
        said,
        n_perturb_samples=samples,
        normalize=scaled,
    )
    ours = Infidelity("gaussian", samples=samples, scaled=scaled, relative=False)(case(values, model, seed=3))
    assert ours == pytest.approx(float(oracle), rel=1e-4)


def test_the_chunk_changes_nothing():
    for perturbation in ("boxes", "gaussian"):
        asked = Infidelity(perturbation, samples=20)
        found = [asked(case(NOISE, Squashed(WORTH), chunk=chunk)) for chunk in (1, 7, None)]
        assert found == pytest.approx([found[0]] * 3, rel=1e-4)


def test_a_score_that_stands_still_says_nothing():
    barely = Linear(torch.zeros(4, 6, 6))
    for perturbation in ("boxes", "gaussian"):
        with pytest.raises(DataError, match="more than rounding"):
            Infidelity(perturbation)(case(NOISE, barely))


def test_rounding_is_no_change():
    class Lifted(Linear):
        """Moves by far less than its score, in 32 bit."""

        def forward(self, x):
            return super().forward(x) * 1e-6 + 10

    for perturbation in ("boxes", "gaussian"):
        with pytest.raises(DataError, match="change 10 by"):
            Infidelity(perturbation)(case(NOISE, Lifted(WORTH)))
    assert Infidelity(fill=0.3)(case(NOISE, Squashed(WORTH))) <= 1


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"perturbation": "snow"}, {"samples": 0}, {"noise": 0.0}, {"fill": "snow"}):
        with pytest.raises(SpecError):
            Infidelity(**wrong)
