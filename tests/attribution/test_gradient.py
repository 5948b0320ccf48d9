"""Saliency against the linear model and captum."""

import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import Saliency
from torch import nn

from vidence.attribution import Gradient, InputXGradient
from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Folded, Volume, made


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 6, 5))

    def forward(self, x):
        return (self.weight * x).sum((1, 2, 3, 4))[:, None] + 2


def test_is_the_weight_of_a_linear_model():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(2, 3, 4, 6, 5)
    found = Gradient(channels="sum").attribute(model, x, Logit(0))
    torch.testing.assert_close(found.raw[1], model.weight.data)
    torch.testing.assert_close(found.values[0], model.weight.data.sum(0))


def test_reductions():
    model, x = Linear(), torch.rand(1, 3, 4, 6, 5)
    w = model.weight.data
    for channels, expected in {
        "abs_sum": w.abs().sum(0),
        "abs_max": w.abs().amax(0),
        "l2": w.square().sum(0).sqrt(),
    }.items():
        torch.testing.assert_close(Gradient(channels=channels)(model, x, Logit(0))[0], expected)
    with pytest.raises(SpecError, match="channels must be"):
        Gradient(channels="mean")


def test_agrees_with_captum_on_a_recurrent_model():
    torch.manual_seed(1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(3, 4, 3), nn.GRU(4, 5, batch_first=True)

        def forward(self, x):
            features = self.conv(x.transpose(1, 2).flatten(0, 1)).relu().mean((2, 3)).unflatten(0, (len(x), -1))
            return self.rnn(features)[0][:, -1]

    model, x = Net().eval(), torch.rand(2, 3, 4, 8, 8)
    theirs = Saliency(model).attribute(x.clone().requires_grad_(), target=3).amax(1)
    torch.testing.assert_close(Gradient()(model, x, Logit(3)), theirs)


def test_refuses_what_is_no_clip():
    for x in (torch.rand(3, 4, 6, 5), torch.rand(0, 3, 4, 6, 5), torch.zeros(1, 3, 4, 6, 5, dtype=torch.uint8)):
        with pytest.raises(ShapeError, match="x must be float"):
            Gradient()(Linear(), x, Logit(0))
    with pytest.raises(ShapeError, match="one value a clip"):
        Gradient()(Linear(), torch.rand(2, 3, 4, 6, 5), lambda output, x: output.sum())


def test_times_the_pixels_it_sums_to_a_linear_score_less_its_bias():
    model, x = Linear(), torch.rand(2, 3, 4, 6, 5)
    found = InputXGradient().attribute(model, x, Logit(0))
    torch.testing.assert_close(found.values.sum((1, 2, 3)), model(x)[:, 0].detach() - 2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.extra["score"], model(x)[:, 0].detach())


def test_times_the_pixels_it_sums_to_the_score_of_a_relu_net_without_biases():
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv3d(3, 5, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 2 * 4 * 3, 8, bias=False), nn.ReLU(),
        nn.Linear(8, 2, bias=False),
    )  # fmt: skip
    x = torch.rand(1, 3, 4, 6, 5)
    torch.testing.assert_close(InputXGradient()(model, x, Logit(1)).sum(), model(x)[0, 1].detach())


def test_of_a_linear_autoencoder_it_counts_the_error_twice():
    class Projector(ReconstructionNetwork):
        def __init__(self):
            super().__init__()
            basis = torch.linalg.qr(torch.randn(360, 9)).Q
            self.register_buffer("projector", basis @ basis.T)

        def forward(self, x):
            return Reconstruction((x.flatten(1) @ self.projector).view_as(x))

    torch.manual_seed(6)
    model, x = Projector(), torch.rand(1, 3, 4, 6, 5)
    left = x.flatten(1) - x.flatten(1) @ model.projector
    raw = Gradient().attribute(model, x, SquaredError()).raw
    torch.testing.assert_close(raw.flatten(1), 2 * left, rtol=1e-4, atol=1e-5)
    summed = InputXGradient().attribute(model, x, SquaredError()).values.sum()
    torch.testing.assert_close(summed, 2 * left.square().sum(), rtol=1e-4, atol=1e-5)
    # fixed: -2 P (x0 - P x) is 0 for a projector
    assert Gradient().attribute(model, x, SquaredError(mode="fixed")).raw.abs().max() < 1e-5


@pytest.mark.parametrize("build", [Folded, Volume])
def test_times_the_pixels_it_agrees_with_captum(build):
    model, x = made(build).eval(), torch.rand(2, 3, 5, 14, 12)
    theirs = CaptumInputXGradient(model).attribute(x.clone().requires_grad_(), target=2)
    torch.testing.assert_close(InputXGradient().attribute(model, x, Logit(2)).raw, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", [Gradient, InputXGradient])
def test_costs_one_forward_and_one_backward_pass(method):
    model, x = made(Folded), torch.rand(1, 3, 4, 14, 12)
    with counted_passes(model) as passes:
        method()(model, x, Logit(0))
    price = method().price(4, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1, 1)
