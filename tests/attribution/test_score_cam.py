"""Score-CAM: a channel that is the evidence, slow twins of each weighting, budgets and prices."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution import ScoreCAM
from vidence.attribution.activation import on_grid
from vidence.attribution.score_cam import as_probability, between_extremes, most_varied
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Contrast, Logit, Probability, SquaredError, pinned
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, Volume, made


def clip(t=4):
    return torch.rand(1, 3, t, 14, 12, generator=torch.Generator().manual_seed(1))


class Colours(nn.Module):
    """One convolution that hands on red, green and blue; the logit is the mean red."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.conv.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x):
        maps = self.conv(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1))  # (n, t, k, h, w)
        return torch.stack([maps[:, :, 0].mean((1, 2, 3)), maps[:, :, 1].mean((1, 2, 3))], 1)


def channels_of(model, x):
    """A (s, k, h, w) of the last convolution with its ReLU."""
    maps = model.net(x)[0].transpose(0, 1) if isinstance(model, Volume) else model.cnn.maps(x[0].transpose(0, 1))
    return maps.detach()


def test_the_channel_that_is_the_evidence_is_the_map():
    x = torch.zeros(1, 3, 4, 8, 8)
    x[0, 0, 1:3, 2:4, 2:4] = 0.5
    x[0, 0, 2, 2, 2] = 1.0
    x[0, 1, :, 5:7, 5:7] = 0.8  # green elsewhere, which the score does not see
    found = ScoreCAM().attribute(Colours(), x, Logit(0))
    strength = (x[0, 0] ** 2).mean()  # the mask is red itself
    torch.testing.assert_close(found.values[0], strength * x[0, 0])
    assert not found.raw[0][:, 1:].any()


@pytest.mark.parametrize("build", [Folded, Volume])
@pytest.mark.parametrize("weighting", ["increase", "softmax", "prob"])
def test_equals_one_mask_after_the_other(build, weighting):
    model, x, expected = made(build).eval(), clip(), 0
    maps, weights = channels_of(model, x), []
    with torch.no_grad():
        for k in range(maps.shape[1]):
            mask = F.interpolate(maps[None, None, :, k], size=(4, 14, 12), mode="trilinear", align_corners=False)[0, 0]
            mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else mask * 0
            logits = model(x * mask)[0]
            if weighting == "increase":
                weights.append(logits[1] - model(x * 0)[0, 1])
            elif weighting == "prob":
                weights.append(logits.softmax(0)[1] * (mask.max() > 0))
            else:
                weights.append(logits[1])
    weights = torch.stack(weights).softmax(0) if weighting == "softmax" else torch.stack(weights)
    expected = (weights[:, None, None] * maps).sum(1)
    found = ScoreCAM(weighting=weighting).attribute(model, x, Logit(1))
    torch.testing.assert_close(found.raw[0].sum(1), expected)
    assert found.certificate.flags == ()


def test_of_an_autoencoder_a_channels_places_are_hidden_by_the_reconstruction():
    model, x, score = made(Autoencoder).eval(), clip(), SquaredError(mode="fixed")
    output = model(x)
    held, back = pinned(score, output, x), output.x_hat.detach()
    frames = model.encoder[:3](x[0].transpose(0, 1)).detach()  # the last layer with places
    weights = []
    with torch.no_grad():
        for k in range(frames.shape[1]):
            mask = between_extremes(on_grid(frames[None, :, k], (4, 14, 12)))[:, None]
            row = x * (1 - mask) + back * mask
            weights.append(held(output, x) - held(model(row), row))
    expected = (torch.cat(weights)[:, None, None] * frames).sum(1)
    torch.testing.assert_close(ScoreCAM().attribute(model, x, score).values[0], expected)


def test_hiding_what_an_autoencoder_cannot_draw_is_evidence():
    """Places whose error the mask takes away have a positive weight, whatever the sign of the error."""
    model = made(Autoencoder).eval()
    found = ScoreCAM().attribute(model, clip(), SquaredError())
    weight = found.raw[0].sum((0, 2, 3)) / model.encoder[:3](clip()[0].transpose(0, 1)).sum((0, 2, 3))
    assert (weight > 0).all()  # the reconstruction of an untrained network is wrong everywhere


@pytest.mark.parametrize("build", [Folded, Volume, Autoencoder])
def test_any_chunk_gives_the_same_map(build):
    model, x = made(build), clip()
    score = SquaredError() if build is Autoencoder else Logit(0)
    whole = ScoreCAM()(model, x, score)
    for chunk in (1, 2):
        torch.testing.assert_close(ScoreCAM(chunk=chunk)(model, x, score), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("explainer", [ScoreCAM(), ScoreCAM(channels=3), ScoreCAM(weighting="prob", channels=None)])
def test_a_pass_a_channel(explainer):
    model = made(Volume)
    with counted_passes(model) as passes:
        explainer(model, clip(), Logit(0))
    price = explainer.price(4, 14, 12, 5)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


def test_the_channels_that_vary_most_are_tried():
    model, x = made(Volume).eval(), clip()
    maps = channels_of(model, x)
    best = sorted(maps.transpose(0, 1).flatten(1).var(1).topk(2).indices.tolist())
    found = ScoreCAM(channels=2).attribute(model, x, Logit(0))
    assert found.extra["channels"].tolist() == [best]
    assert best == most_varied(maps, 2).tolist()
    assert "2 of 5 channels" in found.certificate.flags[0]
    torch.testing.assert_close(found.raw, ScoreCAM(channels=None).attribute(model, x, Logit(0)).raw[:, :, best])


def test_a_constant_channel_says_nothing():
    maps = torch.stack([torch.full((2, 3, 3), 4.0), torch.rand(2, 3, 3)])
    found = between_extremes(maps)
    assert not found[0].any()
    assert (found[1].min(), found[1].max()) == (0, 1)


def test_a_fill_is_seen_instead_of_black():
    model, x = made(Folded), clip()
    black, gray = (ScoreCAM(fill=fill)(model, x, Logit(0)) for fill in (0.0, "mean"))
    torch.testing.assert_close(black, ScoreCAM()(model, x, Logit(0)))
    assert not torch.allclose(black, gray)


def test_the_probability_is_that_of_the_pinned_class_and_of_the_clip_in_its_batch():
    x, logits = torch.rand(2, 3, 1, 2, 2), torch.tensor([[1.0, 3.0], [2.0, 0.0]])
    held = pinned(Logit(), logits, x)
    torch.testing.assert_close(as_probability(held)(logits, x), logits.softmax(1).amax(1))
    assert as_probability(Logit(1)) == Probability(1)
    other = pinned(Contrast(0), logits, x)
    torch.testing.assert_close(as_probability(other)(logits, x), other(logits, x))
    model, clips = made(Folded).eval(), torch.rand(2, 3, 4, 14, 12)
    score = pinned(Logit(), model(clips), clips)
    classes = model(clips).argmax(1).tolist()
    each = [ScoreCAM(weighting="prob")(model, clips[i : i + 1], Logit(c)) for i, c in enumerate(classes)]
    torch.testing.assert_close(ScoreCAM(weighting="prob")(model, clips, score), torch.cat(each))


def test_what_cannot_be_is_refused():
    with pytest.raises(ExplainError, match="weighting='increase' here"):
        ScoreCAM(weighting="softmax")(made(Autoencoder), clip(), SquaredError())
    for settings in ({"weighting": "mean"}, {"channels": 0}, {"fill": "noise"}):
        with pytest.raises(SpecError, match="must be"):
            ScoreCAM(**settings)
