"""Checkpoints of a model's own are kept or refused in words: computed again, they would be seen by no mode."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from vidence.attribution import EXPLAINERS
from vidence.attribution.calls import GradientOn
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit
from zoo import Folded, made


class Checkpointed(Folded):
    """A model that is computed again on the way back."""

    reentrant = False

    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=self.reentrant)


class Reentrant(Checkpointed):
    reentrant = True


@pytest.mark.parametrize("key", ["grad-cam", "integrated-cam", "when-where", "guided-backprop", "fgvis", "gradient"])
def test_checkpointing_changes_no_map(key):
    x, explainer = torch.rand(1, 3, 4, 14, 12), EXPLAINERS[key].quick()
    found = explainer.attribute(made(Checkpointed), x, Logit(0), certify=False)
    torch.testing.assert_close(found.values, explainer.attribute(made(Folded), x, Logit(0), certify=False).values)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("key", ["gradient", "integrated-gradients", "igos"])
def test_checkpoints_that_stop_a_gradient_are_named(key):
    with pytest.raises(ExplainError, match="Build it with use_reentrant=False"):
        EXPLAINERS[key].quick().attribute(made(Reentrant), torch.rand(1, 3, 4, 14, 12), Logit(0), certify=False)


def test_what_a_gradient_needs_may_not_be_written_into_afterwards():
    x = torch.rand(4, requires_grad=True)
    with GradientOn():
        inside = x + 1
        square = inside * inside
        inside += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.sum().backward()
