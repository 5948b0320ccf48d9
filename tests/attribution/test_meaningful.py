"""Meaningful perturbation of a linear score deletes exactly the cells that are worth more than they cost."""

import pytest
import torch

from linear_clip import Linear
from vidence.attribution import MeaningfulPerturbation
from vidence.attribution.perturb import meaningful
from vidence.errors import SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes


def test_the_optimum_of_a_linear_score_deletes_what_is_worth_more_than_lambda():
    x, weight = torch.full((1, 3, 3, 6, 6), 0.5), torch.randn(3, 6, 6)
    share = 0.5 * weight / (0.5 * weight).sum().abs()  # what deleting a cell takes, of what deleting all takes
    cost = 1e-4 * meaningful.SIDE**2 / share.numel()
    assert ((share - cost).abs() > 1e-4).all()
    explainer = MeaningfulPerturbation(tv=0, tv_time=0, l1=1e-4, fill=0.0, jitter=0)
    found = explainer.attribute(Linear(weight), x, Logit(0), certify=False)
    assert torch.equal(found.values[0] > 0.5, share > cost)
    assert torch.allclose(found.raw, found.values)
    assert float(((found.values - 0.5).abs() - 0.5).abs().max()) < 1e-3  # deleted wholly, or not at all


def test_a_dearer_deletion_is_smaller():
    x, weight = torch.rand(1, 3, 3, 12, 12), torch.rand(3, 12, 12)
    sizes = [
        MeaningfulPerturbation(l1=l1, iterations=60, fill=0.0)(Linear(weight), x, Logit(0)).mean()
        for l1 in (1e-4, 1e-3, 3e-3)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_differences_between_frames_can_be_made_dear():
    x, weight = torch.rand(1, 3, 6, 8, 8), torch.randn(6, 8, 8)
    apart = [
        MeaningfulPerturbation(tv_time=dear, power=2, iterations=60, fill=0.0)(Linear(weight), x, Logit(0))
        .diff(dim=1)
        .abs()
        .mean()
        for dear in (0, 0.3)
    ]
    assert apart[1] < 0.5 * apart[0]


def test_jitter_moves_the_mask_by_the_seed():
    x, weight = torch.rand(1, 3, 2, 64, 64), torch.rand(2, 64, 64)
    maps = [MeaningfulPerturbation(iterations=8, seed=seed)(Linear(weight), x, Logit(0)) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_the_price_is_what_is_counted():
    explainer, model = MeaningfulPerturbation(iterations=7), Linear(torch.rand(2, 8, 8))
    with counted_passes(model) as passes:
        explainer(model, torch.rand(1, 3, 2, 8, 8), Logit(0))
    price = explainer.price(2, 8, 8)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (9, 7)


@pytest.mark.parametrize("settings", [{"fill": "nothing"}, {"iterations": 0}, {"l1": -1}, {"rate": 0}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(SpecError):
        MeaningfulPerturbation(**settings)
