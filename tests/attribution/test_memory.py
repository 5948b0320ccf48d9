"""Nothing of a model's pass outlives an explanation: a held graph would grow with every clip of a long run."""

import contextlib
import gc
import weakref

import pytest
import torch
from torch import nn

from vidence.attribution import EXPLAINERS
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit, SquaredError
from zoo import OF_FAMILY, made


class Watched(nn.Module):
    """A model that remembers, weakly, what it was shown and what it returned."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.seen = []

    def forward(self, x):
        output = self.model(x)
        parts = (output,) if isinstance(output, torch.Tensor) else (output.x_hat,)
        self.seen += [weakref.ref(part) for part in (x, *parts)]
        return output


@pytest.mark.parametrize("family", ["recurrent", "reconstruction"])
@pytest.mark.parametrize("key", EXPLAINERS)
def test_a_pass_is_let_go(key, family):
    model = Watched(made(OF_FAMILY[family]))
    x = torch.rand(1, 3, 5, 14, 12, generator=torch.Generator().manual_seed(0))
    score = SquaredError() if family == "reconstruction" else Logit(0)
    with contextlib.suppress(ExplainError):  # a pair that is refused lets go of its pass too
        EXPLAINERS[key].quick().attribute(model, x, score, certify=False)
    kept = {id(x)}
    gc.collect()
    alive = [tuple(part.shape) for part in (each() for each in model.seen) if part is not None and id(part) not in kept]
    assert not alive
