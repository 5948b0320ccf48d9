"""Curves and areas from their definitions, on models whose every cell has a known worth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from linear_clip import Linear
from vidence.attribution import Gradient
from vidence.errors import SpecError
from vidence.evaluate.cells import cells_of
from vidence.evaluate.controls import RandomMap
from vidence.evaluate.faithfulness import ABPC, AOPC, Deletion, Insertion, InsertionGain
from vidence.evaluate.measure import Case
from vidence.evaluate.references import REFERENCES, Concealed
from vidence.scoring.scores import Logit, Probability, SquaredError
from zoo import OF_FAMILY, made

T, H, W = 3, 4, 4
WORTH = torch.randn(T, H, W, generator=torch.Generator().manual_seed(1)) + 0.4
X = torch.rand(1, 3, T, H, W, generator=torch.Generator().manual_seed(2)) + 0.5
EXACT = (WORTH * X[0].mean(dim=0)).numpy()  # what each pixel adds to the score, against black
PIXELS = {"grid": 4, "fill": 0, "normalised": False}  # a cell for each pixel


def case(values=EXACT, model=None, x=X, score=None, **given):
    return Case(model or Linear(WORTH), x, score or Logit(0), Gradient(), values, **given)


def curves(values):
    """The definition: one pixel after another, by the map."""
    order = np.argsort(-values.reshape(-1))
    gained = np.concatenate([[0], EXACT.reshape(-1)[order].cumsum()])
    return gained, gained[-1] - gained


def area(y):
    return (y.sum() - (y[0] + y[-1]) / 2) / (len(y) - 1)


@pytest.mark.parametrize("values", [EXACT, np.random.default_rng(0).random((T, H, W))])
def test_areas_are_those_of_the_definition(values):
    appearing, going = curves(values)
    found = case(values)
    assert Insertion(**PIXELS, steps=T * H * W)(found) == pytest.approx(area(appearing), abs=1e-4)
    assert Deletion(**PIXELS, steps=T * H * W)(found) == pytest.approx(area(going), abs=1e-4)
    both = Insertion(**PIXELS, steps=48)(found) + Deletion(**PIXELS, steps=48)(found)
    assert both == pytest.approx(float(EXACT.sum()), abs=1e-4)  # s(x) + s(black), of any order


def test_no_order_inserts_better_than_the_exact_one():
    best = Insertion(**PIXELS, steps=48)(case())
    rng = np.random.default_rng(3)
    others = [Insertion(**PIXELS, steps=48)(case(rng.random((T, H, W)))) for _ in range(5)]
    assert best > max(others)
    assert Insertion(**PIXELS, steps=48)(case(-EXACT)) < min(others)


def test_a_curve_runs_from_reference_to_clip_and_scales_to_one():
    curve = Insertion(**PIXELS, steps=5).curve(case())
    assert curve.shares == pytest.approx([0, 10 / 48, 19 / 48, 29 / 48, 38 / 48, 1])
    assert curve.scores[0] == pytest.approx(0)
    assert curve.scores[-1] == pytest.approx(EXACT.sum(), abs=1e-4)
    assert curve.fall == pytest.approx(EXACT.sum(), abs=1e-4)
    assert curve.normalised().scores[-1] == pytest.approx(1)


def test_hiding_the_least_relevant_first_is_insertion_backwards():
    least_first = Deletion(**PIXELS, steps=8).curve(case(-EXACT)).scores
    assert Insertion(**PIXELS, steps=8).curve(case()).scores == pytest.approx(least_first[::-1], abs=1e-4)


def test_clips_that_hiding_does_not_lower_say_nothing():
    rising = Linear(-WORTH.abs())
    assert Insertion(grid=4, fill=0)(case(model=rising)) is None
    assert Insertion(**PIXELS)(case(model=rising)) is not None
    assert Deletion(grid=4, fill="frozen")(case(x=X[:, :, :1], values=EXACT[:1], model=Linear(WORTH[:1]))) is None
    assert Insertion(cells="frames")(case(x=X[:, :, :1], values=EXACT[:1], model=Linear(WORTH[:1]))) is None


def test_a_gain_is_the_area_above_that_of_random_orders():
    found = case(seed=5)
    rng = found.rng
    orders = [rng.permutation(48) for _ in range(3)]
    chance = []
    for order in orders:
        values = np.empty(48)
        values[order] = -np.arange(48.0)
        chance.append(area(curves(values)[0]))
    gain = InsertionGain(**PIXELS, steps=48, orders=3)(found)
    assert gain == pytest.approx(area(curves(EXACT)[0]) - np.mean(chance), abs=1e-4)
    assert InsertionGain(grid=4, fill=0)(found) > 0.1 > InsertionGain(grid=4, fill=0)(case(-EXACT))


def test_aopc_is_the_mean_cumulative_relevance():
    largest = np.sort(EXACT.reshape(-1))[::-1][:12]
    assert AOPC(**PIXELS, steps=12, share=0.25)(case()) == pytest.approx(
        np.concatenate([[0], largest.cumsum()]).mean(), abs=1e-4
    )
    smallest = np.sort(EXACT.reshape(-1))[:12]
    assert ABPC(**PIXELS, steps=12, share=0.25)(case()) == pytest.approx(
        np.concatenate([[0], (largest - smallest).cumsum()]).mean(), abs=1e-4
    )
    assert AOPC(grid=4, fill=0)(case()) == pytest.approx(AOPC(**PIXELS)(case()) / float(EXACT.sum()), abs=1e-4)


class Square(nn.Module):
    """Says how bright the square is that the maps should find; squashed, so that no cell is a share of the score."""

    def forward(self, x):
        bright = x[:, :, 1:3, 2:6, 2:6].mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.tanh(3 * bright), -bright], dim=1)


@pytest.mark.parametrize("cells", ["grid", "supervoxels", "frames", "tubes"])
@pytest.mark.parametrize("measure", [Insertion, Deletion, AOPC, ABPC, InsertionGain])
def test_a_perfect_map_beats_chance(measure, cells):
    x = torch.rand(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2
    x[:, :, 1:3, 2:6, 2:6] += 0.7
    truth = np.zeros((4, 8, 8), np.float32)
    truth[1:3, 2:6, 2:6] = 1
    asked = measure(cells=cells, grid=4, fill=0, steps=8)
    best = asked(case(truth, Square(), x))
    chance = np.mean([asked(case(RandomMap(s)(Square(), x, Logit(0))[0].numpy(), Square(), x)) for s in range(6)])
    assert best > chance if asked.better == "higher" else best < chance


@pytest.mark.parametrize("family", OF_FAMILY)
def test_the_chunk_changes_nothing_and_the_model_stays_as_it_was(family):
    model = made(OF_FAMILY[family]).train()
    x = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(1))
    score = SquaredError() if family == "reconstruction" else Logit(0)
    values = np.random.default_rng(0).random((5, 14, 12))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = [
        Deletion(grid=2, steps=4, fill="blur").curve(case(values, model, x, score, chunk=chunk)).scores
        for chunk in (1, 3, None)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] == pytest.approx(found[2], rel=1e-4)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("fill", [each for each in REFERENCES if each != "reconstruction"])
def test_every_reference_hides_a_clip(fill):
    x = torch.rand(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    measure = Deletion(grid=2, depth=2, fill=fill, normalised=False, steps=4)
    asked = case(np.ones((4, 8, 8)), Square(), x)
    curve, whole = measure.curve(asked), float(asked.subject.whole)
    assert curve.scores[0] == pytest.approx(whole)
    assert curve.scores[-1] != pytest.approx(whole)


def test_an_autoencoders_error_falls_where_its_expectation_is_shown():
    class Dark(nn.Module):
        """Expects a black clip."""

        def forward(self, x):
            from vidence.models.reconstruction import Reconstruction

            return Reconstruction(torch.zeros_like(x))

    x = torch.rand(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    residual = x[0].square().sum(dim=0).numpy()
    found = case(residual, Dark(), x, SquaredError())
    curve = Deletion(grid=4, steps=32).curve(found)
    assert curve.empty == pytest.approx(0)
    assert (np.diff(curve.scores) < 0).all()
    assert Deletion(grid=4)(found) < Deletion(grid=4)(case(-residual, Dark(), x, SquaredError()))
    with pytest.raises(SpecError, match="score of a class"):
        Deletion(scale="probability")(found)


def test_the_scale_is_the_score_or_its_class_probability():
    own, asked = Deletion(grid=4, fill=0, steps=4), Deletion(grid=4, fill=0, steps=4, scale="probability")
    for score in (Logit(0), Logit(), Probability(0)):
        logits = own.curve(case(score=Logit(0))).scores
        assert asked.curve(case(score=score)).scores == pytest.approx(1 / (1 + np.exp(-2 * logits)), abs=1e-5)


def test_settings_that_mean_nothing_are_refused():
    for wrong in ({"fill": "snow"}, {"cells": "dots"}, {"scale": "rank"}, {"steps": 0}, {"by": "max"}):
        with pytest.raises(SpecError):
            Insertion(**wrong)
    with pytest.raises(SpecError, match="share"):
        AOPC(share=0)
    with pytest.raises(SpecError, match="orders"):
        InsertionGain(orders=0)


def test_supervoxels_of_the_map_are_pooled_by_their_own_size():
    labels = cells_of(X, "supervoxels", grid=2, depth=3)
    means = [EXACT[labels == cell].mean() for cell in range(labels.max() + 1)]
    order = Insertion(cells="supervoxels", grid=2, depth=3)
    clip = order.clip(case())
    assert list(order.order(case(), clip)) == list(np.argsort(means)[::-1])


def test_a_fall_that_is_next_to_nothing_is_no_ground_for_shares():
    whole = float(case().subject.whole)
    behind = {share: Concealed(case().subject, share * whole / float(WORTH.sum()), 0) for share in (0.95, 0.8)}
    assert behind[0.8].empty == pytest.approx(0.8 * whole, rel=1e-5)
    assert behind[0.95].fall is None  # less than .05 of the sum of both
    assert behind[0.8].fall == pytest.approx(whole * 0.2, rel=1e-4)


class Counting(Linear):
    """A linear model that counts the variants it is shown."""

    asked = 0

    def forward(self, x):
        Counting.asked += len(x)
        return super().forward(x)


def test_maps_of_one_clip_share_what_is_the_same_for_all():
    model, shared, logit = Counting(WORTH), {}, Logit(0)
    maps = [EXACT, -EXACT, np.random.default_rng(0).random((T, H, W)).astype(np.float32)]
    measures = [Insertion(grid=4, fill=0, steps=6), Deletion(grid=4, fill=0, steps=6), ABPC(grid=4, fill=0, steps=6)]
    alone = [measure(case(values)) for values in maps for measure in measures]
    Counting.asked = 0
    found = [measure(case(values, model, score=logit, shared=shared)) for values in maps for measure in measures]
    assert found == pytest.approx(alone, rel=1e-5)
    assert Counting.asked == 2 + 3 * (5 + 5 + 2 * 6)  # the clip and its reference once, and the steps in between
    other = Insertion(grid=4, fill=0, steps=6)(case(-EXACT, model, score=Logit(1), shared=shared))
    assert other == Insertion(grid=4, fill=0, steps=6)(case(-EXACT, score=Logit(1)))
    assert other != found[3]


def test_where_nothing_falls_no_map_is_asked_about():
    Counting.asked = 0
    for measure in (Insertion(fill=0), Deletion(fill=0), InsertionGain(fill=0), AOPC(fill=0)):
        assert measure(case(model=Counting(-WORTH.abs()))) is None
    assert Counting.asked == 4 * 2


def test_auto_is_the_probability_of_a_class_and_any_other_score_itself():
    found, asked = Deletion(grid=4, fill=0, steps=4, scale="auto"), case()
    assert found(asked) == Deletion(grid=4, fill=0, steps=4, scale="probability")(asked)
    plain = replace(asked, score=lambda output, x: output[:, 0])
    assert found(plain) == Deletion(grid=4, fill=0, steps=4)(plain)
