"""Nothing is left behind, and few files look inside a model."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import vidence.attribution
from vidence.attribution.hooks import frozen, last_convolution, module_at, recorded, replaced
from vidence.errors import ExplainError
from vidence.testing import assert_no_residue


def model():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 1)))
    net[1].eval()
    net[0].weight.requires_grad_(False)
    return net


def test_frozen_is_eval_without_gradients_and_puts_each_flag_back():
    net = model()
    with assert_no_residue(net):
        with frozen(net):
            assert not any(module.training for module in net.modules())
            assert not any(parameter.requires_grad for parameter in net.parameters())
    assert net.training
    assert not net[1].training


@pytest.mark.parametrize(
    "context", [frozen, lambda net: recorded(net, "2.1"), lambda net: replaced(net, "2", lambda output: output)]
)
def test_an_error_inside_reaches_the_caller_and_leaves_nothing(context):
    net = model()
    with pytest.raises(ZeroDivisionError), assert_no_residue(net), context(net):
        net(torch.rand(1, 3, 5, 5) / (1 / 0))


def test_recorded_and_replaced():
    net = model().eval()
    x = torch.rand(1, 3, 5, 5)
    with recorded(net, "0") as outputs, replaced(net, "2", lambda output: output * 2):
        doubled = net(x)
    torch.testing.assert_close(doubled, net(x) * 2)
    torch.testing.assert_close(outputs[0], net[0](x))


def test_layers_are_found_by_path_or_by_an_ending_that_is_unique():
    net = model()
    assert module_at(net, "2.1") is net[2][1]
    wrapped = nn.ModuleDict({"backbone": net})
    assert module_at(wrapped, "2.1") is net[2][1]
    with pytest.raises(ExplainError, match="names 2"):
        module_at(nn.ModuleDict({"a": net, "b": model()}), "2.1")
    assert last_convolution(wrapped) == "backbone.2.1"
    with pytest.raises(ExplainError, match="no convolution"):
        last_convolution(nn.Linear(1, 1))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda net: net.eval(),
        lambda net: net.requires_grad_(False),
        lambda net: setattr(net[0], "parked", torch.ones(1)),
        lambda net: net[0].register_forward_hook(lambda *_: None),
        lambda net: net[0].weight.data.add_(1),
        lambda net: setattr(net[0].bias, "grad", torch.ones(4)),
    ],
)
def test_the_residue_check_sees_what_is_left(spoil):
    net = model()
    with pytest.raises(AssertionError, match="as it was"), assert_no_residue(net):
        spoil(net)


def test_few_files_touch_the_models_inside():
    folder = Path(vidence.attribution.__file__).parent

    def holding(pattern):
        return {path.name for path in folder.rglob("*.py") if re.search(pattern, path.read_text())}

    assert holding(r"register_\w*hook|module\.training = |requires_grad_\(flag|\.train\(|vars\(model\)\[") == {
        "hooks.py"
    }
    assert holding(r"\(TorchFunctionMode") == {"calls.py", "attention_calls.py", "propagation.py"}
    assert not holding(r"\.backward\(")


def test_cudnn_is_off_in_recurrent_layers_alone_and_the_users_settings_stay():
    """Its backward pass of a recurrent layer needs a forward pass in training mode; convolutions need nothing."""
    cudnn, seen = torch.backends.cudnn, []

    def flags():
        return cudnn.enabled, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.GRU(4, 3), nn.Identity())
    for layer in net:
        layer.register_forward_pre_hook(lambda *_: seen.append(flags()))
        layer.forward = partial(called, layer.forward, lambda: seen.append(flags()))
    kept = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = own = (True, True, False)
    try:
        with frozen(net):
            net[:1](torch.rand(1, 2, 4))
            net[1](torch.rand(5, 1, 4))
            assert flags() == (True, *own)
            with pytest.raises(RuntimeError):
                net[1](torch.rand(5, 1, 9))
            assert flags() == (True, *own)
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = kept
    on, off = (True, *own), (False, *own)
    assert seen == [on, on, on, off, on, off]


def called(forward, before, *args):
    before()
    return forward(*args)
