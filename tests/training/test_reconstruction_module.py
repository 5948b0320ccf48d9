"""A step of the training: what the network is given, and what it is held against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence.errors import DataError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.training.clips import ClipBatches, Footage, as_input
from vidence.training.recipes_normal import NORMAL_RECIPES
from vidence.training.reconstruction_module import Reconstructor


class Watched(ReconstructionNetwork):
    """Gives back what it is given; its penalty is the distance to what the output should be."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Reconstruction:
        self.given.append(x)
        return Reconstruction(x + self.shift)

    def penalty(self, output: Reconstruction, x: Tensor) -> Tensor:
        return (output.x_hat - x).abs().mean()


def test_the_penalty_is_against_the_frames_without_the_noise() -> None:
    footage = Footage([np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)])
    batches = ClipBatches(footage, 4, places=footage.plain(4))
    network, recipe = Watched(), replace(NORMAL_RECIPES["released"], weights=(0.0, 0.0))
    module = Reconstructor(network, recipe.schedule, batches, batches, loss="compound", recipe=recipe, seed=0, epoch=1)
    (pixels,) = batches
    loss = module.training_step(pixels, 0)
    noise = network.given[0] - as_input(pixels)
    assert noise.abs().mean() > 0.01
    torch.testing.assert_close(loss, noise.abs().mean())
    with torch.no_grad():
        module.validation_step(pixels, 0)
    assert torch.equal(network.given[1], as_input(pixels))
    assert module._val == [(0.0, 4)]


def test_an_epoch_whose_last_step_diverged_is_refused() -> None:
    footage = Footage([np.zeros((4, 16, 16, 3), dtype=np.uint8)])
    batches = ClipBatches(footage, 4, places=footage.plain(4))
    network, recipe = Watched(), NORMAL_RECIPES["corrected"]
    module = Reconstructor(network, recipe.schedule, batches, batches, loss="mse", recipe=recipe, seed=0, epoch=2)
    (pixels,) = batches
    with torch.no_grad():
        network.shift.fill_(torch.inf)
        with pytest.raises(DataError, match="finite; got inf in epoch 2"):
            module.validation_step(pixels, 0)
