"""Saliency against the linear model and captum."""

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from vidence.attribution import Gradient
from vidence.errors import ShapeError, SpecError
from vidence.scoring.scores import Logit


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
