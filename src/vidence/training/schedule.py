"""How a detector is fitted: a value, so that it can be written down with the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidence.errors import SpecError


@dataclass(frozen=True)
class Schedule:
    """Settings of one fit.

    `rate` learning rate and `decay` weight decay of AdamW; `patience` epochs without a better validation loss end
    the fit and the best epoch's weights are kept (None: all epochs run, the last weights are kept); after `plateau`
    such epochs the rate is multiplied by `factor`. `finetune` last stages of the backbone are trained too, at
    `finetune_rate` times the rate (None: all or none of it, as the detector's setting `frozen` says). `views`
    augmented versions of each clip. `balance` weighs classes by 1 / frequency.
    """

    epochs: int = 60
    batch: int = 16
    rate: float = 1e-3
    decay: float = 1e-2
    patience: int | None = 12
    plateau: int = 4
    factor: float = 0.5
    smoothing: float = 0.0
    finetune: int | Literal["all"] | None = None
    finetune_rate: float = 0.1
    views: int = 0
    balance: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.views < 0 or self.plateau < 0:
            raise SpecError(
                "a schedule needs epochs, batch >= 1 and views, plateau >= 0; got "
                f"{self.epochs}, {self.batch}, {self.views}, {self.plateau}."
            )
        if not (self.rate > 0 and self.decay >= 0 and 0 < self.factor < 1 and 0 <= self.smoothing < 1):
            raise SpecError(
                "a schedule needs rate > 0, decay >= 0, 0 < factor < 1, 0 <= smoothing < 1; got "
                f"{self.rate}, {self.decay}, {self.factor}, {self.smoothing}."
            )
        if self.patience is not None and self.patience < 1:
            raise SpecError(f"patience must be at least one epoch, or None; got {self.patience}.")
        if self.finetune not in ("all", None) and (not isinstance(self.finetune, int) or self.finetune < 0):
            raise SpecError(f"finetune must be a number of stages or 'all'; got {self.finetune!r}.")
