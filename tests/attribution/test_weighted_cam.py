"""Grad-CAM++, HiResCAM and LayerCAM against closed forms for pooling and a linear layer, and slow twins."""

import pytest
import torch

from vidence.attribution import CAM, EXPLAINERS, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from vidence.attribution.activation import Activation
from vidence.errors import SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes
from zoo import Folded, Volume, made

ONE_PASS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam", "eigen-grad-cam", "class-feature-pyramids")


def pooled():
    model = made(Volume).eval()
    x = torch.rand(1, 3, 5, 14, 12)
    return model, x, model.net(x)[0].transpose(0, 1).detach()  # A (s, k, h, w)


def test_plus_plus_has_its_closed_form_behind_pooling_and_a_linear_layer():
    model, x, maps = pooled()
    places = maps[:, 0].numel()
    g = model.out.weight[1].detach() / places
    alpha = 1 / (2 + g * maps.sum((0, 2, 3)))  # constant in each channel
    weight = places * alpha * g.clamp(min=0)
    raw = GradCAMPlusPlus().attribute(model, x, Logit(1)).raw[0]  # a 3-D convolution: sums over the clip
    torch.testing.assert_close(raw, weight[:, None, None] * maps)


def test_plus_plus_equals_the_papers_powers_place_by_place_through_a_recurrent_layer():
    model, x = made(Folded).eval(), torch.rand(1, 3, 4, 14, 12)
    maps = model.cnn.maps(x[0].transpose(0, 1)).detach().requires_grad_()
    output = model.out(model.rnn(maps.mean((2, 3))[None])[0][:, -1])
    gradient = torch.autograd.grad(output[0, 2], maps)[0].double()
    values, expected = maps.detach().double(), torch.zeros(4, *maps.shape[2:], dtype=torch.double)
    for i in range(4):
        for k in range(maps.shape[1]):
            weight = 0.0
            for g in gradient[i, k].flatten().tolist():
                if g > 0:
                    weight += g * g**2 / (2 * g**2 + float(values[i, k].sum()) * g**3)
            expected[i] += weight * values[i, k]
    found = GradCAMPlusPlus().attribute(model, x, Logit(2)).values[0]
    torch.testing.assert_close(found, expected.float())


class Late(Volume):
    """Maps of a 3-D convolution of which later cells count more, so that gradients differ along time."""

    def forward(self, x):
        maps = self.net(x)
        return self.out((maps * torch.arange(1.0, maps.shape[2] + 1)[:, None, None]).square().mean((2, 3, 4)))


@pytest.mark.parametrize("explainer", [GradCAM, GradCAMPlusPlus])
def test_a_3d_convolution_has_one_weight_a_channel_and_the_axes_are_the_users_to_choose(explainer):
    model, x = made(Late).eval(), torch.rand(1, 3, 8, 14, 12)
    maps = model.net(x).detach().requires_grad_()
    rest = (maps * torch.arange(1.0, maps.shape[2] + 1)[:, None, None]).square().mean((2, 3, 4))
    g, a = torch.autograd.grad(model.out(rest)[0, 1], maps)[0][0], maps.detach()[0]  # (k, s, h, w)
    for weights, axes in (("auto", (1, 2, 3)), ("shared", (1, 2, 3)), ("frame", (2, 3))):
        alpha = g.mean(axes, keepdim=True)
        if explainer is GradCAMPlusPlus:
            alpha = (g.clamp(min=0) / (2 + g * a.sum(axes, keepdim=True))).sum(axes, keepdim=True)
        raw = explainer(weights=weights).attribute(model, x, Logit(1)).raw[0]
        torch.testing.assert_close(raw, (alpha * a).transpose(0, 1))
    assert alpha.std(dim=1).max() > 1e-4  # cells in time differ, or nothing was asked


def test_plus_plus_survives_a_denominator_of_zero():
    values, gradient = torch.tensor([[[[-1.0, -1.0]]]]), torch.tensor([[[[1.0, 0.5]]]])  # 2 + 1 x (-2) = 0
    raw = GradCAMPlusPlus().weighted(Activation([values], 1, "layer"), gradient)
    torch.testing.assert_close(raw, torch.full_like(raw, -0.5))  # the second place alone: 1 / (2 - 1) x 0.5


def test_hires_is_cam_behind_one_linear_layer():
    model, x, maps = pooled()
    hires, cam = HiResCAM().attribute(model, x, Logit(1)), CAM().attribute(model, x, Logit(1))
    torch.testing.assert_close(hires.values * maps[:, 0].numel(), cam.values)


def test_layer_cam_is_grad_cam_for_weights_that_are_not_negative():
    model, x, _ = pooled()
    positive = LayerCAM().attribute(model, x, Logit(1))
    signed = GradCAM().attribute(model, x, Logit(1))
    kept = model.out.weight[1] >= 0
    assert 0 < kept.sum() < len(kept)
    torch.testing.assert_close(positive.raw[0][:, kept], signed.raw[0][:, kept])
    assert not positive.raw[0][:, ~kept].any()
    model.out.weight.data.abs_()
    torch.testing.assert_close(LayerCAM()(model, x, Logit(1)), GradCAM()(model, x, Logit(1)))


@pytest.mark.parametrize("explainer", [HiResCAM(layer="cnn.one"), LayerCAM(layer="cnn.one")])
def test_a_shallow_layer_is_weighted_place_by_place(explainer):
    model, x = made(Folded).eval(), torch.rand(1, 3, 4, 14, 12)
    frames = model.cnn.one(x[0].transpose(0, 1)).detach().requires_grad_()
    rest = model.cnn.relu(model.cnn.three(model.cnn.relu(model.cnn.norm(model.cnn.two(frames.relu())))))
    output = model.out(model.rnn(rest.mean((2, 3))[None])[0][:, -1])
    gradient = torch.autograd.grad(output[0, 0], frames)[0]
    gradient = gradient.clamp(min=0) if isinstance(explainer, LayerCAM) else gradient
    found = explainer.attribute(model, x, Logit(0))
    torch.testing.assert_close(found.values[0], (gradient * frames.detach()).sum(1))
    assert found.layer == "cnn.one"


@pytest.mark.parametrize("key", ONE_PASS)
def test_one_pass_forward_and_one_back(key):
    model, x = made(Folded), torch.rand(1, 3, 4, 14, 12)
    explainer = EXPLAINERS[key]()
    with counted_passes(model) as passes:
        explainer(model, x, Logit(0))
    price = explainer.price(4, 14, 12, 5)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1, 1)


def test_a_score_that_does_not_reach_the_layer_is_said():
    model, x, _ = pooled()
    found = LayerCAM().attribute(model, x, lambda output, x: output.detach()[:, 0])
    assert "does not depend on net.3" in found.certificate.flags[0]


def test_an_unknown_weighting_is_refused():
    with pytest.raises(SpecError, match="'frame' or 'shared'"):
        GradCAMPlusPlus(weights="clip")
