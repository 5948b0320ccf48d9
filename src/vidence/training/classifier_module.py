"""A classifier under training. Importing this imports Lightning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.training.examples import Batch, Batches, clip_means, decided
from vidence.training.freezing import set_mode, trunk
from vidence.training.module import Lesson
from vidence.training.schedule import Schedule


class Classifier(Lesson):
    """Weighted cross-entropy of windows; validation counts clips, each the mean of its windows."""

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        batches: Batches,
        held: Batches,
        *,
        classes: int,
        seed: int,
        epoch: int,
    ) -> None:
        super().__init__(network, schedule, batches, held, seed=seed, epoch=epoch)
        self.labels = torch.from_numpy(held.examples.labels)
        counts = np.bincount(batches.examples.labels, minlength=classes).astype(np.float64)
        weights = counts.sum() / (classes * np.maximum(counts, 1)) if schedule.balance else np.ones(classes)
        self.register_buffer("class_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self._train: list[tuple[float, int, int]] = []
        self._val: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Float[Tensor, "n k"]:
        """Logits of features (n, t, f), or of pixels (n, t, c, h, w)."""
        return decided(self.network, x)

    def set_mode(self) -> None:
        """Training mode, less the frozen stages."""
        set_mode(self.network)

    def training_step(self, batch: Batch, index: int) -> Float[Tensor, ""]:
        """Weighted cross-entropy."""
        logits = self(batch.x).float()
        weights: Any = self.class_weights
        loss = F.cross_entropy(logits, batch.label, weights, label_smoothing=self.schedule.smoothing)
        right = int((logits.detach().argmax(dim=1) == batch.label).sum())
        self._train.append((self.finite(loss), right, len(logits)))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Lightning has put the module into eval mode."""
        self._val.clear()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Probabilities of windows, kept until the epoch's end."""
        self._val.append((self(batch.x).float().softmax(dim=1).cpu(), batch.clip.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Clip by clip: the mean of the windows' probabilities is scored."""
        labels = self.labels
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
            "val_loss": self.finite((losses * weights).sum() / weights.sum()),
            "val_accuracy": float((means.argmax(dim=1) == labels).float().mean()),
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the trunk's trained stages learn at their own rate."""
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        slower = {id(parameter) for part in trunk(self.network)[0] for parameter in part.parameters()}
        for parameter in self.network.parameters():
            if parameter.requires_grad:
                groups[id(parameter) in slower].append(parameter)
        rate, slow = self.schedule.rate, self.schedule.rate * self.schedule.finetune_rate
        parts = [
            {"params": groups[learns], "lr": each, "full_rate": each} for learns, each in ((False, rate), (True, slow))
        ]
        chosen = [part for part in parts if part["params"]]
        fused = self.trainer.precision == "32-true"  # else Lightning cannot clip what a fused optimiser unscales
        return torch.optim.AdamW(chosen, weight_decay=self.schedule.decay, fused=fused)
