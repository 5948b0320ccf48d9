"""RISE against enlarged grids made one by one, linear scores, and repeated draws."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidence.attribution.perturb.rise import RISE, _Grids, _weighted
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes


class Linear(nn.Module):
    def __init__(self, t=4, h=8, w=6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, t, h, w))

    def forward(self, x):
        return (self.weight * x).sum((1, 2, 3, 4))[:, None] + 2


def test_masks_are_grids_enlarged_and_cut_out():
    settings, sizes = RISE(n=6, cells=3, frames=2, seed=4), (5, 9, 7)
    masks = _Grids.drawn(settings, sizes, torch.device("cpu")).masks(0, 6)
    generator = torch.Generator().manual_seed(4)
    cells = (torch.rand(6, 2, 3, 3, generator=generator) < 0.5).float()
    sides = [math.ceil(size / count) for size, count in zip(sizes, (2, 3, 3), strict=True)]
    shifts = [torch.randint(side, (6, 1), generator=generator) for side in sides]
    large = [(count + 1) * side for count, side in zip((2, 3, 3), sides, strict=True)]
    for i in range(6):
        whole = F.interpolate(cells[i][None, None], size=large, mode="trilinear", align_corners=False)[0, 0]
        first = [int(shift[i]) for shift in shifts]
        cut = whole[tuple(slice(at, at + size) for at, size in zip(first, sizes, strict=True))]
        torch.testing.assert_close(masks[i], cut, atol=1e-6, rtol=0)


def test_values_and_their_error_are_the_definition():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    for centred in (True, False):
        explainer = RISE(n=40, cells=3, fill=0.25, centred=centred)
        found = explainer.attribute(model, x, Logit(0), certify=False)
        masks = _Grids.drawn(explainer, (4, 8, 6), torch.device("cpu")).masks(0, 40)
        scores = torch.cat([model(x * mask + 0.25 * (1 - mask))[:, 0] for mask in masks]).detach()
        torch.testing.assert_close(found.raw[0], scores, rtol=1e-4, atol=1e-4)
        weights = masks / masks.sum(0)
        off = scores - (scores.mean() if centred else 0)
        values = (off[:, None, None, None] * weights).sum(0)
        torch.testing.assert_close(found.values[0], values, rtol=1e-3, atol=1e-3)
        terms = masks / masks.mean(0) * (off[:, None, None, None] - values)  # of each grid, to first order
        if centred:
            terms = terms - off[:, None, None, None]
        error = terms.square().sum(0).sqrt() / 40
        torch.testing.assert_close(found.extra["standard_error"][0], error, rtol=1e-2, atol=1e-3)


class Cells:
    """Grids of 3 x 3 whose cells are neither smoothed nor shifted, as the closed form has them."""

    def __init__(self, n, share):
        self.all = (torch.rand(n, 1, 3, 3, dtype=torch.float64) < share).double()

    def masks(self, first, last):
        return self.all[first:last]


def test_independent_cells_of_a_linear_score():
    """A.22: const + (1 - p) w x; the constant is the mean score that the centred form takes off."""
    torch.manual_seed(0)
    n, share = 4000, 0.3
    cells, terms = Cells(n, share), torch.randn(9, dtype=torch.float64)
    masks = cells.all.flatten(1)
    scores = masks @ terms
    found, error = _weighted(cells, scores - scores.mean(), 700, centred=True)
    assert float(((found - (1 - share) * terms).abs() / error).max()) < 4
    assert float(error.max()) < 0.15 * float(terms.abs().max())


def test_the_error_is_the_spread_over_seeds():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    for centred in (True, False):
        found = [
            RISE(n=100, cells=3, seed=seed, centred=centred).attribute(model, x, Logit(0), certify=False)
            for seed in range(40)
        ]
        spread = torch.cat([each.values for each in found]).std(dim=0)
        said = torch.cat([each.extra["standard_error"] for each in found]).mean(dim=0)
        assert 0.75 < float(spread.mean() / said.mean()) < 1.3


def test_too_few_grids_are_flagged():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    model.weight.data[:, :, :4] += 3
    assert RISE(n=8).attribute(model, x, Logit(0)).certificate.flags
    assert not RISE(n=1000).attribute(model, x, Logit(0)).certificate.flags


def test_chunks_seeds_and_price():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    with counted_passes(model) as passes:
        whole = RISE(n=20)(model, x, Logit(0))
    assert (passes.forwards, passes.gradients) == (RISE(n=20).price(4, 8, 6).forwards, 0) == (21, 0)
    torch.testing.assert_close(RISE(n=20, chunk=1)(model, x, Logit(0)), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(RISE(n=20, chunk=7)(model, x, Logit(0)), whole, rtol=1e-4, atol=1e-4)
    assert not torch.equal(RISE(n=20, seed=1)(model, x, Logit(0)), whole)


class Clean(ReconstructionNetwork):
    """Expects an even picture."""

    def forward(self, x):
        return Reconstruction(torch.full_like(x, 0.5))


def test_an_anomaly_is_positive_evidence():
    x = torch.full((1, 3, 4, 12, 12), 0.5)
    x[:, :, 1:3, 4:8, 4:8] = 1.0
    values = RISE(n=300, cells=4, frames=2)(Clean(), x, SquaredError())
    assert float(values[0, 1:3, 4:8, 4:8].mean()) > 2.5 * float(values[0].abs().mean())
    assert float(values[0, 1:3, 4:8, 4:8].min()) > float(values[0, :, :, :2].max())


@pytest.mark.parametrize(
    "build", [lambda: RISE(n=1), lambda: RISE(cells=0), lambda: RISE(share=1), lambda: RISE(fill="x")]
)
def test_settings_without_meaning_are_refused(build):
    with pytest.raises(SpecError):
        build()
