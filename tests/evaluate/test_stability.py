"""Sensitivity against captum and closed forms; a second run under another seed."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import nn

from vidence.attribution import RISE, Gradient, InputXGradient, Mean, SmoothGrad
from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import SpecError
from vidence.evaluate.controls import CentreMap, RandomMap
from vidence.evaluate.measure import Case
from vidence.evaluate.stability import AverageSensitivity, MaxSensitivity, ReRun, reseeded
from vidence.scoring.scores import Logit
from zoo import Folded

BOTH = (MaxSensitivity, AverageSensitivity)


@dataclass(frozen=True)
class Pixels(Explainer):
    """The map is the clip's first channel, and a constant besides: it changes as much as the clip does."""

    besides: float = 0.0
    seen: list = field(default_factory=list, compare=False)

    def explain_clip(self, model, x, score):
        self.seen.append(x.clone())
        return Attributions(x[:, 0] + self.besides)


def case(explainer, *, model=None, low=0.2, high=0.8, seed=0):
    torch.manual_seed(0)
    x = low + (high - low) * torch.rand(1, 3, 5, 14, 12)
    model = model or Folded().eval()
    return Case(model, x, Logit(0), explainer, explainer(model, x, Logit(0))[0].detach().numpy(), seed=seed)


@pytest.mark.parametrize("explainer", [Gradient(), InputXGradient()])
def test_equals_captum(explainer):
    held = case(explainer, seed=3)
    drawn = torch.from_numpy(held.rng.uniform(-0.02, 0.02, (6, *held.x.shape))).to(held.x)

    def explained(x):
        return (explainer(held.model, x[0] if isinstance(x, tuple) else x, Logit(0)),)

    expected = float(sensitivity_max(explained, held.x, perturb_func=lambda x: x + drawn[:, 0], n_perturb_samples=6))
    assert MaxSensitivity(n=6)(held) == pytest.approx(expected, rel=1e-4)


def test_from_the_definition_with_draws_inside_the_radius():
    explainer = Pixels()
    held = case(explainer, model=nn.Identity())
    explainer.seen.clear()
    largest, mean = MaxSensitivity(radius=0.1, n=4)(held), AverageSensitivity(radius=0.1, n=4)(held)
    drawn = [seen - held.x for seen in explainer.seen]
    assert len(drawn) == 8
    assert all(torch.equal(one, other) for one, other in zip(drawn[:4], drawn[4:], strict=True)), "the same clips"
    assert 0.099 < max(float(each.abs().max()) for each in drawn) < 0.1001
    found = [float(each[:, 0].norm() / held.x[:, 0].norm()) for each in drawn[:4]]
    assert largest == pytest.approx(max(found), rel=1e-5)
    assert mean == pytest.approx(np.mean(found), rel=1e-5)


def test_clips_stay_in_their_range():
    explainer = Pixels()
    held = case(explainer, model=nn.Identity(), low=0.0, high=1.0)
    MaxSensitivity(radius=0.5, n=2)(held)
    assert all(float(seen.min()) >= 0 and float(seen.max()) <= 1 for seen in explainer.seen)


@pytest.mark.parametrize("measure", BOTH)
def test_a_map_that_is_drawn_by_nothing_is_stable_and_a_zero_map_says_nothing(measure):
    assert measure(n=2)(case(CentreMap())) == 0
    model = nn.Identity()
    assert measure(n=2)(Case(model, torch.zeros(1, 3, 2, 4, 4), Logit(0), Pixels(), np.zeros((2, 4, 4)))) is None


def test_a_second_run():
    assert ReRun()(case(Gradient())) == pytest.approx(1)
    assert abs(ReRun()(case(RandomMap()))) < 0.15
    rise = case(RISE(n=20))
    again = RISE(n=20, seed=rise.explainer.seed + 2)(rise.model, rise.x, Logit(0))[0].numpy()
    ranks = [np.argsort(np.argsort(values.ravel())) for values in (rise.values, again)]
    assert ReRun(step=2)(rise) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=0.02)


def test_seeds_are_raised_wherever_they_are():
    assert reseeded(Gradient(), 1) == Gradient()
    assert reseeded(RISE(seed=3), 2) == RISE(seed=5)
    combined = Mean(of=(RISE(seed=1), Gradient(), SmoothGrad(seed=4)))
    assert reseeded(combined, 1) == Mean(of=(RISE(seed=2), Gradient(), SmoothGrad(seed=5)))


@pytest.mark.parametrize("measure", BOTH)
def test_settings_that_are_none(measure):
    for settings in ({"radius": 0}, {"n": 0}):
        with pytest.raises(SpecError):
            measure(**settings)
