"""Path methods against closed forms, slow twins and captum."""

from itertools import pairwise

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIG
from scipy.ndimage import gaussian_filter
from torch import nn

from vidence.attribution import BlurIG, IntegratedGradients
from vidence.attribution.gradient import FLAT
from vidence.attribution.path import EQUAL, baseline_of, blurred, nodes, rounds
from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import Contrast, Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, Volume, made


class Polynomial(nn.Module):
    """Degree 3 with products between places, in double precision inside."""

    def forward(self, x):
        flat = x.double().flatten(1)
        return ((flat**3).sum(1) + (flat[:, :48] * flat[:, 48:]).sum(1))[:, None].float()


class Projector(ReconstructionNetwork):
    """A linear autoencoder of orthogonal projection."""

    def __init__(self, size=96, rank=7):
        super().__init__()
        basis = torch.linalg.qr(torch.randn(size, rank, generator=torch.Generator().manual_seed(0))).Q
        self.register_buffer("projector", basis @ basis.T)

    def forward(self, x):
        return Reconstruction((x.flatten(1) @ self.projector).view_as(x))


def clip(seed=0):
    return torch.rand(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_gauss_legendre_is_exact_up_to_its_degree():
    for count in (1, 2, 5):
        places, weights = nodes(count)
        for degree in range(2 * count):
            assert float((weights * places**degree).sum()) == pytest.approx(1 / (degree + 1), abs=1e-14)


def test_is_exact_for_a_polynomial_with_as_few_nodes_as_its_degree_asks_for():
    x, model = clip(), Polynomial()
    found = IntegratedGradients(steps=2, limit=2, baseline=0.2).attribute(model, x, Logit(0))
    assert abs(float(found.gap)) < 1e-4
    r = 0.2
    flat, other = x.flatten(1), torch.cat([x.flatten(1)[:, 48:], x.flatten(1)[:, :48]], dim=1)
    expected = (flat**3 - r**3) + (flat - r) * (other + r) / 2  # int of 3 z^2, and of the partner's mean
    torch.testing.assert_close(found.raw.flatten(1), expected, rtol=1e-4, atol=1e-5)
    assert found.certificate.gap < 1e-3
    assert found.extra["nodes"] == 2


def test_a_linear_autoencoder_shares_out_exactly_its_error():
    model, x = Projector(), clip()
    left = x.flatten(1) - x.flatten(1) @ model.projector
    found = IntegratedGradients(baseline="black", steps=2, limit=2).attribute(model, x, SquaredError())
    torch.testing.assert_close(found.raw.flatten(1), x.flatten(1) * left, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.values.sum(), left.square().sum(), rtol=1e-4, atol=1e-5)
    # fixed: |x0 - P x'|^2 from 0 to x0 loses |P x0|^2
    fixed = IntegratedGradients(baseline="black", steps=2, limit=2).attribute(model, x, SquaredError(mode="fixed"))
    kept = (x.flatten(1) @ model.projector).square().sum()
    torch.testing.assert_close(fixed.values.sum(), -kept, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [Folded, Volume])
def test_equals_captum(build):
    model, x = made(build).eval(), torch.rand(1, 3, 4, 14, 12)
    theirs = CaptumIG(model).attribute(x, baselines=0.0, target=1, n_steps=12, method="gausslegendre")
    found = IntegratedGradients(steps=12, limit=12, baseline="black").attribute(model, x, Logit(1))
    torch.testing.assert_close(found.raw, theirs, rtol=1e-4, atol=1e-6)


def test_is_the_same_for_two_graphs_of_one_function_and_for_symmetric_places():
    class Apart(Polynomial):
        def forward(self, x):
            flat = x.double().flatten(1)
            one, two = flat[:, :48], flat[:, 48:]
            square = (one + two).square().sum(1) - one.square().sum(1) - two.square().sum(1)
            return ((flat * flat.square()).sum(1) + square / 2)[:, None].float()

    x = clip()
    x.view(1, -1)[0, 48] = x.view(1, -1)[0, 0]  # partners of one value play the same part
    ours = IntegratedGradients(steps=4, baseline=0.1)
    one, two = (ours.attribute(model, x, Logit(0)).raw for model in (Polynomial(), Apart()))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert float(one.flatten()[0]) == pytest.approx(float(one.flatten()[48]), abs=1e-5)


class Steep(nn.Module):
    """A threshold on the mean brightness."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return (self.slope * (x.mean((1, 2, 3, 4)) - 0.313)).sigmoid()[:, None]


def test_nodes_are_doubled_until_the_sum_is_complete_or_the_certificate_says_so():
    x = torch.ones(1, 3, 2, 4, 4)
    easy, hard, hopeless = (
        IntegratedGradients(steps=4, limit=64, baseline="black").attribute(Steep(slope), x, Logit(0))
        for slope in (1, 60, 20000)
    )
    assert easy.extra["nodes"] == 4
    assert 4 < hard.extra["nodes"] <= 64
    assert hard.certificate.gap <= 0.01
    assert not hard.certificate.flags
    assert hopeless.extra["nodes"] == 64
    assert any("misses" in flag or "zero" in flag for flag in hopeless.certificate.flags)
    assert rounds(4, 64) == [4, 8, 16, 32, 64]
    assert rounds(4, 7) == [4]


@pytest.mark.parametrize("method", [IntegratedGradients, BlurIG])
def test_chunks_change_nothing_and_the_price_is_as_stated(method):
    model, x = made(Folded), torch.rand(2, 3, 4, 14, 12)
    fixed = {"steps": 6, "limit": 6}
    price = method(**fixed).price(4, 14, 12)
    assert not price.at_most
    whole = method(**fixed).attribute(model, x, Contrast(0, 1)).values
    for chunk in (1, 4):
        with counted_passes(model) as passes:
            parts = method(**fixed, chunk=chunk).attribute(model, x, Contrast(0, 1), certify=False).values
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
        assert (passes.forwards, passes.gradients) == (2 * price.forwards, 2 * price.gradients) == (16, 12)
    longer = method(steps=2, limit=8, tolerance=1e-9)
    assert longer.price(4, 14, 12).at_most
    with counted_passes(model) as passes:
        longer(model, x[:1], Logit(0))
    assert (passes.forwards, passes.gradients) == (16, 14)


def test_a_still_clip_is_no_score_without_pixels():
    """Its temporal median is the clip itself, which explains nothing; the score depends on the pixels all the same."""
    x = torch.rand(1, 3, 1, 2, 4, generator=torch.Generator().manual_seed(2)).expand(1, 3, 4, 2, 4)
    found = IntegratedGradients().attribute(Polynomial(), x, Logit(0))
    assert found.extra["baseline"] == "mean"
    assert "its baseline is its mean colour instead" in found.certificate.flags[0]
    torch.testing.assert_close(found.values, IntegratedGradients(baseline="mean")(Polynomial(), x, Logit(0)))
    assert found.values.abs().max() > 0.1
    for baseline in ("median", "frozen"):  # asked for by name
        zero = IntegratedGradients(baseline=baseline).attribute(Polynomial(), x, Logit(0))
        assert not zero.values.any()
        assert zero.certificate.flags == (EQUAL,)
    grey = IntegratedGradients().attribute(Polynomial(), torch.full_like(x, 0.3), Logit(0))
    assert EQUAL in grey.certificate.flags
    moving = torch.rand(1, 3, 4, 2, 4)
    assert IntegratedGradients().attribute(Polynomial(), moving, Logit(0)).extra["baseline"] == "median"
    blind = IntegratedGradients().attribute(Polynomial(), moving, lambda output, x: output[:, 0] * 0)
    assert blind.certificate.flags == (FLAT,)


def test_baselines():
    x = torch.rand(1, 3, 5, 4, 6)
    assert baseline_of(x, "black", None).abs().max() == 0
    assert baseline_of(x, 0.25, None).unique().tolist() == [0.25]
    assert torch.equal(baseline_of(x, "auto", None), x.median(dim=2, keepdim=True).values.expand_as(x))
    assert torch.equal(baseline_of(x, "frozen", None), x[:, :, :1].expand_as(x))
    assert torch.equal(baseline_of(x, "reversed", None)[:, :, 0], x[:, :, 4])
    image = x[:, :, :1]
    assert torch.equal(baseline_of(image, "auto", None), image.mean((2, 3, 4), keepdim=True).expand_as(image))
    expected = Reconstruction(torch.rand(1, 3, 5, 4, 6))
    assert torch.equal(baseline_of(x, "auto", expected), expected.x_hat)
    for still in ("frozen", "reversed"):
        with pytest.raises(ExplainError, match="an image has none"):
            IntegratedGradients(baseline=still)(Polynomial(), torch.rand(1, 3, 1, 4, 8), Logit(0))
    with pytest.raises(SpecError, match="baseline must be"):
        IntegratedGradients(baseline="white")
    with pytest.raises(SpecError, match="limit at least steps"):
        IntegratedGradients(steps=8, limit=4)


def test_a_frozen_baseline_gives_nothing_to_what_stands_still():
    model, x = made(Folded), torch.rand(1, 3, 1, 14, 12).repeat(1, 1, 5, 1, 1)
    x[:, :, 3, 2:6, 2:6] = 1 - x[:, :, 3, 2:6, 2:6]
    values = IntegratedGradients(baseline="frozen")(model, x, Logit(0))[0]
    moved = torch.zeros_like(values, dtype=torch.bool)
    moved[3, 2:6, 2:6] = True
    assert values[~moved].abs().max() == 0 < values[moved].abs().max()


def test_the_reconstruction_is_where_an_autoencoder_starts_from():
    model, x = made(Autoencoder).eval(), torch.rand(1, 3, 4, 14, 12)
    found = IntegratedGradients().attribute(model, x, SquaredError())
    x_hat = model(x).x_hat
    change = SquaredError()(model(x), x) - SquaredError()(model(x_hat), x_hat)
    torch.testing.assert_close(found.extra["effect"], change.detach())
    torch.testing.assert_close(found.values.sum(), change.detach().sum(), rtol=0.01, atol=0)


def test_a_blur_is_a_gaussian_mirrored_at_its_borders():
    x = torch.rand(1, 2, 5, 16, 20)
    sigmas = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 2.0], [1.5, 0.0, 0.0]], dtype=torch.float64)
    found = blurred(x, sigmas)
    torch.testing.assert_close(found[:1], x)
    for row, sigma in zip(found[1:], sigmas[1:].tolist(), strict=True):
        slow = gaussian_filter(x[0].numpy(), (0, *sigma), mode="reflect", truncate=8)
        torch.testing.assert_close(row, torch.from_numpy(slow), atol=2e-3, rtol=0)
    torch.testing.assert_close(found.mean((2, 3, 4)), x.mean((2, 3, 4)).expand(3, -1))  # no light gets lost


def test_the_blur_path_adds_up_and_equals_its_slow_twin():
    model, x = made(Volume).eval(), torch.rand(1, 3, 4, 14, 12)
    found = BlurIG(steps=16, limit=16, sigma=3.0).attribute(model, x, Logit(2))
    edges = [3.0 * (1 - k / 16) ** 2 for k in range(17)]
    slow = torch.zeros_like(x)
    for before, after in pairwise(edges):
        sigma = torch.tensor([[0.0, s, s] for s in (before, (before + after) / 2, after)], dtype=torch.float64)
        weak, middle, strong = (part[None] for part in blurred(x, sigma))
        middle.requires_grad_()
        slow += torch.autograd.grad(model(middle)[0, 2], middle)[0] * (strong - weak)
    torch.testing.assert_close(found.raw, slow, rtol=1e-3, atol=1e-6)
    most = blurred(x, torch.tensor([[0.0, 3.0, 3.0]], dtype=torch.float64))
    change = float((model(x) - model(most))[0, 2].detach())
    assert float(found.extra["effect"]) == pytest.approx(change, abs=1e-5)
    complete = BlurIG(sigma=3.0).attribute(model, x, Logit(2))
    assert float(complete.values.sum()) == pytest.approx(change, rel=0.011)


def test_a_blur_in_time_sees_motion_alone():
    x = torch.rand(1, 3, 1, 14, 12).repeat(1, 1, 6, 1, 1)
    x[:, :, 2:4, 5:8, 5:8] = 1.0
    values = BlurIG(sigma=0, sigma_t=2.0, steps=8)(made(Folded), x, Logit(0))[0]
    moved = torch.zeros_like(values, dtype=torch.bool)
    moved[:, 5:8, 5:8] = True
    assert values[~moved].abs().max() < 1e-6 * values[moved].abs().max()
    with pytest.raises(SpecError, match="not both 0"):
        BlurIG(sigma=0)
