"""Masks over time: what freezing and reversing show, and that the frames of the event are found."""

import pytest
import torch
from torch import nn

from vidence.attribution import TemporalMask
from vidence.attribution.perturb.temporal_mask import frozen_frames, reversed_spans
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Output
from vidence.testing import counted_passes


class Motion(nn.Module):
    """How much brighter each frame is than the one before; `signed`: getting darker counts against it."""

    def __init__(self, signed=False):
        super().__init__()
        self.signed = signed

    def forward(self, x):
        change = x.mean(dim=(1, 3, 4)).diff(dim=1)
        return (change if self.signed else change.abs()).clamp(min=0).sum(dim=1, keepdim=True)


def flash(t=10):
    x = torch.full((1, 3, t, 4, 4), 0.2)
    x[:, :, 5:7] = 0.9
    return x


def test_a_frozen_frame_shows_the_last_one_that_is_kept():
    mask = torch.rand(2, 6)
    mask[1] = torch.tensor([1.0, 0, 1, 1, 0, 1])
    x, shown = torch.rand(6), []
    weights = frozen_frames(mask)
    for row in mask:
        seen = [x[0]]
        for i in range(1, 6):
            seen.append((1 - row[i]) * x[i] + row[i] * seen[-1])
        shown.append(torch.stack(seen))
    assert torch.allclose(weights @ x, torch.stack(shown), atol=1e-6)
    assert weights[1].argmax(dim=1).tolist() == [0, 1, 1, 1, 4, 4]


def test_spans_are_played_backwards_each_by_itself():
    inside = torch.tensor([[1, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    assert reversed_spans(inside).tolist() == [[2, 1, 0, 3, 4, 6, 5], [0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]]


def test_freezing_finds_the_frames_of_a_flash():
    found = TemporalMask(iterations=60).attribute(Motion(), flash(), Output(), certify=False)
    assert found.values.shape == (1, 10, 1, 1)
    assert (found.extra["mask"][0] > 0.5).nonzero().flatten().tolist() == [5, 6]
    assert found.values.sum() == pytest.approx(1.4, rel=0.05)  # the whole score is lost: up by 0.7 and down again


class Late(nn.Module):
    """Brightness counts the more, the later it comes."""

    def forward(self, x):
        light = x.mean(dim=(1, 3, 4))
        return (light * torch.arange(light.shape[1])).sum(dim=1, keepdim=True)


def test_reversing_finds_where_the_order_counts():
    x = torch.full((1, 3, 10, 4, 4), 0.2)
    x[:, :, 5:] = 0.9
    found = TemporalMask("reverse", iterations=60).attribute(Late(), x, Output(), certify=False)
    assert (found.extra["mask"][0, 4:6] > 0.1).all()  # spans that do not reach over the step change nothing
    assert found.values.sum() > 0.5 * (Late()(x) - Late()(x.flip(2)))


def test_an_order_that_does_not_count_is_flagged():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=(1, 2, 3, 4))[:, None]

    found = TemporalMask("reverse", iterations=3).attribute(Mean(), torch.rand(1, 3, 8, 4, 4), Output())
    assert "no window lowers the score" in found.certificate.flags[0]


def test_the_price_is_what_is_counted():
    explainer, model = TemporalMask(iterations=6), Motion()
    with counted_passes(model) as passes:
        explainer(model, flash(), Output())
    price = explainer.price(10, 4, 4)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)
    assert price.gradients == 6


def test_an_image_has_no_time():
    with pytest.raises(ExplainError, match="at least two frames"):
        TemporalMask()(Motion(), torch.rand(1, 3, 1, 4, 4), Output())


def test_settings_without_sense_are_refused():
    for settings in ({"perturb": "shuffle"}, {"iterations": 0}, {"l1": -1}):
        with pytest.raises(SpecError):
            TemporalMask(**settings)
