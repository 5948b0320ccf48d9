"""GradientSHAP against the linear closed form and integrated gradients."""

import pytest
import torch
from torch import nn

from vidence.attribution import GradientSHAP, IntegratedGradients
from vidence.attribution.path import EQUAL
from vidence.errors import SpecError
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, made


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return (self.weight * x).sum((1, 2, 3, 4))[:, None] + 2


def test_a_linear_model_gets_its_weight_times_the_way_from_the_mean_baseline():
    model, x = Linear(), torch.rand(1, 3, 4, 6, 5)
    found = GradientSHAP(baselines=(0.0, 0.5, "mean"), n=6).attribute(model, x, Logit(0))
    background = (0.5 + x.mean((2, 3, 4), keepdim=True)) / 3
    torch.testing.assert_close(found.raw[0], model.weight.data * (x - background)[0])
    assert abs(float(found.gap)) < 1e-4
    assert found.certificate.gap < 1e-3
    # a third of draws too many for the first: the expected baseline is the sample's
    uneven = GradientSHAP(baselines=(0.0, 0.6), n=3).attribute(model, x, Logit(0))
    torch.testing.assert_close(uneven.raw[0], model.weight.data * (x - 0.2)[0])
    assert abs(float(uneven.gap)) < 1e-4


def test_of_one_baseline_it_is_integrated_gradients_within_its_error():
    model, x = made(Folded), torch.rand(1, 3, 4, 14, 12)
    exact = IntegratedGradients(baseline="black").attribute(model, x, Logit(1))
    found = GradientSHAP(baselines=("black",), n=200).attribute(model, x, Logit(1))
    scale = float(exact.raw.abs().max())
    torch.testing.assert_close(found.raw, exact.raw, rtol=0, atol=0.05 * scale)
    torch.testing.assert_close(found.extra["effect"], exact.extra["effect"])
    assert abs(float(found.gap)) < 3 * float(found.extra["standard_error"]) + 1e-6


def test_chunks_change_nothing_and_the_price_is_as_stated():
    model, x = made(Folded), torch.rand(2, 3, 4, 14, 12)
    for spread, baselines in ((0.0, 3), (0.1, 7)):
        settings = {"n": 7, "spread": spread}
        whole = GradientSHAP(**settings).attribute(model, x, Logit(0))
        with counted_passes(model) as passes:
            parts = GradientSHAP(**settings, chunk=1).attribute(model, x, Logit(0), certify=False)
        torch.testing.assert_close(parts.values, whole.values, rtol=1e-4, atol=1e-5 * float(whole.values.abs().max()))
        torch.testing.assert_close(parts.extra["standard_error"], whole.extra["standard_error"])
        price = GradientSHAP(**settings).price(4, 14, 12)
        assert (passes.forwards, passes.gradients) == (2 * price.forwards, 2 * price.gradients)
        assert (price.forwards, price.gradients) == (1 + 7 + baselines, 7)


def test_a_still_clip_is_not_compared_with_itself():
    x = torch.rand(1, 3, 1, 6, 5, generator=torch.Generator().manual_seed(2)).expand(1, 3, 4, 6, 5)
    found = GradientSHAP(n=6).attribute(Linear(), x, Logit(0))
    assert found.extra["baselines"] == ("mean", "blur")
    assert "stands still" in found.certificate.flags[0]
    torch.testing.assert_close(
        found.raw, GradientSHAP(baselines=("mean", "blur"), n=6).attribute(Linear(), x, Logit(0)).raw
    )
    zero = GradientSHAP(baselines=("median",), n=6).attribute(Linear(), x, Logit(0))
    assert zero.certificate.flags == (EQUAL,)


def test_another_seed_gives_other_noise():
    """Of a linear model the map is weight times (x - baseline - mean noise): what is left is the noise itself."""
    model, x = Linear(), torch.rand(1, 3, 4, 6, 5)
    plain = GradientSHAP(baselines=(0.5,), n=12).attribute(model, x, Logit(0)).raw
    one, two = (
        (GradientSHAP(baselines=(0.5,), n=12, spread=0.5, seed=seed).attribute(model, x, Logit(0)).raw - plain)
        / model.weight.data
        for seed in (0, 1)
    )
    assert torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1].abs() < 0.2
    assert float(one.std()) == pytest.approx(0.5 * float(x.max() - x.min()) / 12**0.5, rel=0.15)


def test_an_autoencoder_is_compared_with_its_reconstruction_and_a_wide_gap_is_flagged():
    found = GradientSHAP(n=4).attribute(made(Autoencoder), torch.rand(1, 3, 3, 14, 12), SquaredError())
    assert found.extra["baselines"] == ("reconstruction",)

    class Step(nn.Module):
        def forward(self, x):
            return (900 * (x.mean((1, 2, 3, 4)) - 0.3)).sigmoid()[:, None]

    steep = GradientSHAP(n=4, baselines=("black",)).attribute(Step(), torch.ones(1, 3, 2, 4, 4), Logit(0))
    assert any("4 draws miss" in flag and "standard error" in flag for flag in steep.certificate.flags)


def test_settings_that_mean_nothing_are_refused():
    for make in (lambda: GradientSHAP(n=1), lambda: GradientSHAP(baselines=()), lambda: GradientSHAP(spread=-0.1)):
        with pytest.raises(SpecError, match="n must be at least 2"):
            make()
    with pytest.raises(SpecError, match="baseline must be"):
        GradientSHAP(baselines=("white",))
