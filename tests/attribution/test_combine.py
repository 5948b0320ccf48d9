"""Explainers made of explainers."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from vidence import spec
from vidence.attribution import (
    COMBINE,
    EXPLAINERS,
    Consensus,
    GradCAM,
    Gradient,
    InputXGradient,
    IntegratedCAM,
    IntegratedGradients,
    Mean,
    Occlusion,
    Product,
    Smooth,
    SmoothGrad,
)
from vidence.attribution.combine import rank_correlations
from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import ExplainError, SpecError
from vidence.pipeline import explainer_of
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import check_explainer, counted_passes
from zoo import Autoencoder, Folded, TwoStages, Volume, made

X = torch.rand(1, 3, 4, 14, 12, generator=torch.Generator().manual_seed(0))
TABLE = {**EXPLAINERS, **COMBINE}


@pytest.mark.parametrize("key", COMBINE)
@pytest.mark.parametrize("build", [Folded, TwoStages, Volume])
def test_a_combination_is_an_explainer(key, build):
    check_explainer(COMBINE[key].quick(), made(build), torch.rand(2, 3, 5, 14, 12), (Logit(0), Logit(1)))


@pytest.mark.parametrize("key", COMBINE)
def test_of_an_autoencoder_and_without_arguments(key):
    assert COMBINE[key]() == COMBINE[key]()
    scores = (SquaredError(), SquaredError(frame=3))
    check_explainer(COMBINE[key].quick(), made(Autoencoder), torch.rand(2, 3, 4, 14, 12), scores)


def parts():
    """Three maps on the finest of their grids, each of unit mass."""
    model = made(Folded)
    found = [method(model, X, Logit(0)) for method in (InputXGradient(), Occlusion(), IntegratedGradients())]
    return model, torch.cat([one / one.abs().sum() for one in found])


def of(kind, **settings):
    return kind(of=(InputXGradient(), Occlusion(), IntegratedGradients()), **settings)


def test_mean_product_and_consensus_equal_their_slow_twins():
    model, maps = parts()
    mean, product, shared, all_three = torch.zeros(4, *maps.shape[1:])
    for place in torch.cartesian_prod(*(torch.arange(size) for size in maps.shape[1:])).tolist():
        t, i, j = place
        here = maps[:, t, i, j].tolist()
        mean[t, i, j] = sum(here) / 3
        if all(v > 0 for v in here) or all(v < 0 for v in here):
            size = abs(here[0] * here[1] * here[2]) ** (1 / 3)
            product[t, i, j] = size if here[0] > 0 else -size
        same = sum(v * mean[t, i, j] > 0 for v in here)
        shared[t, i, j] = mean[t, i, j] if same >= 2 else 0
        all_three[t, i, j] = mean[t, i, j] if same == 3 else 0
    for explainer, expected in (
        (of(Mean), mean),
        (of(Product), product),
        (of(Consensus), shared),
        (of(Consensus, agree=3), all_three),
    ):
        torch.testing.assert_close(explainer.attribute(model, X, Logit(0)).values[0], expected, rtol=1e-3, atol=1e-8)


def test_maps_of_another_grid_are_resized_to_the_finest():
    model = made(Folded)
    found = Mean(of=(GradCAM(), Gradient())).attribute(model, X, Logit(0))
    assert found.values.shape == (1, 4, 14, 12)
    coarse, fine = GradCAM()(model, X, Logit(0)), Gradient()(model, X, Logit(0))
    expected = (coarse / coarse.abs().sum() + fine / fine.abs().sum()) / 2
    torch.testing.assert_close(found.values, expected)
    assert found.layer == "cnn.three"
    torch.testing.assert_close(found.raw.abs().sum((2, 3, 4)), torch.ones(1, 2))


def test_rank_correlations_are_spearmans():
    maps = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(1)).round(decimals=1)  # with ties
    found = rank_correlations(maps)
    slow = spearmanr(maps.flatten(1).numpy(), axis=1).statistic
    torch.testing.assert_close(found, torch.from_numpy(slow).float())
    assert rank_correlations(torch.stack([maps[0], torch.zeros_like(maps[0])]))[0, 1] == 0


class Fixed(Explainer):
    """A map that is given."""

    def __init__(self, values):
        self.values = values

    def explain_clip(self, model, x, score):
        return Attributions(self.values)


def test_little_agreement_is_flagged():
    one = torch.linspace(-1, 1, 4 * 14 * 12).view(1, 4, 14, 12)
    model = made(Folded)
    apart = Consensus(of=(Fixed(one), Fixed(-one))).attribute(model, X, Logit(0))
    assert apart.certificate.flags == ("Fixed and Fixed agree little: rank correlation -1.00",)
    assert apart.values.abs().max() == 0
    same = Consensus(of=(Fixed(one), Fixed(7 * one))).attribute(model, X, Logit(0))
    assert not same.certificate.flags
    torch.testing.assert_close(same.values, one / one.abs().sum())
    torch.testing.assert_close(same.extra["rank_correlations"], torch.ones(1, 2, 2))


def test_smooth_is_the_mean_under_the_noise_of_smooth_grad():
    model = made(Folded)
    found = Smooth(Gradient(channels="sum"), n=5).attribute(model, X, Logit(0))
    torch.testing.assert_close(found.values, SmoothGrad(n=5, channels="sum").attribute(model, X, Logit(0)).values)
    assert found.extra["deviation"].shape == found.values.shape
    still = Smooth(GradCAM(), n=2, spread=0.0).attribute(model, X, Logit(0))
    torch.testing.assert_close(still.values, GradCAM().attribute(model, X, Logit(0)).values)
    assert still.extra["deviation"].abs().max() == 0
    assert not torch.equal(Smooth(n=2, seed=1)(model, X, Logit(0)), Smooth(n=2)(model, X, Logit(0)))


def test_smooth_explains_the_class_that_was_predicted_on_the_clip_itself():
    model, seen = made(Folded), []

    class Spy(Gradient):
        def explain_clip(self, model, x, score):
            seen.append(float(score(torch.tensor([[0.0, 1.0, 2.0]]), x)))
            return super().explain_clip(model, x, score)

    expected = float(model.eval()(X).argmax())
    Smooth(Spy(), n=4, spread=5.0)(model, X, Logit())
    assert seen == [expected] * 4


def test_prices_are_the_parts():
    model = made(Folded)
    fixed = IntegratedGradients(steps=3, limit=3)
    mixed = Mean(of=(fixed, SmoothGrad(n=4), Gradient()))
    for explainer, forwards, gradients in ((mixed, 5 + 5 + 1, 3 + 4 + 1), (Smooth(fixed, n=2), 11, 6)):
        with counted_passes(model) as passes:
            explainer(model, X, Logit(0))
        price = explainer.price(4, 14, 12)
        assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (forwards, gradients)
        assert not price.at_most
    assert Smooth(IntegratedGradients()).price(4, 14, 12).at_most
    assert Mean().price(4, 14, 12).at_most


def test_refuses_what_a_part_refuses():
    class Never(nn.Module):
        def forward(self, x):
            raise AssertionError("nothing may be computed")

    class NeverVolume(Never):
        def __init__(self):
            super().__init__()
            self.net = nn.Conv3d(3, 2, 3)

    for explainer in (Mean(of=(Gradient(), IntegratedCAM())), Smooth(IntegratedCAM())):
        with pytest.raises(ExplainError, match="integrated-cam follows"):
            explainer(NeverVolume(), X, Logit(0))


LINES = {
    "smooth(grad-cam(layer='two'), n=8)": Smooth(GradCAM(layer="two"), n=8),
    "mean(of=[gradient, occlusion(fill='blur')])": Mean(of=(Gradient(), Occlusion(fill="blur"))),
    "consensus(of=[grad-cam, smooth(gradient, n=2), integrated-cam], agree=3)": Consensus(
        of=(GradCAM(), Smooth(Gradient(), n=2), IntegratedCAM()), agree=3
    ),
    "product": Product(),
}


@pytest.mark.parametrize("line", LINES)
def test_lines_nest(line):
    assert explainer_of(line) == LINES[line] == spec.build(line, TABLE)
    assert spec.build(spec.line(LINES[line], TABLE), TABLE) == LINES[line]


def test_settings_that_mean_nothing_are_refused():
    for given in ((), (Gradient(),), [Gradient(), GradCAM()], (Gradient(), "grad-cam")):
        with pytest.raises(SpecError, match="at least two explainers"):
            Mean(of=given)
    with pytest.raises(SpecError, match="agree must be 1 to 3"):
        Consensus(agree=4)
    with pytest.raises(SpecError, match="smooth needs an explainer"):
        Smooth("grad-cam")
    with pytest.raises(SpecError, match="n must be"):
        Smooth(n=0)
