"""I-GOS: every step that is taken lowers the loss itself, and the evidence is what is hidden."""

import pytest
import torch

from linear_clip import Linear, overlap, tube
from vidence.attribution import IGOS, IGOSPlusPlus
from vidence.errors import SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import Folded, made

BOTH = pytest.mark.parametrize("method", [IGOS, IGOSPlusPlus])


@BOTH
def test_the_accepted_loss_falls_at_every_step(method):
    torch.manual_seed(0)
    found = method(iterations=8, points=5).attribute(made(Folded), torch.rand(1, 3, 4, 14, 12), Logit(0))
    before, after = found.extra["loss"][0].unbind(dim=1)
    assert (after <= before).all()
    assert after[0] < before[0]
    same_weights = slice(1, 4) if method is IGOS else slice(1, 8)  # I-GOS makes size cheaper after half of the steps
    assert torch.allclose(before[same_weights], after[: len(before[same_weights])])


@BOTH
def test_it_hides_a_tube(method):
    x, truth = torch.rand(1, 3, 8, 24, 24) / 2 + 0.4, tube()
    found = method(iterations=10, points=5, fill=0.0, tv=1.0, tv_time=0.0)
    values = found(Linear(truth), x, Logit(0))[0]
    assert overlap(values, truth) > 0.6


def test_the_gradient_is_the_mean_along_the_path():
    """A linear score: d share(part * m) / dm = part * w (x - 0) / unit, so the mean part is (S + 1) / 2S."""
    x, weight = torch.rand(1, 3, 2, 6, 6), torch.rand(2, 6, 6)
    steps = IGOS(iterations=1, points=4, l1=0, tv=0, noise=0, fill=0.0)
    taken = steps.attribute(Linear(weight), x, Logit(0)).raw[0, 0]
    share = x[0].mean(dim=0) * weight
    assert torch.allclose(taken, (8 * 5 / 8 * share / share.sum()).clamp(max=1), atol=1e-5)


@BOTH
@pytest.mark.parametrize("build", [lambda: Linear(torch.rand(3, 8, 8)), lambda: made(Folded)])
def test_the_price_is_never_exceeded(method, build):
    explainer, model = method(iterations=4, points=3), build()
    with counted_passes(model) as passes:
        explainer(model, torch.rand(1, 3, 3, 8, 8), Logit(0))
    price = explainer.price(3, 8, 8)
    assert price.at_most
    assert 2 + 4 * 5 <= passes.forwards <= price.forwards
    assert passes.gradients == price.gradients == 4 * 3 * explainer.terms


@BOTH
def test_settings_without_sense_are_refused(method):
    for settings in ({"points": 0}, {"tv": -1}, {"fill": "nothing"}):
        with pytest.raises(SpecError):
            method(**settings)
