"""CAM and saliency tubes: the classifier's weights, their exact sum, and every head that they refuse."""

import pytest
import torch
from torch import nn

from vidence.attribution import CAM, GradCAM, SaliencyTubes
from vidence.errors import ExplainError
from vidence.scoring.scores import Contrast, Logit, Probability, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, BackToFront, Folded, Functional, TwoStages, Volume, made


def clip(t=4):
    return torch.rand(1, 3, t, 14, 12, generator=torch.Generator().manual_seed(1))


class Headed(nn.Module):
    """Two 3-D convolutions and any head on (n, k, t, h, w)."""

    def __init__(self, head):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.ReLU(), nn.Conv3d(4, 5, 3, 1, 1), nn.ReLU())
        self.head = head

    def forward(self, x):
        return self.head(self.net(x))


def test_is_the_classs_weights_times_the_channels():
    model, x = made(Volume).eval(), clip()
    maps = model.net(x)[0].detach()  # (k, s, h, w): 4 frames are 2 map cells
    expected = torch.einsum("k,kshw->shw", model.out.weight[2].detach(), maps)
    torch.testing.assert_close(CAM().attribute(model, x, Logit(2)).raw[0].sum(1), expected)


@pytest.mark.parametrize("build", [Volume, BackToFront])  # 3-D, and frame by frame with a mean over time
@pytest.mark.parametrize("score", [Logit(1), Contrast(0, 2)])
def test_the_mean_over_places_is_the_score_without_the_bias(build, score):
    model, x = made(build).eval(), clip()
    found = CAM().attribute(model, x, score)
    logits, bias = model(x), model.out.bias.detach()
    total = score.pin(logits, x)(logits, x).detach()
    torch.testing.assert_close(found.raw.sum(2).mean((1, 2, 3)) + found.extra["bias"], total)
    expected = bias[1] if isinstance(score, Logit) else bias[0] - bias[2]
    torch.testing.assert_close(found.extra["bias"][0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.values.mean((1, 2, 3)) + expected, total)  # twice the frames keep the mean


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(5, 3)),
        nn.Sequential(nn.AvgPool3d((4, 7, 6)), nn.Conv3d(5, 3, 1), nn.Flatten()),  # the dense layer is a convolution
        nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.BatchNorm1d(5), nn.Linear(5, 4), nn.Linear(4, 3)),
    ],
)
def test_heads_that_are_linear_are_known_however_they_are_written(head):
    model, x = Headed(head).eval(), clip()
    cam, grad = CAM().attribute(model, x, Logit(1)), GradCAM(weights="shared").attribute(model, x, Logit(1))
    torch.testing.assert_close(cam.values, grad.values * 4 * 7 * 6)


@pytest.mark.parametrize(
    ("head", "score", "reason"),
    [
        (nn.Sequential(nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(5, 3)), Logit(0), "AdaptiveMaxPool3D"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5 * 4 * 42, 3)), Logit(0), "weights its places"),
        (nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 3)), Probability(0), "Softmax"),
        (
            nn.Sequential(
                nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)
            ),
            Logit(0),
            "Relu",  # its gradient is the same at all places, and its sum could come out right
        ),
    ],
)
def test_what_is_not_pooling_and_one_linear_layer_is_refused(head, score, reason):
    for explainer in (CAM(), SaliencyTubes()):
        with pytest.raises(ExplainError, match=f"{reason}.*grad-cam"):
            explainer(Headed(head).eval(), clip(), score)


def test_a_pooled_map_multiplied_by_itself_is_refused():
    class Squared(nn.Module):
        def forward(self, maps):
            return maps.mean((2, 3, 4)) * maps.mean((2, 3, 4))

    with pytest.raises(ExplainError, match="Mul"):
        CAM()(Headed(Squared()).eval(), clip(), Logit(0))


class Branches(Headed):
    """A second branch joins the first before or after both are pooled."""

    def __init__(self, join):
        super().__init__(nn.Linear(10 if join in ("cat", "late") else 5, 3))
        self.side, self.join = nn.Conv3d(3, 5, 3, (1, 2, 2), 1), join

    def forward(self, x):
        side, main = self.side(x).relu(), self.net(x)
        if self.join == "late":
            return self.head(torch.cat([side.mean((2, 3, 4)), main.mean((2, 3, 4))], 1))
        maps = torch.cat([side, main], 1) if self.join == "cat" else (main + side).relu()
        return self.head(maps.mean((2, 3, 4)))


@pytest.mark.parametrize(("join", "channels"), [("cat", 10), ("sum", 5)])
def test_branches_that_join_before_the_pooling_are_taken_together(join, channels):
    model, x = Branches(join).eval(), clip()
    found = CAM().attribute(model, x, Logit(1))
    assert found.raw.shape[2] == channels
    torch.testing.assert_close(found.extra["bias"][0], model.head.bias[1].detach(), atol=1e-5, rtol=1e-4)


def test_a_branch_that_goes_past_the_layer_is_seen():
    with pytest.raises(ExplainError, match="by on another branch"):
        CAM()(Branches("late").eval(), clip(), Logit(1))


@pytest.mark.parametrize("build", [Folded, TwoStages, Functional, Autoencoder])
@pytest.mark.parametrize("explainer", [CAM(), SaliencyTubes()])
def test_models_without_class_weights_are_refused(explainer, build):
    model = made(build)
    score = SquaredError() if build is Autoencoder else Logit(0)
    with pytest.raises(ExplainError, match="grad-cam"):
        explainer(model, clip(), score)
    if build is not Functional:
        assert explainer.refusal(model, clip(), score)  # before anything is computed


def test_tubes_are_drawn_to_the_clips_size_and_keep_what_is_flat():
    model, x = made(Volume).eval(), clip()
    cam, tubes = CAM().attribute(model, x, Logit(1)), SaliencyTubes().attribute(model, x, Logit(1))
    assert tubes.values.shape == (1, 4, 14, 12)
    torch.testing.assert_close(tubes.raw, cam.raw)
    assert tubes.values.min() < 0  # no ReLU
    marked = type("Marked", (), {"leaves": [torch.zeros(1, 1, 2, 3, 3)], "layer": "net.3"})()
    flat = SaliencyTubes().shown(torch.full((2, 3, 3), 0.7), marked, x)
    torch.testing.assert_close(flat, torch.full((4, 14, 12), 0.7))
    ramp = torch.arange(6.0)[:, None, None].expand(6, 3, 3)
    long = SaliencyTubes().shown(ramp, marked, torch.rand(1, 3, 12, 6, 6))  # cubic convolution keeps straight lines
    torch.testing.assert_close(long[4:8, 2, 2], torch.tensor([1.75, 2.25, 2.75, 3.25]))


def test_tubes_need_a_convolution_in_time():
    with pytest.raises(ExplainError, match=r"3-D convolution.*Use cam"):
        SaliencyTubes()(made(BackToFront), clip(), Logit(0))


@pytest.mark.parametrize("explainer", [CAM(), SaliencyTubes()])
def test_one_pass(explainer):
    model = made(Volume)
    with counted_passes(model) as passes:
        explainer(model, clip(), Logit(0))
    price = explainer.price(4, 14, 12, 5)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1, 1)
