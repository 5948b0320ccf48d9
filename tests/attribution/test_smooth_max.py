"""The mask generator against its definition, one pixel at a time."""

import torch

from vidence.attribution.perturb.smooth_max import SmoothMax


def slow(maker, values, pixel):
    """m(u) from the formula: every cell of the window, cells outside the grid are 0."""
    around = 1 + -(-maker.sigma // maker.step)
    centre = [place // maker.step for place in pixel]
    seen = []
    for i in range(int(centre[0] - around), int(centre[0] + around) + 1):
        for j in range(int(centre[1] - around), int(centre[1] + around) + 1):
            inside = 0 <= i < values.shape[0] and 0 <= j < values.shape[1]
            at = [(cell + 0.5) * maker.step - 0.5 for cell in (i, j)]
            far = sum((one - other) ** 2 for one, other in zip(at, pixel, strict=True)) ** 0.5 / maker.sigma
            bump = torch.exp(torch.tensor(-2 * max(far - 0.5, 0) ** 2, dtype=torch.float64))
            seen.append(bump * (values[i, j] if inside else 0))
    v = torch.stack(seen)
    return (v * torch.softmax(20 * v, dim=0)).sum()


def test_masks_are_the_smooth_maximum_of_bumps():
    maker = SmoothMax(10, 13, step=3, sigma=3.5)
    values = torch.rand(2, 2, *maker.grid, dtype=torch.float64)
    padded = maker.padded(values)
    assert padded.shape == (2, 2, 10 + 2 * maker.margin, 13 + 2 * maker.margin)
    for pixel in ((0, 0), (4, 7), (9, 12), (-4, -2), (12, 15)):
        found = padded[1, 0, pixel[0] + maker.margin, pixel[1] + maker.margin]
        assert torch.allclose(found, slow(maker, values[1, 0], pixel))
    assert torch.equal(maker.inner(padded)[..., 0, 0], padded[..., maker.margin, maker.margin])


def test_the_way_back_is_the_derivative():
    maker = SmoothMax(5, 4, step=2, sigma=2.0)
    values = torch.rand(1, 2, *maker.grid, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(maker.padded, values)


def test_it_lies_between_mean_and_maximum_and_in_the_unit_interval():
    maker = SmoothMax(16, 16, step=2, sigma=3.0)
    none, full = maker.padded(torch.zeros(1, 1, 8, 8)), maker.padded(torch.ones(1, 1, 8, 8))
    assert not none.any()
    assert full.max() <= 1
    assert maker.inner(full).min() > 0.7  # all cells on: the smooth maximum nears the largest bump
    one = torch.zeros(1, 1, 8, 8)
    one[..., 4, 4] = 1
    assert maker.inner(maker.padded(one)).amax() > 0.99
