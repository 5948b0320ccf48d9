"""What an explanation costs, counted at the model's door."""

import pytest
import torch
from torch import nn

from vidence.attribution.explainer import Attributions
from vidence.attribution.gradient import InputXGradient
from vidence.testing import assert_no_residue, check_explainer, counted_passes
from zoo import Folded, made


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


class Bottom(InputXGradient):
    """What goes with its map is not the clip's own, or has no row of its own for each clip."""

    def __init__(self, wrong):
        super().__init__()
        object.__setattr__(self, "wrong", wrong)
        object.__setattr__(self, "calls", [])

    def explain_clip(self, model, x, score):
        self.calls.append(1)
        found = super().explain_clip(model, x, score)
        extra = {"own": x.mean((1, 2, 3, 4)), **self.wrong(len(self.calls))}
        return Attributions(found.values, certificate=found.certificate, extra=extra)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda calls: {}, None),
        (lambda calls: {"channels": torch.arange(5)}, "'channels'.*one row a clip"),
        (lambda calls: {"calls": torch.tensor([[1.0, float(calls)]])}, "'calls'.*its clips give alone"),
    ],
)
def test_what_goes_with_a_map_is_the_clips_own(wrong, said):
    explainer, model, x = Bottom(wrong), made(Folded), torch.rand(2, 3, 4, 14, 12)
    if said is None:
        check_explainer(explainer, model, x)
        return
    with pytest.raises(AssertionError, match=said):
        check_explainer(explainer, model, x)
