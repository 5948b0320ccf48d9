"""Eigen-CAM and EigenGrad-CAM: rank one, the plain decomposition, the sign, and one decomposition a clip."""

import pytest
import torch
from torch import nn

from vidence.attribution import EigenCAM, EigenGradCAM
from vidence.attribution.eigen_cam import first_component
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import Folded, Volume, made


@pytest.mark.parametrize("k", [8, 60])  # fewer channels than places, and more
def test_a_map_that_all_channels_share_is_recovered_up_to_scale_and_offset(k):
    shared, strength = torch.rand(2, 1, 4, 5), torch.rand(1, k, 1, 1)
    found = first_component(shared * strength)
    assert torch.corrcoef(torch.stack([found.flatten(), shared.flatten()]))[0, 1].abs() > 1 - 1e-5


@pytest.mark.parametrize("k", [7, 80])
def test_equals_the_projection_on_the_first_singular_vector(k):
    values = torch.randn(3, k, 4, 5)
    places = values.permute(0, 2, 3, 1).reshape(-1, k)
    centred = places - places.mean(0)
    expected = (centred @ torch.linalg.svd(centred, full_matrices=False)[2][0]).reshape(3, 4, 5)
    expected = expected * (1 if expected.max() > -expected.min() else -1)
    torch.testing.assert_close(first_component(values), expected, atol=1e-4, rtol=1e-4)


def test_the_largest_value_is_positive_and_nothing_is_nothing():
    values = torch.randn(2, 5, 3, 3)
    for each in (values, -values):
        found = first_component(each)
        assert found.max() > -found.min()
    assert not first_component(torch.ones(2, 5, 3, 3)).any()


def test_frames_are_decomposed_together():
    """A frame that varies less than the others stays small: one decomposition each would scale all alike."""
    values = torch.rand(1, 4, 5, 5).repeat(3, 1, 1, 1)
    values[1] = values[1] * 0.01 + values[0].mean((1, 2), keepdim=True)
    found = first_component(values)
    torch.testing.assert_close(found[0], found[2])
    assert found[1].std() < 0.05 * found[0].std()


@pytest.mark.parametrize("build", [Folded, Volume])
def test_eigen_cam_asks_nothing_of_the_score_and_says_so(build):
    model, x = made(build), torch.rand(1, 3, 5, 14, 12)
    with counted_passes(model) as passes:
        found = EigenCAM().attribute(model, x, Logit(0), certify=False)
    price = EigenCAM().price(5, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1, 0)
    assert torch.equal(found.values, EigenCAM().attribute(model, x, Logit(2)).values)
    assert "same for every score" in found.certificate.flags[0]


def test_eigen_grad_cam_decomposes_gradient_times_activation():
    model, x = made(Volume).eval(), torch.rand(1, 3, 5, 14, 12)
    maps = model.net(x)[0].transpose(0, 1).detach()
    expected = first_component(model.out.weight[1][:, None, None].detach() * maps / maps[:, 0].numel())
    found = EigenGradCAM().attribute(model, x, Logit(1))
    torch.testing.assert_close(first_component(found.raw[0]), expected)
    assert found.values.shape == (1, 5, 7, 6)


class Against(nn.Module):
    """Whatever is bright speaks against both classes."""

    def __init__(self):
        super().__init__()
        self.one, self.out = nn.Conv2d(3, 1, 1), nn.Linear(1, 2)
        nn.init.constant_(self.one.weight, 1 / 3)
        nn.init.zeros_(self.one.bias)
        nn.init.constant_(self.out.weight, -1.0)

    def forward(self, x):
        maps = self.one(x.transpose(1, 2).flatten(0, 1)).relu()
        return self.out(maps.mean((1, 2, 3)).reshape(len(x), -1).mean(1, keepdim=True))


def test_evidence_against_the_score_is_negative():
    x = torch.zeros(1, 3, 4, 16, 16)
    x[:, :, 2, 4:8, 4:8] = 1
    values = EigenGradCAM().attribute(Against(), x, Logit(0), certify=False).values
    assert values.flatten().argmin() in (x[:, 0] > 0).flatten().nonzero()
    assert -values.min() > 10 * values.max()
