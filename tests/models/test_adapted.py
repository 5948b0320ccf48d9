"""A user's conventions behind ours."""

from collections import namedtuple

import pytest
import torch
from einops import rearrange
from torch import nn

from vidence.errors import ShapeError, SpecError
from vidence.models.adapted import Adapted, Reconstructs
from vidence.models.one_class import OneClass, embedding
from vidence.models.reconstruction import coloured
from vidence.pipeline import explain


class Echo(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize("layout", ["n t c h w", "n h w t c", "n c t h w", "(n t) c h w", "t n c w h"])
def test_axes_are_put_in_the_models_order(layout):
    x = torch.rand(2, 3, 4, 5, 6)
    assert torch.equal(Adapted(Echo(), layout=layout)(x), rearrange(x, f"n c t h w -> {layout}"))


def test_an_image_model_gets_images_and_refuses_clips():
    adapted = Adapted(Echo(), layout="n h w c")
    assert adapted(torch.rand(2, 3, 1, 5, 6)).shape == (2, 5, 6, 3)
    with pytest.raises(ShapeError, match="no axis t"):
        adapted(torch.rand(2, 3, 4, 5, 6))


def test_value_range_and_normalisation():
    x = torch.rand(1, 3, 2, 4, 4)
    torch.testing.assert_close(Adapted(Echo(), std=1 / 255)(x), x * 255)
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    y = Adapted(Echo(), mean=mean, std=std)(x)
    torch.testing.assert_close(y[0, 2], (x[0, 2] - 0.6) / 0.3)


class Answer(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, *, clip):
        return self.make(clip.mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("make", "pick"),
    [
        (lambda y: {"logits": y}, "logits"),
        (lambda y: (0, y), 1),
        (lambda y: namedtuple("Out", "a b")(0, y), "b"),
        (lambda y: [y - 1], lambda out: out[0] + 1),
    ],
)
def test_picks_the_part_that_is_scored_and_passes_a_keyword(make, pick):
    x = torch.rand(2, 3, 2, 4, 4)
    torch.testing.assert_close(Adapted(Answer(make), keyword="clip", pick=pick)(x), x.mean((2, 3, 4)))


def test_what_does_not_fit_is_said():
    with pytest.raises(ShapeError, match="no part 'logits'"):
        Adapted(Answer(lambda y: {"scores": y}), keyword="clip", pick="logits")(torch.rand(1, 3, 1, 4, 4))
    for layout in ("n t c", "n t c h w x", "n n h w"):
        with pytest.raises(SpecError, match="layout"):
            Adapted(Echo(), layout=layout)
    with pytest.raises(SpecError, match="std"):
        Adapted(Echo(), std=[1.0, 0.0, 1.0])


def test_nothing_of_ours_is_in_the_state_dict():
    assert list(Adapted(nn.Linear(2, 2)).state_dict()) == ["model.weight", "model.bias"]


class OwnAutoencoder(nn.Module):
    """Frame by frame on gray or colour in 0..255, answers in the same range; its encoder is called `down`."""

    def __init__(self, channels):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(channels, 4, 4, 4), nn.ReLU())
        self.up = nn.ConvTranspose2d(4, channels, 4, 4)

    def forward(self, frames):
        return {"picture": 255 * self.up(self.down(frames / 255)).sigmoid()}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_users_autoencoder_is_one_of_ours(channels):
    torch.manual_seed(0)
    own = OwnAutoencoder(channels)
    network = Reconstructs(own, std=1 / 255, layout="(n t) c h w", pick="picture", channels=channels, encoder="down")
    x = torch.rand(2, 3, 3, 8, 12)
    seen = coloured(x, channels)
    output = network(x)
    for i in range(2):
        for t in range(3):
            by_hand = own(255 * seen[i, None, :, t])["picture"][0] / 255
            torch.testing.assert_close(output.x_hat[i, :, t], by_hand)
    assert embedding(network).embed(x).shape == (2, 3, 4 * 2 * 3)
    found = explain(network, x)
    torch.testing.assert_close(found.values.sum(dim=(1, 2, 3)), (seen - output.x_hat).square().sum(dim=(1, 2, 3, 4)))
    assert explain(network, x, explainer="grad-cam").layer == "adapted.model.down.1"
    one_class = OneClass(network, 24)
    assert one_class(x).distance.shape == (2, 3)


def test_a_users_predictor_says_which_frames_it_speaks_of():
    class Still(nn.Module):
        def forward(self, x):
            return x[:, :-2]

    x = torch.rand(1, 3, 5, 4, 4)
    network = Reconstructs(Still(), layout="n t h w c", first_frame=2)
    assert network(x).first_frame == 2
    assert torch.equal(network(x).x_hat, x[:, :, :3])
    with pytest.raises(SpecError, match="encoder"):
        embedding(network)
    with pytest.raises(SpecError, match="codes need an encoder"):
        network.embed(x)


def test_answers_that_are_no_pictures_of_the_clip_are_refused():
    x = torch.rand(2, 3, 2, 4, 4)
    with pytest.raises(ShapeError, match="clip's size"):
        Reconstructs(nn.AvgPool2d(2), layout="(n t) c h w")(x)
    with pytest.raises(ShapeError, match="must answer in the layout"):
        Reconstructs(nn.Flatten(), layout="(n t) c h w")(x)
    with pytest.raises(ShapeError, match="from frame 1 on"):
        Reconstructs(Echo(), first_frame=1)(x)
    with pytest.raises(SpecError, match="submodule"):
        Reconstructs(OwnAutoencoder(3), encoder="middle")
