"""A case refuses what is no map of its clip; a measure says nothing of what it does not apply to."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from vidence.attribution import Gradient
from vidence.errors import DataError, ShapeError
from vidence.evaluate.controls import CONTROLS, controls
from vidence.evaluate.measure import Case, Measure
from vidence.scoring.scores import Logit


class Mean(nn.Module):
    """Two classes: the clip's mean and its negative."""

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, -mean], dim=1)


def case(values=None, **given):
    x = torch.rand(1, 3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    values = np.zeros((2, 4, 5), np.float32) if values is None else values
    return Case(Mean(), x, Logit(0), Gradient(), values, **given)


@dataclass(frozen=True)
class Total(Measure):
    """The map's sum over its truth."""

    factor: float = 2.0
    aspect = "localisation"
    needs_truth = True

    def of(self, case):
        return float(self.factor * case.values.sum())


def test_a_broken_map_is_refused():
    with pytest.raises(ShapeError, match="must be \\(2, 4, 5\\)"):
        case(np.zeros((2, 4, 4), np.float32))
    with pytest.raises(DataError, match="finite"):
        case(np.full((2, 4, 5), np.nan, np.float32))
    with pytest.raises(ShapeError, match="mask must be bool"):
        case(mask=np.ones((2, 4, 5)))


def test_a_measure_of_truth_says_nothing_without_an_event():
    values, mask = np.ones((2, 4, 5), np.float32), np.ones((2, 4, 5), bool)
    assert Total()(case(values)) is None
    assert Total()(case(values, mask=~mask)) is None
    assert Total()(case(values, mask=mask)) == 80
    assert Total().settings == {"factor": 2.0}


def test_a_measure_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="finite"):
        Total(float("nan"))(case(mask=np.ones((2, 4, 5), bool)))


def test_again_asks_the_explainer_once_more():
    first = case()
    again = first.again()
    assert again.shape == (2, 4, 5)
    assert np.allclose(again, 1 / 120)
    twice = nn.Sequential(first.model)
    assert np.allclose(first.again(model=twice), again)
    assert float(first.subject.whole) == pytest.approx(float(first.x.mean()))


def test_draws_of_a_clip_are_the_same_for_every_map():
    assert case(seed=3).rng.random() == case(seed=3).rng.random() != case(seed=4).rng.random()


def test_controls_are_maps_that_look_at_no_model():
    x, model = torch.rand(2, 3, 4, 6, 8), Mean()
    made = controls(Logit(0), seed=1)
    assert set(made) == set(CONTROLS)
    for name, control in made.items():
        values = control(model, x, Logit(0))
        assert values.shape == (2, 4, 6, 8)
        assert torch.equal(values, control(nn.Identity(), x, Logit(0))), name
    noise = made["random-map"](model, x, Logit(0))
    assert not torch.equal(noise, controls(Logit(0), seed=2)["random-map"](model, x, Logit(0)))


def test_the_centre_map_is_strongest_in_the_middle_and_motion_is_the_step():
    x = torch.zeros(1, 3, 3, 5, 5)
    x[:, :, 1, 2, 3] = 0.6
    centre = CONTROLS["centre-map"]()(Mean(), x, Logit(0))
    assert (centre[0].amax(dim=(1, 2)) == centre[0, :, 2, 2]).all()
    motion = CONTROLS["frame-difference"]()(Mean(), x, Logit(0))[0]
    assert torch.allclose(motion[:, 2, 3], torch.tensor([0.6, 0.6, 0.6]))
    assert float(CONTROLS["frame-difference"]()(Mean(), x[:, :, :1], Logit(0)).abs().max()) == 0
