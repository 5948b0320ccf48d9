"""A network under training, as Lightning wants it. Importing this imports Lightning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import DataError
from vidence.training.examples import Batch, Examples, clip_means, decided
from vidence.training.freezing import set_mode
from vidence.training.schedule import Schedule


class Batches:
    """Lightning's loader. With a seed the order is drawn from seed and epoch alone: a resumed fit sees the same."""

    def __init__(self, examples: Examples, size: int, *, seed: int | None = None, epoch: int = 1) -> None:
        self.examples, self.size, self.seed, self.epoch = examples, size, seed, epoch

    @property
    def steps(self) -> int:
        """Batches of an epoch without views (a drawn view may cut a source into one window more or less).

        Not `__len__`: Lightning would stop the epoch there.
        """
        return -(-sum(len(entry.x) for entry in self.examples.entries[0]) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        order = None if self.seed is None else np.random.default_rng([self.seed, self.epoch])
        return self.examples.batches(self.size, order=order)


class Classifier(pl.LightningModule):  # type: ignore[misc]
    """Loss, optimiser and the measures of an epoch. `row` holds the measures after each validation.

    `epoch` counts from 1 over all runs of one fit, where Lightning's own count begins anew at each resume.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, batches: Batches, val: Examples, *, classes: int, epoch: int
    ) -> None:
        super().__init__()
        self.network, self.schedule, self.batches, self.val, self.epoch = network, schedule, batches, val, epoch
        counts = np.bincount(batches.examples.labels, minlength=classes).astype(np.float64)
        weights = counts.sum() / (classes * np.maximum(counts, 1)) if schedule.balance else np.ones(classes)
        self.register_buffer("class_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.row: dict[str, float] = {}
        self._train: list[tuple[float, int, int]] = []
        self._val: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Float[Tensor, "n k"]:
        """Logits of features (n, t, f), or of pixels (n, t, c, h, w)."""
        return decided(self.network, x)

    def on_train_epoch_start(self) -> None:
        """Dropout, too, depends on seed and epoch alone."""
        mixed = np.random.SeedSequence([self.batches.seed or 0, self.epoch]).generate_state(1, np.uint64)
        torch.manual_seed(int(mixed[0]) >> 1)
        set_mode(self.network)

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """One cycle sets the rate of every step from its place in the whole fit, so a resumed fit sees the same."""
        if self.schedule.course == "plateau":
            return
        done = (self.epoch - 1 + index / self.batches.steps) / self.schedule.epochs
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["full_rate"] * self.schedule.share(done)

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """Weighted cross-entropy."""
        logits = self(batch.x).float()
        weights: Any = self.class_weights
        loss = F.cross_entropy(logits, batch.label, weights, label_smoothing=self.schedule.smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the loss must stay finite; got {value} in epoch {self.epoch}. Lower the learning rate "
                f"(now {self.schedule.rate:g}) or look for damaged clips."
            )
        right = int((logits.detach().argmax(dim=1) == batch.label).sum())
        self._train.append((value, right, len(logits)))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Lightning has put the module into eval mode."""
        self._val.clear()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Probabilities of windows, kept until the epoch's end."""
        self._val.append((self(batch.x).float().softmax(dim=1).cpu(), batch.clip.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Clip by clip: the mean of the windows' probabilities is scored."""
        labels = torch.from_numpy(self.val.labels)
        windows, clip = (torch.cat(parts) for parts in zip(*self._val, strict=True))
        means = clip_means(windows, clip, len(labels))
        losses = -means[torch.arange(len(labels)), labels].clamp_min(1e-7).log()
        weights: Any = self.class_weights.cpu()[labels]
        loss, right, n = (sum(part) for part in zip(*((a * c, b, c) for a, b, c in self._train), strict=True))
        self._train.clear()
        self.row = {
            "epoch": self.epoch,
            "train_loss": loss / n,
            "train_accuracy": right / n,
            "val_loss": float((losses * weights).sum() / weights.sum()),
            "val_accuracy": float((means.argmax(dim=1) == labels).float().mean()),
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the backbone's trained stages learn more slowly."""
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups[name.startswith("backbone.")].append(parameter)
        rate, slow = self.schedule.rate, self.schedule.rate * self.schedule.finetune_rate
        parts = [
            {"params": groups[learns], "lr": each, "full_rate": each} for learns, each in ((False, rate), (True, slow))
        ]
        chosen = [part for part in parts if part["params"]]
        fused = self.trainer.precision == "32-true"  # else Lightning cannot clip what a fused optimiser unscales
        return torch.optim.AdamW(chosen, weight_decay=self.schedule.decay, fused=fused)
