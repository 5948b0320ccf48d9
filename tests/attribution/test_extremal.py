"""Extremal perturbations find a tube that is known, and what permuted frames do to them."""

import pytest
import torch

from linear_clip import Linear, overlap, tube
from vidence.attribution import ExtremalPerturbation
from vidence.errors import SpecError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes


@pytest.fixture(scope="module")
def clip():
    return torch.rand(1, 3, 8, 24, 24, generator=torch.Generator().manual_seed(0)) / 2 + 0.4


def test_step_recovers_a_tube(clip):
    truth = tube()
    area = float(truth.sum() / (8 * 30 * 30))  # of the clip with its margin of three
    explainer = ExtremalPerturbation(areas=(area,), iterations=150, fill=0.0)
    found = explainer.attribute(Linear(truth), clip, Logit(0), certify=False)
    assert overlap(found.raw[0, 0], truth) > 0.6
    frames = found.values[0].sum(dim=(1, 2))
    assert frames[1:6].min() > 2 * frames[[0, 7]].max()


def test_the_score_may_have_any_size(clip):
    truth = tube()
    explainer = ExtremalPerturbation(areas=(0.05,), iterations=20, fill=0.0)
    small, large = (explainer(Linear(truth * scale), clip, Logit(0)) for scale in (1e-3, 1e3))
    assert torch.allclose(small, large, atol=1e-3)


@pytest.mark.parametrize("variant", ["3d", "step"])
def test_frames_in_another_order_permute_a_3d_mask_and_change_a_core(clip, variant, monkeypatch):
    """The toy minds no order. The chance that breaks ties is made to follow the frames."""
    weight, order = torch.rand(8, 24, 24), torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    explainer = ExtremalPerturbation(variant, areas=(0.1,), iterations=25, rate=0.2, fill=0.0, core_from=0)
    one = explainer.attribute(Linear(weight), clip, Logit(0), certify=False).raw[0, 0]
    drawn, place = torch.randperm, order.argsort()

    def following(size, generator):
        voxel, frame = drawn(size, generator=generator), size // 8
        return place[voxel // frame] * frame + voxel % frame

    monkeypatch.setattr(torch, "randperm", following)
    other = explainer.attribute(Linear(weight[order]), clip[:, :, order], Logit(0), certify=False).raw[0, 0]
    apart = float((one[order] - other).abs().mean() / one.std())
    assert apart < 0.02 if variant == "3d" else apart > 0.1


@pytest.mark.parametrize("mode", ["preserve", "dual"])
def test_chunks_do_not_change_the_masks_and_seeds_do(clip, mode):
    def masks(**settings):
        explainer = ExtremalPerturbation(mode=mode, areas=(0.1, 0.3), iterations=5, rate=0.3, core_from=2, **settings)
        return explainer.attribute(Linear(tube()), clip, Logit(0), certify=False).raw

    assert torch.allclose(masks(), masks(chunk=1), atol=1e-5)
    assert (masks() - masks(seed=1)).abs().max() > 1e-3


@pytest.mark.parametrize(("mode", "rows"), [("preserve", 2), ("delete", 2), ("dual", 4)])
def test_the_price_is_what_is_counted(clip, mode, rows):
    explainer, model = ExtremalPerturbation(mode=mode, areas=(0.1, 0.3), iterations=3), Linear(tube())
    with counted_passes(model) as passes:
        explainer(model, clip, Logit(0))
    price = explainer.price(8, 24, 24)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (3 * rows + 2, 3 * rows)


def test_a_frame_each_has_the_area_in_every_frame(clip):
    explainer = ExtremalPerturbation("2d", areas=(0.2,), iterations=60, fill=0.0)
    frames = explainer.attribute(Linear(tube()), clip, Logit(0), certify=False).raw[0, 0].mean(dim=(1, 2))
    assert frames.min() > 0.5 * frames.max()


@pytest.mark.parametrize(
    "settings", [{"variant": "4d"}, {"mode": "keep"}, {"areas": ()}, {"areas": (1.0,)}, {"rate": 0}, {"core": 0}]
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(SpecError):
        ExtremalPerturbation(**settings)
