"""Occlusion against the linear model, captum, and itself without caching."""

import pytest
import torch
from captum.attr import FeatureAblation
from captum.attr import Occlusion as CaptumOcclusion
from torch import nn

from vidence.attribution import FrameOcclusion, Occlusion
from vidence.attribution.perturb import boxes, fills, occlusion
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.scoring.scores import PSNR, Logit, SquaredError
from vidence.testing import counted_passes


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 8, 6))

    def forward(self, x):
        return (self.weight * x).sum((1, 2, 3, 4))[:, None] + 2


class Stages(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(3, 4, 3), nn.GRU(4, 5, batch_first=True)

    def encode(self, x):
        return self.conv(x.transpose(1, 2).flatten(0, 1)).relu().mean((2, 3)).unflatten(0, (len(x), -1))

    def decide(self, features):
        return self.rnn(features)[0][:, -1]

    def forward(self, x):
        return self.decide(self.encode(x))


class Whole(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def test_boxes_side_by_side_lose_what_they_held():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(2, 3, 4, 8, 6)
    values = Occlusion(box=(2, 4, 3), stride=(2, 4, 3), fill=0.25)(model, x, Logit(0))
    held = (model.weight.data * (x - 0.25)).sum(1)
    for i, j, k in [(0, 0, 0), (2, 4, 3), (0, 4, 0)]:
        box = (slice(None), slice(i, i + 2), slice(j, j + 4), slice(k, k + 3))
        torch.testing.assert_close(values[box], held[box].sum((1, 2, 3), keepdim=True).expand(2, 2, 4, 3))


def test_overlaps_are_averaged_as_captum_does():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    ours = Occlusion(box=(2, 4, 3), stride=(1, 2, 1), fill=0.0)(model, x, Logit(0))
    theirs = CaptumOcclusion(model).attribute(x, sliding_window_shapes=(3, 2, 4, 3), strides=(3, 1, 2, 1), target=0)
    torch.testing.assert_close(ours, theirs[:, 0].float(), rtol=1e-4, atol=1e-5)


def test_hidden_frames_are_captums_ablated_features():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    ours = FrameOcclusion(fill=0.0)(model, x, Logit(0))
    frames = torch.arange(4)[:, None, None].expand(3, 4, 8, 6)[None]
    theirs = FeatureAblation(model).attribute(x, feature_mask=frames, target=0)
    torch.testing.assert_close(ours, theirs[:, 0].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [8, "all", (1, 2), (1, 2, 0), (1, 2, "full")])
def test_what_is_no_box_is_refused_in_words(sizes):
    for setting in ("box", "stride"):
        with pytest.raises(SpecError, match=rf"{setting} must be (\(frames, rows, columns\)|a sequence \()"):
            Occlusion(**{setting: sizes})


def test_a_box_may_be_a_tube_and_sides_may_be_left_out():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    tube = Occlusion(box=("all", None, 3))(model, x, Logit(0))
    torch.testing.assert_close(tube, Occlusion(box=(4, 2, 3), stride=(4, 1, 2))(model, x, Logit(0)))
    assert torch.equal(tube[:, :1].expand_as(tube), tube)
    frames = Occlusion(box=(1, "all", "all"), fill="median")(model, x, Logit(0))
    torch.testing.assert_close(frames, FrameOcclusion()(model, x, Logit(0)))
    with pytest.raises(SpecError, match="missed"):
        Occlusion(stride=(None, 7, None))(model, x, Logit(0))  # the default box has 2 rows


@pytest.mark.parametrize(
    "explainer", [Occlusion(), Occlusion(box=(1, 3, 6), chunk=2), FrameOcclusion(), FrameOcclusion(length=3)]
)
def test_prices(explainer):
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    with counted_passes(model) as passes:
        explainer(model, x, Logit(0))
    price = explainer.price(4, 8, 6)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


class Smearing(ReconstructionNetwork):
    """Expects of each pixel the mean of its column of three: an anomaly is wrong where it is and beside it."""

    def forward(self, x):
        return Reconstruction(nn.functional.avg_pool3d(x, (1, 3, 1), stride=1, padding=(0, 1, 0)))


def test_effects_are_direct_or_contextual():
    torch.manual_seed(0)
    model, x = Smearing(), torch.rand(1, 3, 2, 4, 4)
    found = Occlusion(box=(1, 2, 2), stride=(1, 2, 2), fill=0.5).attribute(model, x, SquaredError())
    torch.testing.assert_close(found.extra["direct"] + found.extra["contextual"], found.values)
    changed = x.clone()
    changed[:, :, 0, :2, :2] = 0.5
    before, after = (SquaredError().density(model(each), each)[0] for each in (x, changed))
    torch.testing.assert_close(found.extra["direct"][0, 0, 0, 0], (before - after)[0, :2, :2].sum())
    torch.testing.assert_close(found.values[0, 0, 0, 0], (before - after).sum())
    assert float(found.extra["contextual"].abs().max()) > 0
    assert "direct" not in Occlusion().attribute(model, x, PSNR()).extra  # its density is of another quantity
    assert "direct" not in Occlusion().attribute(Linear(), torch.rand(1, 3, 4, 8, 6), Logit(0)).extra


def test_an_autoencoders_boxes_show_what_it_expected():
    x = torch.full((1, 3, 4, 8, 8), 0.5)
    x[:, :, 1, 2:4, 2:4] = 1

    class Clean(ReconstructionNetwork):
        def forward(self, x):
            return Reconstruction(torch.full_like(x, 0.5))

    values = Occlusion(box=(1, 2, 2), stride=(1, 2, 2))(Clean(), x, SquaredError())
    expected = torch.zeros(1, 4, 8, 8)
    expected[:, 1, 2:4, 2:4] = 3 * 4 * 0.25  # the whole score: positive where the anomaly is
    torch.testing.assert_close(values, expected)


def test_the_last_box_reaches_the_end():
    assert occlusion._starts(10, 4, 3) == [0, 3, 6]
    assert occlusion._starts(11, 4, 3) == [0, 3, 6, 7]
    assert occlusion._starts(3, 3, 2) == [0]


@pytest.mark.parametrize("explainer", [Occlusion(box=(2, 4, 3)), Occlusion(fill="blur"), FrameOcclusion(length=3)])
def test_two_stage_models_are_explained_alike_at_less_price(explainer):
    torch.manual_seed(0)
    model, x = Stages().eval(), torch.rand(1, 3, 7, 8, 6)
    torch.testing.assert_close(explainer(model, x, Logit(1)), explainer(Whole(model), x, Logit(1)))
    seen = []
    model.conv.register_forward_hook(lambda m, a, out: seen.append(len(out)))
    Occlusion(box=(1, 8, 6), stride=(1, 8, 6))(model, x, Logit(1))
    assert sum(seen) == 14  # the clip once, and each frame once


def test_small_chunks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    model, x = Whole(Stages().eval()), torch.rand(1, 3, 5, 8, 6)
    at_once = Occlusion(box=(2, 4, 3))(model, x, Logit(1))
    monkeypatch.setattr(boxes, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(Occlusion(box=(2, 4, 3))(model, x, Logit(1)), at_once)


def test_frames_of_a_linear_model():
    torch.manual_seed(0)
    model, x = Linear(), torch.rand(1, 3, 4, 8, 6)
    values = FrameOcclusion(fill=0.5).attribute(model, x, Logit(0)).values
    torch.testing.assert_close(values[0, :, 0, 0], (model.weight.data * (x[0] - 0.5)).sum((0, 2, 3)))
    runs = FrameOcclusion(length=2, fill=0.5).attribute(model, x, Logit(0))
    torch.testing.assert_close(runs.values[0, 1, 0, 0], runs.raw[0, :2].mean())


def test_fills():
    x = torch.zeros(1, 1, 5, 9, 9)
    x[:, :, 2] = 1
    assert fills.filled_with(x, "mean").unique().item() == pytest.approx(0.2)
    assert not fills.filled_with(x, "median").any()
    assert torch.equal(fills.filled_with(x, "blur")[:, :, 2], torch.ones(1, 1, 9, 9))
    assert fills.filled_with(x[:, :, 2:3], "median").unique().item() == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: Occlusion(box=(0, 2, 2)),
        lambda: Occlusion(box=(2, 2)),
        lambda: Occlusion(box=("whole", 2, 2)),
        lambda: Occlusion(box=(2, 2, 2), stride=(3, 2, 2)),
        lambda: Occlusion(fill="grey"),
        lambda: FrameOcclusion(length=0),
        lambda: FrameOcclusion(fill="noise"),
    ],
)
def test_settings_without_meaning_are_refused(build):
    with pytest.raises(SpecError):
        build()
