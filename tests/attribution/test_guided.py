"""Other rules at ReLUs: captum where each ReLU is a module used once, slow twins everywhere else."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Deconvolution
from captum.attr import GuidedBackprop as CaptumGuided
from torch import nn

from vidence.attribution import EXPLAINERS, DeconvNet, Gradient, GuidedBackprop
from vidence.attribution.guided import RectifierCalls
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes
from zoo import Autoencoder, Cnn, Divided, Folded, Mixing, made

METHODS = [GuidedBackprop, DeconvNet]


def plain():
    """Every ReLU a module of its own, as captum needs it."""
    torch.manual_seed(2)
    features = [nn.Conv3d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv3d(4, 5, 3, 2, 1), nn.BatchNorm3d(5), nn.ReLU()]
    head = [nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(40, 6), nn.ReLU(), nn.Linear(6, 3)]
    return nn.Sequential(*features, *head).eval()


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")
@pytest.mark.parametrize(("ours", "theirs"), [(GuidedBackprop, CaptumGuided), (DeconvNet, Deconvolution)])
def test_equals_captum(ours, theirs):
    model, x = plain(), torch.rand(2, 3, 4, 8, 8)
    expected = theirs(model).attribute(x.clone().requires_grad_(), target=1)
    found = ours().attribute(model, x, Logit(1))
    torch.testing.assert_close(found.raw, expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.values, expected.sum(1), rtol=1e-4, atol=1e-6)
    assert all("not decision-faithful" in found.certificate.flags[0] for _ in found.values)


class Way(nn.Module):
    """Two layers, their rectifier written in one of many ways."""

    def __init__(self, rectify):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.one = nn.Parameter(torch.randn(10, 24, generator=generator))
        self.two = nn.Parameter(torch.randn(2, 10, generator=generator))
        self.rectify = rectify

    def forward(self, x):
        return self.rectify(x.flatten(1) @ self.one.T) @ self.two.T


def statement(x):
    x.relu_()  # what it returns is thrown away
    return x


ONE = nn.ReLU()
RELUS = {
    "F.relu": F.relu,
    "in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "method in place": statement,
    "torch.relu_": torch.relu_,
    "module": ONE,
    "module in place": nn.ReLU(inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_": lambda x: x.clamp_(0),
    "clamp_min": lambda x: x.clamp_min(0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, min=0),
    "clip": lambda x: x.clip(min=0),
    "clip_": lambda x: x.clip_(0),
    "torch.clip": lambda x: torch.clip(x, min=0),
    "torch.clip_": lambda x: torch.clip_(x, min=0),
    "on a view": lambda x: torch.cat([x[:, :4].relu_(), x[:, 4:].relu()], 1),
}


def slow(model, x, target, gate, deconv):
    """The signal written out."""
    before = x.flatten(1) @ model.one.T
    signal = model.two[target].clamp(min=0)
    passed = signal if deconv else signal * gate(before)
    return (passed @ model.one).view_as(x).detach()


@pytest.mark.parametrize("rectify", RELUS.values(), ids=RELUS)
@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_writing_a_relu_is_seen(rectify, method):
    model, x = Way(rectify), torch.randn(1, 3, 2, 2, 2)
    expected = slow(model, x, 1, lambda f: (f > 0).float(), method is DeconvNet)
    torch.testing.assert_close(method().attribute(model, x, Logit(1)).raw, expected)


def test_capped_and_leaky_rectifiers():
    x = torch.randn(1, 3, 2, 2, 2)
    for rectify in (F.relu6, nn.ReLU6(inplace=True), lambda x: x.clamp(0, 6)):
        model = Way(rectify)
        expected = slow(model, x * 3, 0, lambda f: ((f > 0) & (f < 6)).float(), False)
        torch.testing.assert_close(GuidedBackprop().attribute(model, x * 3, Logit(0)).raw, expected)
    for rectify in (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2, inplace=True), lambda x: F.leaky_relu(x, 0.2)):
        model = Way(rectify)
        expected = slow(model, x, 0, lambda f: torch.where(f > 0, 1.0, 0.2), False)
        found = GuidedBackprop().attribute(model, x, Logit(0))
        torch.testing.assert_close(found.raw, expected)
        assert any("leaky" in flag for flag in found.certificate.flags)


def test_a_clamp_that_does_not_cut_at_zero_is_left_alone_and_results_do_not_change():
    before = torch.randn(5, 4)
    with RectifierCalls(GuidedBackprop.rule) as calls:
        assert torch.equal(before.clamp(0.1, 0.5), before.clamp(0.1, 0.5))
        assert torch.equal(F.hardtanh(before), before.clamp(-1, 1))
        assert calls.seen == 0
        for after, expected in (
            (F.relu(before), before.clamp(min=0)),
            (F.relu6(before * 9), (before * 9).clamp(0, 6)),
            (F.leaky_relu(before, 0.3), torch.where(before > 0, before, 0.3 * before)),
        ):
            assert torch.equal(after, expected)


def test_where_weights_are_not_negative_the_guided_gradient_is_the_gradient():
    model, x = plain(), torch.rand(1, 3, 4, 8, 8)
    for name, weight in model.named_parameters():
        if weight.ndim > 1 or name.startswith("3"):
            weight.data.abs_()
    expected = Gradient(channels="sum").attribute(model, x, Logit(1)).raw
    torch.testing.assert_close(GuidedBackprop().attribute(model, x, Logit(1)).raw, expected)


def test_deconvnet_does_not_see_which_units_were_on():
    model = Way(F.relu)
    one, two = (DeconvNet().attribute(model, torch.randn(1, 3, 2, 2, 2), Logit(1)).raw for _ in range(2))
    assert torch.equal(one, two)


def test_a_relu_used_three_times_in_place_and_a_recurrent_head():
    found = GuidedBackprop().attribute(made(Cnn), torch.rand(1, 3, 1, 14, 12), Logit(0))
    assert found.raw.abs().max() > 0
    model, x = made(Folded), torch.rand(1, 3, 4, 14, 12)
    with counted_passes(model) as passes:
        GuidedBackprop()(model, x, Logit(0))
    price = GuidedBackprop().price(4, 14, 12)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients) == (1, 1)


@pytest.mark.parametrize("key", ["guided-backprop", "deconvnet", "poly-cam", "fast-cam", "fgvis"])
def test_self_attention_behind_a_convolutional_network_is_no_reason_to_refuse(key):
    found = EXPLAINERS[key].quick().attribute(made(Mixing), torch.rand(1, 3, 5, 14, 12), Logit(0), certify=False)
    assert found.values.any()


def test_refused_without_a_relu():
    with pytest.raises(ExplainError, match=r"the model called none \(GELU has no such rule\)"):
        GuidedBackprop()(made(Divided), torch.rand(1, 3, 5, 14, 12), Logit(0))
    with pytest.raises(ExplainError, match="deconvnet needs a ReLU"):
        DeconvNet()(Way(torch.tanh), torch.rand(1, 3, 2, 2, 2), Logit(0))
    leaky = GuidedBackprop().attribute(made(Autoencoder), torch.rand(1, 3, 2, 14, 12), SquaredError())
    assert any("our extension" in flag for flag in leaky.certificate.flags)


def test_a_scores_own_clamping_is_no_unit():
    model, x = Way(torch.tanh), torch.rand(1, 3, 2, 2, 2)
    with pytest.raises(ExplainError, match="called none"):
        GuidedBackprop()(model, x, lambda output, x: output[:, 0].relu())
