"""What hiding frames says of a map, and when it says nothing."""

import pytest
import torch
from torch import nn

from vidence.attribution import GradCAM, IntegratedGradients, Occlusion
from vidence.attribution.certifying import deletion_agreement, relative_gap
from vidence.scoring.scores import Logit
from zoo import Volume, made


class Weighted(nn.Module):
    """An offset and the brightness of each frame times a weight of its own."""

    def __init__(self, offset, scale):
        super().__init__()
        self.offset, self.scale = offset, scale

    def forward(self, x):
        weights = self.scale * torch.tensor([0.0, 3.0, 1.0, -2.0])
        return (self.offset + x.mean((1, 3, 4)) @ weights)[:, None]


def measured(offset, scale, by_frame):
    x = torch.zeros(1, 3, 4, 2, 2)
    x[:, :, 1], x[:, :, 2], x[:, :, 3] = 1.0, 0.5, 0.25
    # each pixel's lower median over time is .25: what hiding takes is 0 - .25 * 0, 3 * .75, 1 * .25, 0
    return deletion_agreement(Weighted(offset, scale), x, Logit(0), torch.tensor(by_frame)[None, :, None, None])


def test_losses_are_compared_with_the_score_not_with_one_another():
    weights = [0.0, 9.0, 2.0, 1.0]
    rank, same = measured(0.0, 1.0, weights)
    assert rank > 0.9
    assert same
    assert measured(10.0, 1e-5, weights) == (None, None)
    assert measured(-10.0, 1e-5, weights) == (None, None)
    assert measured(10.0, 1.0, weights) == (rank, True)


def test_a_map_that_is_wrong_is_told_so():
    rank, same = measured(1.0, 1.0, [9.0, -1.0, 0.0, 1.0])
    assert rank < 0
    assert same is False


def test_an_image_has_no_frames_to_compare():
    x = torch.rand(1, 3, 1, 2, 2)
    assert deletion_agreement(nn.Identity(), x, Logit(0), torch.zeros(1, 1, 1, 1)) == (None, None)


@pytest.mark.parametrize("change", [2.0, -2.0])
def test_a_gap_is_above_0_where_the_map_falls_short_whatever_the_sign_of_the_change(change):
    assert relative_gap(change - 0.9 * change, change, 1.0) == pytest.approx(0.1)
    assert relative_gap(change - 1.1 * change, change, 1.0) == pytest.approx(-0.1)


def test_a_gap_of_a_change_that_is_lost_in_float32_is_small():
    assert relative_gap(1e-6, 1e-9, 10.0) == pytest.approx(1e-3)
    assert relative_gap(1e-6, -1e-9, 10.0) == pytest.approx(-1e-3)
    assert relative_gap(0.0, 0.0, 0.0) == 0


class Curved(nn.Module):
    """A score whose path integral one node overrates or underrates: brightness to a power."""

    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, x):
        return x.mean((1, 2, 3, 4))[:, None] ** self.power


@pytest.mark.parametrize(("power", "sign"), [(3, 1), (1.5, -1)])
def test_what_a_path_misses_is_signed(power, sign):
    """One midpoint node of x^p from 0 to 1 gives p / 2^(p - 1) of 1."""
    x = torch.ones(1, 3, 4, 2, 2)
    found = IntegratedGradients(steps=1, limit=1, baseline="black").attribute(Curved(power), x, Logit(0))
    assert found.certificate.gap == pytest.approx(1 - power / 2 ** (power - 1), abs=1e-5)
    assert float(found.gap) == pytest.approx(found.certificate.gap, abs=1e-5)
    assert found.certificate.gap * sign > 0
    assert "misses" in found.certificate.flags[0]
    assert "-" not in found.certificate.flags[0]


class OneByOne(Volume):
    """A model that takes one clip at a time."""

    def forward(self, x):
        assert len(x) == 1, "one clip, please"
        return super().forward(x)


@pytest.mark.parametrize("explainer", [GradCAM(), Occlusion(chunk=1), IntegratedGradients(chunk=1)])
def test_a_model_that_takes_one_clip_at_a_time_is_certified_as_one_that_takes_several(explainer):
    several, one, x = made(Volume), OneByOne(), torch.rand(1, 3, 4, 14, 12) ** 8
    one.load_state_dict(several.state_dict())
    found, meant = (explainer.attribute(model, x, Logit(0)).certificate for model in (one, several))
    assert found.deletion_rank is not None
    assert (found.deletion_rank, found.same_top_frame) == (meant.deletion_rank, meant.same_top_frame)


def test_frames_are_hidden_in_passes_of_the_explainers_chunk():
    model, x = made(Volume), torch.rand(1, 3, 5, 14, 12)
    rows = []
    model.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    IntegratedGradients(steps=2, limit=2, chunk=2).attribute(model, x, Logit(0))
    assert max(rows) == 2
