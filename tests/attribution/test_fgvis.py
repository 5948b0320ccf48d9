"""FGVis: gradients end where an activation leaves what it was, and what is hidden is the evidence."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution import FGVis
from vidence.attribution.perturb.fgvis import ActivationGate
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import Functional, Looped, made

RELUS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(inplace=True),
    "function": F.relu,
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": torch.Tensor.relu,
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_the_gradient_passes_only_between_nothing_and_what_was(relu):
    gate = ActivationGate()

    def units(x):
        before = x * 1.0
        after = relu(before)
        return before if relu is torch.relu_ else after  # a caller may look at either

    with gate:
        units(torch.tensor([1.0, 1.0, 1.0, -1.0, 0.5]))
    x = torch.tensor([0.5, 1.0, 1.5, 0.5, -0.5], requires_grad=True)
    with gate.again():
        total = units(x).sum()
    assert total == x.detach().clamp(min=0).sum()
    assert torch.autograd.grad(total, x)[0].tolist() == [1, 1, 0, 0, 0]


class Units(nn.Module):
    """Class 0 has the red channel's evidence through one unit, less the green one's through another."""

    def forward(self, x):
        red, green = (x[:, 0].sum((1, 2, 3)) - 1).relu(), (2 * x[:, 1].sum((1, 2, 3)) - 1).relu()
        return torch.stack([red - green, green * 0 - 1e3], dim=1)


def test_it_hides_single_pixels_of_the_colour_that_counts():
    x = torch.full((1, 3, 2, 4, 4), 0.5)
    found = FGVis(iterations=3, noise=0).attribute(Units(), x, Logit(0), certify=False)
    red, green, blue = found.raw[0].flatten(1).sum(dim=1)
    assert red > 1
    assert green == blue == 0
    assert torch.equal(found.values, found.raw.sum(dim=1))


def test_it_stops_when_the_class_changes():
    class Two(nn.Module):
        def forward(self, x):
            seen = x.sum((1, 2, 3, 4)).relu()
            return torch.stack([seen, 0.85 * 96 * 0.5 + 0 * seen], dim=1)

    model, x, explainer = Two(), torch.full((1, 3, 2, 4, 4), 0.5), FGVis(noise=0)
    with counted_passes(model) as passes:
        found = explainer.attribute(model, x, Logit(0), certify=False)
    assert found.raw.unique().tolist() == pytest.approx([0.2])
    assert passes.forwards < explainer.price(2, 4, 4).forwards


def test_what_a_recurrent_layer_returns_is_gated_too():
    gate, rnn, x = ActivationGate(), nn.GRU(2, 3, batch_first=True), torch.randn(1, 4, 2)
    with gate:
        first = rnn(x)[0].detach()
    asked = (x + 0.3 * torch.randn_like(x)).requires_grad_()
    with gate.again():
        states = rnn(asked)[0]
    inside = (states >= first.clamp(max=0)) & (states <= first.clamp(min=0))
    assert 0 < inside.sum() < inside.numel()
    plain = rnn(asked)[0]
    expected = torch.autograd.grad((plain * inside).sum(), asked)[0]
    assert torch.allclose(torch.autograd.grad(states.sum(), asked)[0], expected, atol=1e-6)


@pytest.mark.parametrize("build", [Looped, Functional])
def test_networks_as_users_write_them(build):
    model, x = made(build), torch.rand(1, 3, 4, 14, 12)
    one, two, other = (FGVis(iterations=4, seed=seed)(model, x, Logit(0)) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("layer", [nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Identity()])
def test_other_units_are_refused(layer):
    model = nn.Sequential(nn.Conv3d(3, 2, 1), layer, nn.AdaptiveAvgPool3d(1), nn.Flatten())
    with pytest.raises(ExplainError, match=r"fgvis needs ReLUs.*Take meaningful"):
        FGVis.quick()(model, torch.rand(1, 3, 2, 6, 6), Logit(0))


def test_settings_without_sense_are_refused():
    for settings in ({"iterations": 0}, {"rate": 0}, {"fill": "nothing"}):
        with pytest.raises(SpecError):
            FGVis(**settings)
