"""What masks show, in which unit scores move, and that breaking off leaves nothing."""

from dataclasses import replace

import pytest
import torch

from linear_clip import Linear
from vidence.attribution import EXPLAINERS
from vidence.attribution.perturb.optimised import MaskedClip, masked, smoothed, variation
from vidence.attribution.progress import heard_by
from vidence.attribution.subject import Subject
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import assert_no_residue
from zoo import Autoencoder, Folded, made

OPTIMISED = ("extremal-perturbation", "fgvis", "igos", "igos++", "meaningful-perturbation", "temporal-mask")


def test_a_mask_mixes_the_two_levels_that_it_lies_between():
    x, weight = torch.rand(1, 3, 2, 4, 5), torch.rand(2, 4, 5)
    levels = torch.rand(4, 3, 2, 4, 5)
    clip = MaskedClip(Subject(Linear(weight), x, Logit(0)), levels)
    for value in (0.0, 0.2, 1 / 3, 0.5, 0.9, 1.0):
        low = min(int(value * 3), 2)
        part = value * 3 - low
        expected = levels[low] * (1 - part) + levels[low + 1] * part
        assert torch.allclose(clip.shown(torch.full((1, 1, 2, 4, 5), value))[0], expected, atol=1e-6)


def test_the_whole_clip_counts_one_and_the_hidden_one_nothing():
    x = torch.rand(1, 3, 2, 8, 8)
    clip = masked(Subject(Linear(torch.rand(2, 8, 8) * 1e4), x, Logit(0)), 0.0)
    assert clip.share(torch.cat([x, torch.zeros_like(x)])).tolist() == pytest.approx([1, 0])
    assert masked(Subject(Linear(torch.rand(2, 8, 8)), x, Logit(1)), 0.0).share(x) == pytest.approx(-1)


def test_a_score_that_hiding_leaves_alone_is_flagged():
    explainer = EXPLAINERS["meaningful-perturbation"](iterations=2)
    found = explainer.attribute(Linear(torch.zeros(2, 8, 8)), torch.rand(1, 3, 2, 8, 8), Logit(0))
    assert "hardly changes the score" in found.certificate.flags[0]


class Quantised(Folded):
    """A model of 8-bit pixels, which no gradient passes."""

    def forward(self, x):
        return super().forward((x * 255).byte() / 255)


@pytest.mark.parametrize("key", OPTIMISED)
def test_a_mask_that_no_gradient_could_steer_is_refused(key):
    with pytest.raises(ExplainError, match=r"none comes back.*occlusion"):
        EXPLAINERS[key].quick().attribute(made(Quantised), torch.rand(1, 3, 5, 14, 12), Logit(0))


def test_an_autoencoder_is_hidden_by_what_it_expects():
    model, x = made(Autoencoder), torch.rand(1, 3, 5, 14, 12)
    with torch.no_grad():
        clip = masked(Subject(model, x, SquaredError()), None, pyramid=True)
        assert torch.allclose(clip.levels[0], model(x).x_hat[0], atol=1e-6)
    assert torch.equal(clip.levels[-1], x[0])


def test_the_pyramid_ends_at_the_clip():
    x = torch.rand(1, 3, 2, 32, 32)
    levels = masked(Subject(Linear(torch.rand(2, 32, 32)), x, Logit(0)), None, pyramid=True).levels
    assert len(levels) == 8
    assert torch.equal(levels[-1], x[0])
    rough = levels.diff(dim=-1).abs().mean(dim=(1, 2, 3, 4))
    assert (rough.diff() > 0).all()


def test_a_gaussian_keeps_the_mean_of_what_it_spreads():
    point = torch.zeros(2, 1, 21, 21)
    point[..., 10, 10] = 1
    spread = smoothed(point, 2.0)
    assert spread.sum(dim=(2, 3)) == pytest.approx(1, abs=1e-5)
    second = (spread[0, 0].sum(dim=0) * (torch.arange(21) - 10.0) ** 2).sum().sqrt()
    assert second == pytest.approx(2.0, rel=0.03)


def test_variation_counts_steps_in_space_and_time():
    mask = torch.zeros(1, 2, 2, 2)
    mask[0, 1, 0] = 0.5  # 4 steps down (one edge a column), 4 across, 4 in time
    assert variation(mask, 2, 3.0) == pytest.approx(2 / 4 * 0.25 + 3 * 2 / 4 * 0.25)
    assert variation(torch.rand(2, 1, 1, 1), 2, 1.0).tolist() == [0, 0]


@pytest.mark.parametrize("key", OPTIMISED)
def test_breaking_off_leaves_nothing(key):
    model, x = made(Folded), torch.rand(1, 3, 5, 14, 12)

    def stop(label, done, total):
        raise KeyboardInterrupt

    with assert_no_residue(model), heard_by(stop), pytest.raises(KeyboardInterrupt):
        EXPLAINERS[key].quick()(model, x, Logit(0))


@pytest.mark.parametrize("key", OPTIMISED)
def test_chunks_do_not_change_the_map(key):
    model, x, explainer = made(Folded), torch.rand(1, 3, 5, 14, 12), EXPLAINERS[key].quick()
    if not hasattr(explainer, "chunk"):
        pytest.skip("one variant at a time")
    whole, chunked = (
        explainer(model, x, Logit(0)),
        type(explainer)(**{**vars(explainer), "chunk": 1})(model, x, Logit(0)),
    )
    assert torch.allclose(whole, chunked, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("key", ["meaningful-perturbation", "igos", "igos++", "extremal-perturbation"])
def test_a_score_that_rises_when_all_is_hidden_has_nothing_to_delete(key):
    explainer, model = replace(EXPLAINERS[key].quick(), fill=0.0), Linear(torch.rand(2, 8, 8))
    for_it, against = (explainer.attribute(model, torch.rand(1, 3, 2, 8, 8), Logit(class_)) for class_ in (0, 1))
    assert "raises the score" in against.certificate.flags[0]
    assert not any("raises" in flag for flag in for_it.certificate.flags)
