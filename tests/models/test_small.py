"""The small backbone: its geometry, and that it learns fast."""

import pytest
import torch

from vidence.errors import ShapeError
from vidence.models.small import Small


def test_a_cell_sees_37_pixels_and_the_next_one_starts_8_further() -> None:
    small = Small().eval()
    for module in small.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.ones_(module.weight)  # so that nothing cancels
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    maps = small(x)
    assert maps.shape == (1, 64, 12, 12)
    spans = []
    for cell in (5, 6):
        (gradient,) = torch.autograd.grad(maps[0, :, cell, cell].sum(), x, retain_graph=True)
        rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
        spans.append((int(rows.min()), int(rows.max())))
    assert spans[0][1] - spans[0][0] + 1 == 37
    assert spans[1][0] - spans[0][0] == 8


def test_sides_are_rounded_up() -> None:
    assert Small().eval()(torch.rand(2, 3, 33, 65)).shape == (2, 64, 5, 9)


def test_it_has_four_convolutions_and_learns_a_squares_colour() -> None:
    torch.manual_seed(0)
    small = Small()
    assert sum(isinstance(module, torch.nn.Conv2d) for module in small.modules()) == 4
    read = torch.nn.Linear(64, 2)
    x, label = torch.zeros(32, 3, 48, 48), torch.arange(32) % 2
    for picture, colour in zip(x, label, strict=True):
        picture[:] = torch.rand(3, 1, 1)
        picture[int(colour), 20:30, 20:30] = 1.0  # red or green
    optimiser = torch.optim.Adam([*small.parameters(), *read.parameters()], 1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(read(small(x).mean(dim=(2, 3))), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ShapeError, match="small backbone takes float RGB"):
        Small()(torch.rand(2, 4, 32, 32))
