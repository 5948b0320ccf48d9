"""Fast-CAM: the SMOE scale's closed form, quantiles, equal weights over layers, and the optional multiplication."""

import pytest
import torch
import torch.nn.functional as F

from vidence.attribution import FastCAM, GradCAM, GradCAMPlusPlus
from vidence.attribution.cam import THROUGH_TIME
from vidence.attribution.fast_cam import as_quantile, smoe_scale
from vidence.errors import SpecError
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, Volume, made


def clip(t=4):
    return torch.rand(1, 3, t, 14, 12, generator=torch.Generator().manual_seed(1))


def test_the_scale_is_never_negative_and_zero_for_equal_channels():
    values = torch.rand(3, 8, 4, 5)
    found = smoe_scale(values)
    assert found.min() > 0
    channels = values[1, :, 2, 3].double()
    expected = channels.mean() * (channels.mean().log2() - channels.log2().mean())
    torch.testing.assert_close(found[1, 2, 3].double(), expected, atol=1e-5, rtol=1e-4)
    flat = smoe_scale(torch.rand(3, 1, 4, 5).expand(3, 8, 4, 5))
    assert flat.abs().max() < 1e-5
    assert torch.equal(smoe_scale(values - 0.5), smoe_scale((values - 0.5).clamp(min=0)))


def test_quantiles_are_those_of_a_normal_clip():
    maps = torch.randn(4, 50, 50) * 3 + 7
    found = as_quantile(maps)
    for value in (0.1, 0.5, 0.9):
        assert abs(float((found < value).float().mean()) - value) < 0.02
    torch.testing.assert_close(as_quantile(torch.zeros(2, 3, 3)), torch.full((2, 3, 3), 0.5))


def test_layers_have_equal_weights_on_the_finest_grid():
    model, x = made(Volume).eval(), clip()
    shallow, deep = model.net[:3](x)[0].transpose(0, 1), model.net(x)[0].transpose(0, 1)
    maps = [as_quantile(smoe_scale(part.detach())) for part in (shallow, deep)]
    coarse = F.interpolate(maps[1][None, None], size=maps[0].shape, mode="trilinear", align_corners=False)[0, 0]
    found = FastCAM().attribute(model, x, Logit(0))
    torch.testing.assert_close(found.values[0], (maps[0] + coarse) / 2)
    assert found.layer == "net.0, net.3"
    alone = FastCAM(layers=1).attribute(model, x, Logit(0))
    torch.testing.assert_close(alone.extra["maps"][0], maps[1])
    torch.testing.assert_close(FastCAM(layers=("net.2", "net.4"))(model, x, Logit(0)), FastCAM()(model, x, Logit(0)))


@pytest.mark.parametrize(("key", "other"), [("grad-cam", GradCAM()), ("grad-cam++", GradCAMPlusPlus())])
def test_weighted_it_is_a_product_that_follows_the_score(key, other):
    model, x = made(Folded), clip()
    alone, weight = FastCAM().attribute(model, x, Logit(1)).values, other.attribute(model, x, Logit(1)).values
    found = FastCAM(weighted_by=key).attribute(model, x, Logit(1))
    torch.testing.assert_close(found.values, alone * weight)  # one stride, one grid
    assert found.certificate.flags == (THROUGH_TIME,)
    assert not torch.allclose(found.values, FastCAM(weighted_by=key).attribute(model, x, Logit(0)).values)


def test_alone_it_is_the_same_for_every_score_and_says_so():
    for model, scores in (
        (made(Folded), (Logit(0), Logit(1))),
        (made(Autoencoder), (SquaredError(), SquaredError(frame=2))),
    ):
        one, other = (FastCAM().attribute(model, clip(), score) for score in scores)
        assert torch.equal(one.values, other.values)
        assert "same for every score" in one.certificate.flags[0]
        assert 0 < one.values.min() < one.values.max() < 1
    assert one.layer == "encoder.0"  # nothing of the decoder


@pytest.mark.parametrize("explainer", [FastCAM(), FastCAM(weighted_by="grad-cam")])
def test_the_price(explainer):
    model = made(Folded)
    with counted_passes(model) as passes:
        explainer(model, clip(), Logit(0))
    price = explainer.price(4, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


@pytest.mark.parametrize("settings", [{"layers": 0}, {"layers": ()}, {"weighted_by": "cam"}])
def test_settings_that_do_not_exist_are_refused(settings):
    with pytest.raises(SpecError, match="must be"):
        FastCAM(**settings)
