"""What hiding frames says of a map, and when it says nothing."""

import torch
from torch import nn

from vidence.attribution.certifying import deletion_agreement
from vidence.scoring.scores import Logit


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
