"""A reconstructing or predicting network under training. Importing this imports Lightning."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.models.reconstruction_detector import Loss
from vidence.training.clips import ClipBatches, as_input
from vidence.training.losses import reconstruction_loss
from vidence.training.module import Lesson
from vidence.training.recipes_normal import NormalRecipe
from vidence.training.schedule import Schedule


class Reconstructor(Lesson):
    """Learns to reconstruct clips, from noisy ones where the recipe says so. Losses are means over clips' frames."""

    def __init__(
        self,
        network: ReconstructionNetwork,
        schedule: Schedule,
        batches: ClipBatches,
        held: ClipBatches,
        *,
        loss: Loss,
        recipe: NormalRecipe,
        seed: int,
        epoch: int,
    ) -> None:
        super().__init__(network, schedule, batches, held, seed=seed, epoch=epoch)
        self.loss, self.recipe = loss, recipe
        self._train: list[tuple[float, int]] = []
        self._val: list[tuple[float, int]] = []

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """The network's output."""
        return self.network(x)

    def training_step(self, batch: UInt8[Tensor, "n t h w c"], index: int) -> Float[Tensor, ""]:
        """The loss against the clean frames, and the network's penalty, which knows them alone."""
        x = as_input(batch)
        loss = self._loss(self.recipe.noised(x), x)
        self._train.append((self.finite(loss), batch.shape[0] * batch.shape[1]))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Lightning has put the module into eval mode."""
        self._val.clear()

    def validation_step(self, batch: UInt8[Tensor, "n t h w c"], index: int) -> None:
        """The same loss of clean clips; the last step of an epoch shows here alone."""
        x = as_input(batch)
        self._val.append((self.finite(self._loss(x, x)), batch.shape[0] * batch.shape[1]))

    def on_validation_epoch_end(self) -> None:
        """Means over frames."""
        self.row = {"epoch": self.epoch, "train_loss": _mean(self._train), "val_loss": _mean(self._val)}
        self._train.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; weight decay is the L2 term of the loss's gradient."""
        learning = [each for each in self.network.parameters() if each.requires_grad]
        group = {"params": learning, "lr": self.schedule.rate, "full_rate": self.schedule.rate}
        return torch.optim.Adam([group], weight_decay=self.schedule.decay, fused=True)

    def _loss(self, given: Tensor, x: Tensor) -> Float[Tensor, ""]:
        network: Any = self.network
        output = network(given)
        penalty = network.penalty(output, x)
        if not network.reconstructs:
            return penalty
        return reconstruction_loss(output, x, self.loss, weights=self.recipe.weights) + penalty


def _mean(parts: list[tuple[float, int]]) -> float:
    return sum(value * count for value, count in parts) / sum(count for _, count in parts)
