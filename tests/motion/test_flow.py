"""Flow and tracks on a picture that is known to move."""

import pytest
import torch
from torch.nn.functional import interpolate

from vidence.errors import ShapeError
from vidence.motion.flow import carried, dense_flow, followed


def moving_square(t=6, size=48, side=12, step=(1, 2)):
    """(3, t, size, size): a textured square that moves by `step` (rows, columns) a frame from (8, 8)."""
    generator = torch.Generator().manual_seed(0)
    texture = interpolate(torch.rand(1, 3, 6, 6, generator=generator), size=(side, side), mode="bicubic")[0].clamp(0, 1)
    x = torch.full((3, t, size, size), 0.4)
    for i in range(t):
        r, c = 8 + step[0] * i, 8 + step[1] * i
        x[:, i, r : r + side, c : c + side] = texture
    return x


def test_flow_is_the_motion_of_the_square():
    flow = dense_flow(moving_square())
    assert flow.shape == (5, 2, 48, 48)
    inside = flow[0, :, 11:17, 11:17].mean(dim=(1, 2))
    torch.testing.assert_close(inside, torch.tensor([1.0, 2.0]), atol=0.35, rtol=0)
    assert float(flow[0, :, 36:, 36:].abs().max()) < 0.05


def test_points_follow_the_square_and_stop_at_the_border():
    tracks = followed(dense_flow(moving_square()), torch.tensor([[14.0, 14.0], [44.0, 44.0]]))
    expected = torch.tensor([[14.0 + i, 14.0 + 2 * i] for i in range(6)])
    assert float((tracks.places[0] - expected).abs().max()) <= 2
    assert torch.equal(tracks.places[1], torch.tensor([[44.0, 44.0]]).expand(6, 2))
    out = followed(torch.full((3, 2, 10, 10), 4.0), torch.tensor([[1.0, 1.0]]), first=1)
    assert out.alive.tolist() == [[False, True, True, True]]
    assert followed(torch.full((3, 2, 10, 10), 4.0), torch.tensor([[3.0, 3.0]])).alive.tolist() == [
        [True, True, False, False]
    ]


def test_labels_go_with_the_square():
    x = moving_square()
    labels = torch.zeros(48, 48, dtype=torch.int64)
    labels[8:20, 8:20] = 1
    found = carried(labels, dense_flow(x.flip(1)).flip(0))
    truth = torch.zeros_like(found)
    for i in range(6):
        truth[i, 8 + i : 20 + i, 8 + 2 * i : 20 + 2 * i] = 1
    overlap = ((found == 1) & (truth == 1)).sum() / ((found == 1) | (truth == 1)).sum()
    assert float(overlap) > 0.7


def test_one_frame_does_not_move():
    assert dense_flow(torch.rand(1, 1, 8, 8)).shape == (0, 2, 8, 8)
    with pytest.raises(ShapeError):
        dense_flow(torch.rand(1, 3, 2, 8, 8))
