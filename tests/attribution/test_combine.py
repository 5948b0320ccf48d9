"""Explainers made of explainers."""

import weakref
from dataclasses import dataclass, replace

import numpy
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from vidence import spec
from vidence.attribution import (
    COMBINE,
    EXPLAINERS,
    LIME,
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
from vidence.attribution.averaging import noise
from vidence.attribution.combine import rank_correlations
from vidence.attribution.concept import concept_of
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.perturb.supervoxels import segmented
from vidence.errors import ExplainError, SpecError
from vidence.pipeline import explainer_of
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import check_explainer, counted_passes
from zoo import Autoencoder, Divided, Folded, TwoStages, Volume, made

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
    assert found.layer == "cnn.three+"
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
    assert apart.certificate.flags[0] == "Fixed and Fixed agree little: rank correlation -1.00"
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


def test_segments_that_differ_from_clip_to_clip_have_no_mean():
    x = torch.zeros(1, 3, 4, 24, 24)
    x[..., 4:10, 4:10] = 0.8
    x[:, 0, :, 16:, 6:18] = 0.6
    drawn = noise(x, spread=0.02, seed=0)
    assert len({int(segmented(x + next(drawn), "slic", count=12).max()) for _ in range(4)}) > 1
    found = Smooth(LIME(count=12, n=8), n=4, spread=0.02).attribute(made(Folded), x, Logit(0), certify=False)
    assert found.raw is None
    assert found.values.shape == (1, 4, 24, 24)
    assert Smooth(GradCAM(), n=2).attribute(made(Folded), x, Logit(0)).raw.shape[:3] == (1, 4, 5)


def test_smooth_averages_raw_maps_and_holds_no_more_than_their_sum():
    model, alive = made(Folded), []

    class Probe(Gradient):
        def explain_clip(self, model, x, score):
            found = super().explain_clip(model, x, score)
            alive.append(weakref.ref(found.raw))
            held.append(sum(one() is not None for one in alive))
            return found

    held = []
    found = Smooth(Probe(channels="sum"), n=6).attribute(model, X, Logit(0), certify=False)
    assert max(held) <= 3
    torch.testing.assert_close(found.raw.sum(1), found.values)


def test_parts_are_told_what_a_detector_knows():
    detector, asked = object(), []

    @dataclass(frozen=True)
    class Needy(Gradient):
        threshold: float | None = None

        def informed(self, detector, score):
            asked.append((detector, score))
            return replace(self, threshold=7.0)

    score = Logit(0)
    for combined in (Mean(of=(Needy(), Gradient())), Consensus(of=(Gradient(), Needy(), Smooth(Needy())), agree=2)):
        told = combined.informed(detector, score)
        assert type(told) is type(combined)
        found = [getattr(part, "explainer", part) for part in told.of]
        assert [part.threshold for part in found if isinstance(part, Needy)] == [7.0] * (len(found) - 1)
    assert asked == [(detector, score)] * 3


@pytest.mark.parametrize("combine", [lambda one: Mean(of=(one, one)), lambda one: Smooth(one, n=1, spread=0.0)])
@pytest.mark.parametrize("key", ["cdam", "smooth-cdam", "integrated-cdam"])
def test_a_part_explains_its_concept(combine, key, tmp_path):
    model, x, file = made(Divided), torch.rand(1, 3, 5, 14, 12), str(tmp_path / "concept.npy")
    numpy.save(file, concept_of(model, torch.rand(2, 3, 5, 14, 12)).numpy())
    one = replace(EXPLAINERS[key].quick(), concept=file)
    found = combine(one).attribute(model, x, Logit(0))
    alone = one.attribute(model, x, Logit(0)).values
    torch.testing.assert_close(found.values / found.values.abs().sum(), alone / alone.abs().sum())
    assert any(f"of the concept {file}" in flag for flag in found.certificate.flags)


def test_seeds_of_the_parts_are_told():
    one, two = SmoothGrad(n=2, seed=3), SmoothGrad(n=2, seed=4)
    same = Mean(of=(one, one, Gradient())).attribute(made(Folded), X, Logit(0))
    assert same.certificate.seed == 3
    assert not same.certificate.flags
    found = Mean(of=(one, two)).attribute(made(Folded), X, Logit(0))
    assert found.certificate.flags == ("the parts have seeds of their own: SmoothGrad 3, SmoothGrad 4",)
    assert found.extra["parts"] == [repr(one), repr(two)]
    assert "seed=4" in found.extra["parts"][1]


def test_a_list_of_explainers_is_taken_as_a_tuple():
    assert Consensus(of=[GradCAM(), Gradient()]) == Consensus(of=(GradCAM(), Gradient()))
    assert Mean([GradCAM(), Gradient()]).of == (GradCAM(), Gradient())


def test_settings_that_mean_nothing_are_refused():
    for given in ((), (Gradient(),), [Gradient()]):
        with pytest.raises(SpecError, match="at least two explainers"):
            Mean(of=given)
    with pytest.raises(SpecError, match="each Explainer"):
        Mean(of=(Gradient(), "grad-cam"))
    with pytest.raises(SpecError, match="agree must be 1 to 3"):
        Consensus(agree=4)
    with pytest.raises(SpecError, match="explainer must be Explainer"):
        Smooth("grad-cam")
    with pytest.raises(SpecError, match="n must be"):
        Smooth(n=0)
