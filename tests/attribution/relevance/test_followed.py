"""A model of which a part hides from the mode is refused, never half explained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from vidence.attribution.relevance.deep_lift import DeepLIFT
from vidence.attribution.relevance.excitation import ExcitationBackprop
from vidence.attribution.relevance.lrp import LRP
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit
from vidence.testing import counted_passes

FOLLOW = [LRP(), DeepLIFT(baseline="black")]
every = pytest.mark.parametrize("explainer", FOLLOW, ids=lambda it: type(it).__name__)


class Middle(nn.Module):
    """Convolution, what is asked about, linear."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.middle, self.out = nn.Conv3d(3, 4, 2), middle, nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.relu(self.middle(self.conv(x))).mean((2, 3, 4)))


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return v * v

    @staticmethod
    def backward(ctx, given):
        return 2 * ctx.saved_tensors[0] * given


def raw_of(explainer, middle):
    x = torch.rand(1, 3, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return explainer.attribute(Middle(middle), x, Logit(0), certify=False).raw


def through_data(v):
    v = torch.tanh(v)
    v.data.copy_(v * 2)
    return v


def without_gradient(v):
    with torch.inference_mode():
        return torch.tanh(v)


@every
def test_another_score_than_the_models_is_refused(explainer):
    with pytest.raises(ExplainError, match=r"follows another computation than the model's own \(score .* against"):
        raw_of(explainer, through_data)
    with pytest.raises(ExplainError, match="random layers"):
        raw_of(explainer, lambda v: F.dropout(v, 0.5))


def test_excitation_backprop_compares_too():
    with pytest.raises(ExplainError, match=r"follows another computation.* Take lrp"):
        raw_of(ExcitationBackprop(), lambda v: F.dropout(torch.relu(v), 0.5))


@every
def test_the_comparison_is_one_pass_more_and_in_the_price(explainer):
    model, x = Middle(nn.Tanh()), torch.rand(1, 3, 3, 5, 5)
    with counted_passes(model) as passes:
        explainer.attribute(model, x, Logit(0), certify=False)
    price = explainer.price(3, 5, 5)
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)


@every
def test_functions_with_a_gradient_of_their_own_are_refused_by_name(explainer):
    with pytest.raises(ExplainError, match=r"cannot see into Squared, an autograd.Function.* after conv"):
        raw_of(explainer, Squared.apply)
    with pytest.raises(ExplainError, match=r"cannot see into CheckpointFunction"):
        raw_of(explainer, lambda v: checkpoint(torch.tanh, v, use_reentrant=True))


@every
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_by_name(explainer):
    scripted = torch.jit.trace(lambda v: v * torch.sigmoid(v), torch.rand(2))
    with pytest.raises(ExplainError, match=r"cannot see into TorchScript or an extension.* after conv"):
        raw_of(explainer, lambda v: scripted(v))
    with pytest.raises(ExplainError, match=r"cannot see into TorchScript, and middle is"):
        raw_of(explainer, torch.jit.trace(nn.Tanh(), torch.rand(2)))


@every
def test_inference_mode_is_refused(explainer):
    with pytest.raises(ExplainError, match=r"torch\.inference_mode after conv\. Take occlusion"):
        raw_of(explainer, without_gradient)


@every
def test_checkpoints_that_need_no_second_pass_are_seen_through(explainer):
    plain = raw_of(explainer, nn.Sequential(nn.Tanh(), nn.Sigmoid()))
    found = raw_of(explainer, lambda v: checkpoint(lambda a: torch.sigmoid(torch.tanh(a)), v, use_reentrant=False))
    torch.testing.assert_close(found, plain)
