"""What every network under training does, as Lightning wants it. Importing this imports Lightning."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import DataError
from vidence.training.schedule import Schedule


class Loader(Protocol):
    """Batches of one epoch; `epoch` and a seed alone decide their order, `steps` is about how many there are."""

    epoch: int

    @property
    def steps(self) -> int:
        """Batches of an epoch. Not `__len__`: Lightning would stop the epoch there."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Lesson(pl.LightningModule):  # type: ignore[misc]
    """A network, its batches and its schedule. `row` holds the measures after each validation.

    `epoch` counts from 1 over all runs of one fit, where Lightning's own count begins anew at each resume.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, batches: Loader, held: Loader, *, seed: int, epoch: int
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.seed, self.epoch = network, schedule, seed, epoch
        self.batches, self.held = batches, held
        self.row: dict[str, float] = {}

    @abstractmethod
    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; each group names its rate at the height of a one-cycle course `full_rate`."""

    def set_mode(self) -> None:
        """Put the network into the mode that it learns in."""
        self.network.train()

    def on_train_epoch_start(self) -> None:
        """Dropout and noise, too, depend on seed and epoch alone."""
        mixed = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        torch.manual_seed(int(mixed[0]) >> 1)
        self.set_mode()

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """One cycle sets the rate of every step from its place in the whole fit, so a resumed fit sees the same."""
        if self.schedule.course == "plateau":
            return
        done = (self.epoch - 1 + index / self.batches.steps) / self.schedule.epochs
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["full_rate"] * self.schedule.share(done)

    def finite(self, loss: Float[Tensor, ""]) -> float:
        """The loss as a number. Raises `DataError` where it is none."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the loss must stay finite; got {value} in epoch {self.epoch}. Lower the learning rate "
                f"(now {self.schedule.rate:g}) or look for damaged clips."
            )
        return value
