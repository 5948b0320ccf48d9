"""Surrogates against linear scores, sklearn's ridge, captum's KernelSHAP, and Shapley values by their definition."""

import json
from itertools import combinations
from math import factorial

import pytest
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import KernelShap, Lime
from sklearn.linear_model import Ridge
from torch import nn

from vidence.attribution.perturb.supervoxels import segmented
from vidence.attribution.perturb.surrogate import LIME, KernelSHAP
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


class Bent(Linear):
    def forward(self, x):
        return (
            torch.tanh(super().forward(x) / 5) + (self.weight[:, 0] * x[:, :, 0] * x[:, :, -1]).sum((1, 2, 3))[:, None]
        )


def made(build=Linear):
    torch.manual_seed(0)
    return build(), torch.rand(1, 3, 4, 8, 6)


def totals(model, x, labels, filled):
    """What each segment adds to a linear score."""
    terms = (model.weight.data * (x[0] - filled)).sum(0)
    return torch.zeros(int(labels.max()) + 1).index_add(0, labels.flatten(), terms.flatten())


@pytest.mark.parametrize("segments", ["frames", "grid"])
@pytest.mark.parametrize(
    "build", [lambda **s: LIME(n=300, alpha=0, **s), KernelSHAP, lambda **s: KernelSHAP(n=40, **s)]
)
def test_a_linear_score_gives_back_its_segments(segments, build):
    """A.29 and A.30."""
    model, x = made()
    explainer = build(segments=segments, fill=0.25, **({"count": 16} if segments == "grid" else {}))
    found = explainer.attribute(model, x, Logit(0))
    labels = segmented(x, segments, count=16)
    expected = totals(model, x, labels, 0.25)
    torch.testing.assert_close(found.extra["weights"][0], expected, rtol=1e-3, atol=1e-3)
    sums = torch.zeros(len(expected)).index_add(0, labels.flatten(), found.values[0].flatten())
    torch.testing.assert_close(sums, found.raw[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(found.extra["segments"][0], labels)
    assert found.extra["r2"] == pytest.approx(1, abs=1e-4)


def test_segments_show_their_own_mean_colour():
    model, x = made()
    labels = segmented(x, "grid", count=16)
    flat = torch.stack([x[0][:, labels == i].mean(dim=1) for i in range(int(labels.max()) + 1)], dim=1)
    expected = totals(model, x, labels, flat[:, labels])
    found = KernelSHAP("grid", count=16).attribute(model, x, Logit(0))
    torch.testing.assert_close(found.extra["weights"][0], expected, rtol=1e-3, atol=1e-3)
    even = x.mean(dim=(3, 4), keepdim=True).expand_as(x) + 0.01 * x
    assert "own mean colour" in KernelSHAP("frames").attribute(model, even, Logit(0)).certificate.flags[0]
    assert not KernelSHAP("frames", fill="median").attribute(model, even, Logit(0)).certificate.flags


def test_lime_is_sklearns_ridge():
    model, x = made(Bent)
    explainer = LIME("grid", count=16, n=60, fill=0.25, seed=3)
    found = explainer.attribute(model, x, Logit(0))
    labels = segmented(x, "grid", count=16)
    m = int(labels.max()) + 1
    shown = torch.cat([torch.ones(1, m), (torch.rand(59, m, generator=torch.Generator().manual_seed(3)) < 0.5).float()])
    rows = torch.cat([torch.where(row[labels].bool(), x, 0.25) for row in shown])
    scores = model(rows)[:, 0].detach()
    cosine = torch.nn.functional.cosine_similarity(shown, torch.ones(1, m))
    kernel = torch.exp(-((1 - cosine) ** 2) / 0.25**2).sqrt()
    ridge = Ridge(alpha=1).fit(shown.double().numpy(), scores.double().numpy(), kernel.double().numpy())
    torch.testing.assert_close(found.raw[0], torch.tensor(ridge.coef_).float(), rtol=1e-3, atol=1e-4)
    r2 = ridge.score(shown.double().numpy(), scores.double().numpy(), kernel.double().numpy())
    assert found.extra["r2"] == pytest.approx(r2, abs=1e-4)
    assert found.extra["effective_samples"] == pytest.approx(float(kernel.sum() ** 2 / kernel.square().sum()), rel=1e-4)


def shapley(value, m):
    """By the definition: `value` of a frozenset of players."""
    result = torch.zeros(m, dtype=torch.float64)
    for player in range(m):
        others = [other for other in range(m) if other != player]
        for size in range(m):
            share = factorial(size) * factorial(m - size - 1) / factorial(m)
            for group in combinations(others, size):
                result[player] += share * (value({*group, player}) - value(set(group)))
    return result


def test_all_coalitions_give_the_shapley_values():
    model, x = made(Bent)
    found = KernelSHAP("frames", fill=0.25).attribute(model, x, Logit(0))

    def value(group):
        keep = torch.tensor([float(i in group) for i in range(4)])[:, None, None]
        return float(model(x * keep + 0.25 * (1 - keep)).detach())

    torch.testing.assert_close(found.raw[0].double(), shapley(value, 4), rtol=1e-3, atol=1e-4)
    assert found.extra["weights"].shape == (1, 4)


@pytest.mark.parametrize("n", [8, 40, 200])
def test_the_weights_sum_to_the_change_whatever_was_drawn(n):
    model, x = made(Bent)
    found = KernelSHAP("grid", count=16, n=n, fill=0.25).attribute(model, x, Logit(0))
    change = (model(x) - model(torch.full_like(x, 0.25))).detach()[0, 0]
    torch.testing.assert_close(found.values.sum(), change, rtol=1e-4, atol=1e-4)
    assert abs(found.certificate.gap) < 1e-4
    assert any("fewer than" in flag for flag in found.certificate.flags) == (n == 8)


def test_captums_kernel_shap_on_the_same_sample():
    """Captum weighs the two ends by 1e6 where ours hold exactly."""
    model, x = made(Bent)
    explainer = KernelSHAP("grid", count=16, n=60, fill=0.25)
    labels = segmented(x, "grid", count=16)
    m = int(labels.max()) + 1
    drawn = explainer._samples(m)
    rows = torch.cat([drawn[:1], torch.ones(1, m, dtype=torch.bool), drawn[1:]])

    def sample(*_, **__):
        yield from rows[:, None].float()

    theirs = Lime(
        model,
        interpretable_model=SkLearnLinearRegression(),
        similarity_func=KernelShap(model).kernel_shap_similarity_kernel,
        perturb_func=sample,
    )
    values = theirs.attribute(
        x,
        baselines=0.25,
        target=0,
        feature_mask=labels[None, None].expand_as(x),
        n_samples=len(rows),
        return_input_shape=False,
    )
    ours = explainer.attribute(model, x, Logit(0)).raw
    torch.testing.assert_close(ours, values.float(), rtol=1e-2, atol=2e-3)


def test_a_fit_of_few_effective_samples_is_flagged():
    model, x = made()
    few = LIME("grid", count=16, n=200, width=0.02).attribute(model, x, Logit(0))
    assert few.extra["effective_samples"] < 16
    assert any("worth" in flag for flag in few.certificate.flags)
    assert not any("worth" in flag for flag in LIME("grid", count=16).attribute(model, x, Logit(0)).certificate.flags)


@pytest.mark.parametrize(
    "explainer", [LIME("grid", count=16, n=40), KernelSHAP("grid", count=16, n=40), KernelSHAP("frames")]
)
def test_price_and_chunks(explainer):
    model, x = made(Bent)
    with counted_passes(model) as passes:
        values = explainer(model, x, Logit(0))
    price = explainer.price(4, 8, 6)
    assert passes.gradients == price.gradients == 0
    assert passes.forwards <= price.forwards if explainer.segments == "frames" else passes.forwards == price.forwards
    small = type(explainer)(explainer.segments, count=explainer.count, n=explainer.n, chunk=1)
    torch.testing.assert_close(small(model, x, Logit(0)), values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("build", [LIME, KernelSHAP])
def test_clips_of_a_batch_may_have_different_segments(build):
    model, _ = made()
    x = torch.rand(2, 3, 4, 8, 6, generator=torch.Generator().manual_seed(1))
    x[0] = 0.5 + 0.01 * x[0]
    x[0, :, :, 4:] = 0.9
    together = build(count=12, n=40, fill=0.25).attribute(model, x, Logit(0))
    for i in range(2):
        alone = build(count=12, n=40, fill=0.25).attribute(model, x[i : i + 1], Logit(0))
        torch.testing.assert_close(together.values[i], alone.values[0])
        own = together.raw[i][~together.raw[i].isnan()]
        torch.testing.assert_close(own, alone.raw[0])


def test_boxes_of_a_detector(tmp_path):
    model, x = made()
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{"frame": i, "x": i, "y": 1, "w": 3, "h": 4, "track": "a"} for i in range(4)]))
    found = KernelSHAP(boxes=str(path), fill=0.25).attribute(model, x, Logit(0))
    labels = torch.zeros(4, 8, 6, dtype=torch.int64)
    for i in range(4):
        labels[i, 1:5, i : i + 3] = 1
    torch.testing.assert_close(found.raw[0], totals(model, x, labels, 0.25), rtol=1e-3, atol=1e-3)
    assert found.extra["names"] == ("background", "track a")
    assert len(found.extra["digest"]) == 64
    path.write_text('[{"frame": 4}]')
    with counted_passes(model) as passes, pytest.raises(SpecError, match="box 0"):
        LIME(boxes=str(path))(model, x, Logit(0))
    assert passes.forwards == 0


@pytest.mark.parametrize("explainer", [LIME("grid", count=64), KernelSHAP("grid", count=64)])
def test_an_anomaly_is_positive_evidence(explainer):
    class Clean(ReconstructionNetwork):
        def forward(self, x):
            return Reconstruction(torch.full_like(x, 0.5))

    x = torch.full((1, 3, 4, 8, 8), 0.5)
    x[:, :, 1, 2:4, 2:4] = 1
    values = explainer(Clean(), x, SquaredError())
    expected = torch.zeros(1, 4, 8, 8)
    expected[:, 1, 2:4, 2:4] = 0.75  # the whole score, spread over the four pixels
    torch.testing.assert_close(values, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LIME("quickshift"),
        lambda: LIME(width=0),
        lambda: LIME(n=1),
        lambda: KernelSHAP(count=0),
        lambda: KernelSHAP(fill="x"),
        lambda: KernelSHAP(depth=-1),
        # what the boxes, or the frames, decide already
        lambda: LIME(boxes="found.json", segments="grid"),
        lambda: LIME(boxes="found.json", depth=2),
        lambda: KernelSHAP(boxes="found.json", count=40),
        lambda: LIME(segments="frames", count=40),
        lambda: KernelSHAP(segments="frames", depth=2),
    ],
)
def test_settings_without_meaning_are_refused(build):
    with pytest.raises(SpecError):
        build()
