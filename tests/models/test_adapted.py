"""A user's conventions behind ours."""

from collections import namedtuple

import pytest
import torch
from einops import rearrange
from torch import nn

from vidence.errors import ShapeError, SpecError
from vidence.models.adapted import Adapted


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
