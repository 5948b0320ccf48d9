"""Nothing is left behind, and few files look inside a model."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import vidence
import vidence.attribution
from vidence.attribution import EXPLAINERS, GradCAM
from vidence.attribution.hooks import frozen, last_convolution, module_at, recorded, replaced
from vidence.errors import ExplainError
from vidence.models.evaluating import evaluating
from vidence.scoring.scores import Logit
from vidence.testing import assert_no_residue
from zoo import Folded, TwoStages, made

X = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))


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
    watching = {"calls.py", "attention_calls.py", "recurrent_calls.py", "propagation.py", "guided.py", "fgvis.py"}
    assert holding(r"\((TorchFunctionMode|GradientOn)\b") == watching
    assert not holding(r"\.backward\(")


def test_recurrent_layers_compute_what_they_do_in_eval_mode_and_cudnn_is_never_turned_off():
    """cuDNN's backward pass needs a forward pass in training mode; the switch is the process's, scoring has it, too."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"rnn": nn.LSTM(4, 3, 2, dropout=0.9), "drop": nn.Dropout(0.9), "bent": Bent(4, 3)}).eval()
    x, seen = torch.rand(5, 2, 4), []
    before = net["rnn"](x)[0]
    for layer in net.values():
        layer.register_forward_pre_hook(lambda layer, _: seen.append((layer.training, torch.backends.cudnn.enabled)))
    with assert_no_residue(net), frozen(net):
        torch.testing.assert_close(net["rnn"](x)[0], before, rtol=0, atol=0)
        torch.testing.assert_close(net["drop"](x), x, rtol=0, atol=0)
        net["bent"](x)
        with pytest.raises(RuntimeError):
            net["rnn"](torch.rand(5, 2, 9))
    assert seen == [(True, True), (False, True), (False, True), (True, True)]


class Bent(nn.GRU):
    """A layer whose own forward may do anything in training mode."""

    def forward(self, x):
        return super().forward(x.square() if self.training else x)


def test_float32_is_float32_while_a_model_is_looked_at_and_looks_that_overlap_leave_the_switches():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def precisions():
        return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision, cudnn.allow_tf32

    before = precisions()
    assert before[-1]  # as torch has it: convolutions lose 13 bits
    one, other = frozen(model()), evaluating(model())
    for look in (one, other):
        look.__enter__()
        assert not {"tf32", True} & set(precisions())
        with cudnn.flags(enabled=False):  # as a model of the user's may
            assert not cudnn.enabled
    one.__exit__(None, None, None)
    assert not {"tf32", True} & set(precisions())  # the other one still looks
    other.__exit__(None, None, None)
    assert precisions() == before


def test_a_model_built_in_inference_mode_is_refused_in_words_and_left_as_it_was():
    with torch.inference_mode():
        model = made(Folded)
    with assert_no_residue(model), pytest.raises(ExplainError, match="Inference tensors"):
        GradCAM().attribute(model, X, Logit(0))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_is_compiled_is_explained_as_it_was_written():
    plain, whole, part = made(Folded), made(Folded), made(Folded)
    expected = vidence.explain(plain, X, score=0)
    part.cnn.maps = torch.compile(part.cnn.maps, backend="eager")
    for compiled in (torch.compile(whole, backend="eager"), part):
        with assert_no_residue(compiled):
            found = vidence.explain(compiled, X, score=0)
        torch.testing.assert_close(found.values, expected.values)
        assert found.layer == expected.layer
        assert found.certificate.flags == expected.certificate.flags


def normalising(kind, inplace):
    """A model of the zoo that normalises the clip first."""

    class Normalising(kind):
        def features(self, x):
            return super().features(x.sub_(0.4).div_(0.2) if inplace else (x - 0.4) / 0.2)

    return made(Normalising)


@pytest.mark.parametrize("kind", [Folded, TwoStages])
@pytest.mark.parametrize(
    "key", ["occlusion", "frame-occlusion", "temporal-mask", "when-where", "gradient", "deep-lift"]
)
def test_a_model_that_writes_into_its_input_is_explained_as_one_that_does_not(kind, key):
    x, explainer = X.clone(), EXPLAINERS[key].quick()
    found = vidence.explain(normalising(kind, True), x, explainer=explainer, score=0)
    meant = vidence.explain(normalising(kind, False), X, explainer=explainer, score=0)
    torch.testing.assert_close(found.values, meant.values)
    assert found.certificate == meant.certificate
    torch.testing.assert_close(x, X, rtol=0, atol=0)
