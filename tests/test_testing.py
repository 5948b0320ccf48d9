"""What an explanation costs, counted at the model's door."""

import pytest
import torch
from torch import nn

from vidence.testing import assert_no_residue, counted_passes


class Two(nn.Module):
    """Two outputs of one input, given by keyword."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 2)

    def forward(self, *, frames):
        return {"logits": self.one(frames), "size": frames.square().sum(1), "name": "two"}


def test_counts_rows_forward_and_backward():
    model, x = Two(), torch.rand(5, 3)
    with assert_no_residue(model), counted_passes(model) as passes:
        with torch.no_grad():
            model(frames=x[:2])
        assert (passes.forwards, passes.gradients) == (2, 0)
        out = model(frames=x.clone().requires_grad_())
        parameters = [part.requires_grad_(False) for part in model.parameters()]
        (out["logits"].sum() + out["size"].sum()).backward(retain_graph=True)  # one pass, through both outputs
        assert (passes.forwards, passes.gradients) == (7, 5)
        out["size"].sum().backward()
        assert (passes.forwards, passes.gradients) == (7, 10)
        for part in parameters:
            part.requires_grad_()
            part.grad = None
    model(frames=x)
    assert passes.forwards == 7


def test_leaves_nothing_behind_an_error():
    model = Two()
    with pytest.raises(ZeroDivisionError), assert_no_residue(model), counted_passes(model):
        raise ZeroDivisionError
