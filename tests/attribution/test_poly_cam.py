"""Poly-CAM: one layer is Score-CAM, two layers against a slow twin, the layers that it finds, prices."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution import PolyCAM, ScoreCAM
from vidence.attribution.poly_cam import between_percentiles, sharpened
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit, Probability, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, Volume, made


def clip(t=4):
    return torch.rand(1, 3, t, 14, 12, generator=torch.Generator().manual_seed(1))


def up(maps, size):
    return F.interpolate(maps[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]


def test_one_layer_is_score_cam_where_both_normalisations_agree():
    """Channels of two values each: the percentiles are the extremes; a ReLU ends the formula."""

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 3)
            scale = torch.tensor([1.0, 2.0, 0.5, 0.3])  # where the clip is white, scale; where it is black, -scale
            self.conv.weight.data = (scale * 2 / 3)[:, None, None, None].expand(4, 3, 1, 1).clone()
            self.conv.bias = nn.Parameter(-scale)

        def forward(self, x):
            maps = self.conv(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).unflatten(0, (len(x), -1))
            return self.out(maps.amax(1).sin())

    torch.manual_seed(0)
    model, x = Steps(), (clip() > 0.7)[:, :1].float().expand(-1, 3, -1, -1, -1)
    found = PolyCAM(layers=1).attribute(model, x, Logit(1)).values
    expected = ScoreCAM(weighting="prob").attribute(model, x, Logit(1)).values
    assert expected.min() < 0 < expected.max()
    torch.testing.assert_close(found, expected.clamp(min=0))


@pytest.mark.parametrize("mode", ["+", "-", "+-"])
@pytest.mark.parametrize("build", [Folded, Volume])
def test_two_layers_equal_the_recursion_written_out(build, mode):
    model, x = made(build).eval(), clip()
    if build is Volume:
        shallow = model.net[:3](x)[0].transpose(0, 1)
        names, deep = ("net.2", "net.4"), model.net(x)[0].transpose(0, 1)
    else:
        frames = x[0].transpose(0, 1)
        shallow, names, deep = model.cnn.one(frames), ("cnn.one", "cnn.three"), None
        inner = model.cnn.relu(model.cnn.norm(model.cnn.two(model.cnn.one(frames).relu())))
        deep = model.cnn.three(inner)
    maps = []
    for values in (shallow.detach(), deep.detach()):
        total = torch.zeros(values[:, 0].shape)
        for k in range(values.shape[1]):
            channel = values[:, k]
            low, high = (torch.quantile(channel.flatten(), q) for q in (0.001, 0.999))
            mask = up(((channel - low) / (high - low).clamp(min=1e-12)).clamp(0, 1), (4, 14, 12))
            p, kept, hidden = (model(part).softmax(1)[0, 1].detach() for part in (x, x * mask, x * (1 - mask)))
            weight = {"+": kept, "-": (p - hidden).relu(), "+-": (kept + p - hidden).relu()}[mode]
            total += weight * channel
        maps.append(total.relu())
    fine, coarse = maps
    local = up(F.adaptive_avg_pool3d(fine[None], coarse.shape)[0], fine.shape)
    expected = (fine / local.clamp(min=1e-12) * up(coarse, fine.shape)).relu()
    found = PolyCAM(layers=names, mode=mode).attribute(model, x, Logit(1))
    for ours, theirs in zip(found.extra["maps"], (coarse, fine), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        found.values[0], expected if len(expected) == 4 else up(expected, (4, *expected.shape[1:]))
    )
    assert found.values.min() >= 0


def test_sharpening_keeps_the_coarse_map_where_the_fine_one_is_flat():
    coarse = torch.rand(2, 3, 3)
    torch.testing.assert_close(sharpened(coarse, torch.full((2, 6, 6), 5.0)), up(coarse, (2, 6, 6)))
    assert sharpened(coarse, torch.zeros(2, 6, 6)).abs().max() == 0


def test_percentiles_clamp_what_lies_outside():
    maps = torch.linspace(0, 1, 2001)[None, None, None]
    found = between_percentiles(maps)
    assert (found.min(), found.max()) == (0, 1)
    torch.testing.assert_close(found[0, 0, 0, 1000], torch.tensor(0.5))
    assert int((found == 0).sum()) == 3  # 0.1 % of 2000 steps, and the end itself


@pytest.mark.parametrize("mode", ["+", "+-"])
def test_a_pass_a_channel_of_each_layer(mode):
    model = made(Volume)  # 4 and 5 channels
    explainer = PolyCAM(mode=mode, channels=4)
    with counted_passes(model) as passes:
        explainer(model, clip(), Logit(0))
    price = explainer.price(4, 14, 12, 5)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1 + 8 * len(mode), 0)


@pytest.mark.parametrize("build", [Folded, Autoencoder])
def test_any_chunk_gives_the_same_map(build):
    model, x = made(build), clip()
    score = SquaredError() if build is Autoencoder else Probability(0)
    torch.testing.assert_close(
        PolyCAM(chunk=1, mode="+-")(model, x, score), PolyCAM(mode="+-")(model, x, score), atol=1e-5, rtol=1e-5
    )


def test_nothing_for_the_score_is_said():
    model = made(Volume)
    found = PolyCAM().attribute(model, clip(), lambda output, x: -output.square().sum(1) - 1)
    assert not found.values.any()
    assert "the map is zero" in found.certificate.flags[0]
    assert "3 of 5" in PolyCAM(channels=3).attribute(model, clip(), Logit(0)).certificate.flags[0]


def test_a_transformer_is_refused():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.attention = nn.Conv3d(3, 4, 2, 2), nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens)[0].mean(1)

    with pytest.raises(ExplainError, match="a transformer has one"):
        PolyCAM()(Attending(), clip(), Logit(0))


@pytest.mark.parametrize("settings", [{"mode": "+/-"}, {"layers": 0}, {"layers": ()}, {"channels": 0}, {"fill": "red"}])
def test_settings_that_do_not_exist_are_refused(settings):
    with pytest.raises(SpecError, match="must be"):
        PolyCAM(**settings)
