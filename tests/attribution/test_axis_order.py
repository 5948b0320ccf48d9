"""Clips in another axis order than ours, on models that take them without a word."""

import pytest
import torch
from einops import rearrange
from torch import nn

from vidence.attribution import Gradient
from vidence.errors import ExplainError
from vidence.models.adapted import Adapted
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes


class Taking(nn.Module):
    """A 2-D network over frames of so many channels, then a GRU; clips in the order `layout`."""

    def __init__(self, layout, channels=3):
        super().__init__()
        self.layout, self.first = layout, nn.Conv2d(channels, 8, 3)
        self.second, self.rnn = nn.Conv2d(8, 4, 1), nn.GRU(4, 2, batch_first=True)

    def forward(self, x):
        maps = self.second(self.first(rearrange(x, f"{self.layout} -> (n t) c h w")).relu())
        return self.rnn(maps.mean((2, 3)).unflatten(0, (len(x), -1)))[0][:, -1]


def explained(model, *shape):
    return Gradient().attribute(model.eval(), torch.rand(shape), Logit(0), certify=False)


@pytest.mark.parametrize("layout", ["n t c h w", "n t h w c"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_clip_in_the_models_own_order_is_refused_with_what_to_do(layout, channels):
    model, x = Taking(layout, channels), torch.rand(2, channels, 8, 9, 10)
    own = rearrange(x, f"n c t h w -> {layout}")
    with pytest.raises(ExplainError, match=f"was given {channels}.*layout='{layout}'"):
        Gradient().attribute(model, own, Logit(0))
    told = Gradient().attribute(Adapted(model, layout=layout), rearrange(own, f"{layout} -> n c t h w"), Logit(0))
    assert told.values.shape == (2, 8, 9, 10)


@pytest.mark.parametrize("channels", [2, 4, 8, 10])
@pytest.mark.parametrize("t", [1, 3, 5])
def test_flow_depth_and_stacked_channels_are_clips(channels, t):
    assert explained(Taking("n c t h w", channels), 1, channels, t, 9, 3).values.shape[1] == t


def test_who_says_the_order_is_believed():
    assert explained(Adapted(Taking("n t c h w")), 1, 8, 3, 9, 10).values.shape[1] == 3


def test_a_model_that_chooses_its_channels_is_no_reason():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Taking("n c t h w", 2)

        def forward(self, x):
            return self.inner(x[:, :2])

    assert explained(Choosing(), 1, 8, 3, 9, 10).values.shape[1] == 3


@pytest.mark.parametrize(("shape", "passes"), [((1, 3, 3, 9, 9), 1), ((1, 4, 5, 9, 9), 1), ((1, 4, 3, 9, 9), 2)])
def test_only_doubtful_clips_cost_a_pass(shape, passes):
    model = Taking("n c t h w", shape[1]).eval()
    with counted_passes(model) as counted:
        explained(model, *shape)
    assert counted.forwards == passes
