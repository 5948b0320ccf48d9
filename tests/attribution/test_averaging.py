"""Gradients under noise against closed forms, a slow twin and captum."""

import itertools

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from captum.attr._core import noise_tunnel
from torch import nn

from vidence.attribution import Gradient, SmoothGrad, SmoothGradSquared, VarGrad
from vidence.attribution.averaging import moments, noise
from vidence.errors import SpecError
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Folded, made

METHODS = [SmoothGrad, SmoothGradSquared, VarGrad]


class Cubic(nn.Module):
    """A linear class and one that is the sum of cubes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return torch.stack([(self.weight * x).sum((1, 2, 3, 4)), x.pow(3).sum((1, 2, 3, 4))], dim=1)


def test_a_linear_model_has_its_weight_for_a_mean_and_no_variance():
    model, x = Cubic(), torch.rand(1, 3, 2, 4, 4)
    w = model.weight.data
    torch.testing.assert_close(SmoothGrad(channels="sum").attribute(model, x, Logit(0)).raw[0], w)
    torch.testing.assert_close(SmoothGradSquared().attribute(model, x, Logit(0)).raw[0], w.square())
    found = VarGrad().attribute(model, x, Logit(0))
    assert float(found.raw.max()) < 1e-12
    assert any("does not vary" in flag for flag in VarGrad(spread=0.0).attribute(model, x, Logit(0)).certificate.flags)


def test_cubes_have_the_moments_of_their_closed_form():
    # g = 3 (x + e)^2, e ~ N(0, s^2): E g = 3 (x^2 + s^2), Var g = 9 (4 x^2 s^2 + 2 s^4)
    model, x = Cubic(), torch.linspace(0.5, 1.5, 96).view(1, 3, 2, 4, 4)
    many = {"n": 4000, "spread": 0.2, "channels": "sum"}
    s2 = 0.2**2
    mean, variance = 3 * (x.square() + s2), 9 * (4 * x.square() * s2 + 2 * s2**2)
    torch.testing.assert_close(SmoothGrad(**many).attribute(model, x, Logit(1)).raw, mean, rtol=0.05, atol=0)
    torch.testing.assert_close(VarGrad(**many).attribute(model, x, Logit(1)).raw, variance, rtol=0.2, atol=0)
    squares = SmoothGradSquared(**many).attribute(model, x, Logit(1)).raw
    torch.testing.assert_close(squares, variance + mean.square(), rtol=0.1, atol=0)


def test_equals_captum_on_the_same_noise(monkeypatch):
    """Captum draws for itself: here it is given our draws."""
    model, x = made(Folded).eval(), torch.rand(1, 3, 4, 14, 12)
    drawn = noise(x, spread=0.15, seed=0)
    given = torch.cat([next(drawn) for _ in range(6)])
    monkeypatch.setattr(noise_tunnel.torch, "normal", lambda mean, std: given)
    for method, kind in ((SmoothGrad, "smoothgrad"), (SmoothGradSquared, "smoothgrad_sq"), (VarGrad, "vargrad")):
        expected = NoiseTunnel(Saliency(model)).attribute(
            x, nt_type=kind, nt_samples=6, stdevs=1.0, target=1, abs=False
        )
        if kind == "vargrad":  # theirs divides by n
            expected = expected * 6 / 5
        found = method(n=6).attribute(model, x, Logit(1)).raw
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_moments_equal_their_slow_twins():
    rows = torch.randn(11, 3, 2) + 100
    for sizes in ([11], [1] * 11, [4, 4, 3]):
        found = moments(torch.split(rows, sizes))
        torch.testing.assert_close(found.mean, rows.mean(0))
        torch.testing.assert_close(found.variance, rows.var(0))
    assert moments([rows[:1]]).variance.abs().max() == 0


@pytest.mark.parametrize("method", METHODS)
def test_chunks_change_nothing_and_the_price_is_as_stated(method):
    model, x = made(Folded), torch.rand(1, 3, 4, 14, 12)
    whole = method(n=5).attribute(model, x, Logit(0)).values
    for chunk in (1, 2):
        with counted_passes(model) as passes:
            parts = method(n=5, chunk=chunk)(model, x, Logit(0))
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6 * float(whole.max()))
        price = method(n=5).price(4, 14, 12)
        assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (6, 5)
    assert not torch.equal(method(n=5, seed=1)(model, x, Logit(0)), whole)


def test_shared_noise_does_not_move():
    x = torch.rand(1, 3, 4, 5, 6) * 3
    first, second = itertools.islice(noise(x, spread=0.1, seed=0, shared=True), 2)
    assert torch.equal(first, first[:, :, :1].expand_as(x))
    assert not torch.equal(first, second)
    many = torch.cat(list(itertools.islice(noise(x, spread=0.1, seed=0), 200)))
    assert float(many.std()) == pytest.approx(0.1 * float(x.max() - x.min()), rel=0.02)


def test_without_noise_it_is_the_gradient_and_noise_raises_an_autoencoders_error():
    model, x = made(Autoencoder), torch.full((1, 3, 3, 14, 12), 0.5)
    x[..., 3:6, 3:6] = 0.9
    found = SmoothGrad(spread=0.0, n=2).attribute(model, x, SquaredError())
    torch.testing.assert_close(found.values, Gradient().attribute(model, x, SquaredError()).values)
    noisy = SmoothGrad(spread=0.5, n=8).attribute(model, x, SquaredError())
    assert float(noisy.extra["noisy_score"]) > float(noisy.extra["score"])
    torch.testing.assert_close(noisy.extra["score"], SquaredError()(model.eval()(x), x))


def test_settings_that_mean_nothing_are_refused():
    for make in (lambda: SmoothGrad(n=0), lambda: VarGrad(n=1), lambda: SmoothGrad(spread=-1.0)):
        with pytest.raises(SpecError, match="n must be at least"):
            make()
    with pytest.raises(SpecError, match="channels must be"):
        SmoothGrad(channels="mean")
