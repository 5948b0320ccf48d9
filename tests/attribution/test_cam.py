"""Grad-CAM against its definition, closed forms and captum."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from vidence.attribution import GradCAM
from vidence.attribution.calls import ConvolutionCalls, Leaves
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit, pinned


class Net(nn.Module):
    """Two convolutions a frame, then GRU or the mean over time."""

    def __init__(self, rnn=True):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 1, 1)
        self.rnn = nn.GRU(6, 5, batch_first=True) if rnn else None
        self.out = nn.Linear(5 if rnn else 6, 3)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        n = len(x)
        maps = self.two(self.one(x.transpose(1, 2).flatten(0, 1)).relu()).relu()
        features = maps.mean((2, 3)).unflatten(0, (n, -1))
        return self.out(features.mean(1) if self.rnn is None else self.rnn(features)[0][:, -1])


def made(**settings):
    torch.manual_seed(0)
    return Net(**settings).eval(), torch.rand(2, 3, 4, 12, 10)


def by_hand(model, x, score):
    """All of it in the open: A, d score / d A, mean over space, weighted sum."""
    maps = model.two(model.one(x.transpose(1, 2).flatten(0, 1)).relu()).relu().detach().requires_grad_()
    features = maps.mean((2, 3)).unflatten(0, (len(x), -1))
    output = model.out(model.rnn(features)[0][:, -1])
    gradient = torch.autograd.grad(score(output, x).sum(), maps)[0]
    return (gradient.mean((2, 3), keepdim=True) * maps).sum(1).unflatten(0, (len(x), -1)).detach()


def test_equals_the_definition_through_the_recurrent_layer():
    model, x = made()
    torch.testing.assert_close(GradCAM().attribute(model, x, Logit(2)).values, by_hand(model, x, Logit(2)))


def test_is_cam_over_the_number_of_places_for_pooling_and_a_linear_layer():
    model, x = made(rnn=False)
    maps = model.two(model.one(x[:1].transpose(1, 2).flatten(0, 1)).relu()).relu()
    cam = torch.einsum("k,tkhw->thw", model.out.weight[1], maps) / maps[:, 0].numel()
    torch.testing.assert_close(GradCAM().attribute(model, x[:1], Logit(1)).values[0], cam.detach())


def test_shared_weights_are_the_mean_over_frames():
    model, x = made()
    one = GradCAM(weights="shared").attribute(model, x[:1], Logit(0))
    frames = GradCAM().attribute(model, x[:1], Logit(0))
    alpha = frames.raw / one.raw
    ratios = alpha[0, :, :, 0, 0]  # alpha_{t,k} / alpha_k: their mean over frames is one
    torch.testing.assert_close(
        ratios.nanmean(0)[~ratios.isnan().any(0)], torch.ones_like(ratios[0])[~ratios.isnan().any(0)]
    )


def test_agrees_with_captum_at_an_inner_layer():
    model, x = made()
    theirs = LayerGradCam(lambda x: model(x), model.one).attribute(x[:1], target=1)  # (t, 1, h, w), no ReLU
    ours = GradCAM(layer="one").attribute(model, x[:1], Logit(1))
    torch.testing.assert_close(ours.values[0], theirs[:, 0].detach())
    assert ours.layer == "one"


def test_frame_local_ignores_the_recurrent_layer():
    model, x = made()
    before = GradCAM(weights="frame_local").attribute(model, x, Logit(0)).values
    nn.init.zeros_(model.rnn.weight_ih_l0)
    torch.testing.assert_close(GradCAM(weights="frame_local").attribute(model, x, Logit(1)).values, before)
    assert not torch.equal(GradCAM().attribute(model, x, Logit(1)).values, before)


def test_a_constant_added_to_all_logits_changes_nothing():
    model, x = made()
    before = GradCAM()(model, x, Logit(1))
    model.out.bias.data += 7
    torch.testing.assert_close(GradCAM()(model, x, Logit(1)), before)


def test_one_forward_pass_and_none_of_the_backbone_is_differentiated():
    model, x = made()
    GradCAM()(model, x[:1], Logit(1))
    assert model.passes == 1
    asked = []
    model.one.register_forward_hook(lambda m, a, out: asked.append(out.requires_grad))
    GradCAM()(model, x[:1], Logit(1))
    assert asked == [False]


def test_a_score_pinned_on_the_batch_is_right_for_each_clip():
    model, x = made()
    score = pinned(Logit(), model(x), x)
    classes = model(x).argmax(1).tolist()
    each = [GradCAM()(model, x[i : i + 1], Logit(c)) for i, c in enumerate(classes)]
    torch.testing.assert_close(GradCAM()(model, x, score), torch.cat(each))
    torch.testing.assert_close(GradCAM()(model, x, Logit()), torch.cat(each))


@pytest.mark.parametrize(
    ("explainer", "message"),
    [
        (GradCAM(layer="nowhere"), "names none"),
        (GradCAM(layer="rnn"), "must return maps"),
        (GradCAM(layer="out"), "maps"),
    ],
)
def test_a_layer_that_cannot_serve_is_refused(explainer, message):
    model, x = made()
    with pytest.raises(ExplainError, match=message):
        explainer(model, x, Logit(0))


def test_a_model_without_convolutions_is_refused():
    class Flat(nn.Module):
        def forward(self, x):
            return x.mean((2, 3, 4))

    with pytest.raises(ExplainError, match="needs a convolution"):
        GradCAM()(Flat(), torch.rand(1, 3, 2, 4, 4), Logit(0))
    with pytest.raises(SpecError, match="weights must be"):
        GradCAM(weights="global")


def test_a_cut_graph_is_said():
    model, x = made()
    found = GradCAM().attribute(model, x[:1], lambda output, x: output.detach()[:, 0])
    assert "does not depend" in found.certificate.flags[0]
    assert not found.values.any()


def test_the_guess_of_the_last_convolution_is_checked():
    model, x = made()
    calls = ConvolutionCalls(model, Leaves(1))
    with calls:
        model.one(x[:, :, 0])
    assert not calls.right
    assert calls.last == "one.weight"
