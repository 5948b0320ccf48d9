"""How a detector is fitted: a value, so that it can be written down with the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from vidence.errors import SpecError
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.cnn_rnn import CnnRnn


@dataclass(frozen=True)
class Schedule:
    """Settings of one fit.

    `batch` windows (of a classifier) or frames in all (of a detector that learns what is normal) a step; `rate`
    learning rate and `decay` weight decay of the optimiser; `patience` epochs without a better validation loss end the
    fit and the best epoch's weights are kept (None: all epochs run, the last weights are kept); after `plateau` such
    epochs (better by a share of `plateau_threshold`) the rate is multiplied by `factor`, unless the rate's `course` is
    one cycle (Smith and Topin 2018): up over the first fifth of all steps, down to nothing over the rest. Of
    classifiers alone: `finetune` last stages of the backbone are trained too, at `finetune_rate` times the rate (None:
    all or none of it, as the detector's setting `frozen` says); `views` augmented versions of each clip; `smoothing`
    of labels; `balance` weighs classes by 1 / frequency.
    """

    epochs: int = 60
    batch: int = 16
    rate: float = 1e-3
    decay: float = 1e-2
    patience: int | None = 12
    plateau: int = 4
    factor: float = 0.5
    plateau_threshold: float = 1e-4
    smoothing: float = 0.0
    finetune: int | Literal["all"] | None = None
    finetune_rate: float = 0.1
    views: int = 0
    balance: bool = True
    course: Literal["plateau", "one-cycle"] = "plateau"

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
        if self.plateau_threshold < 0:
            raise SpecError(f"plateau_threshold is a share, at least 0; got {self.plateau_threshold}.")
        if self.course not in ("plateau", "one-cycle"):
            raise SpecError(f"course must be 'plateau' or 'one-cycle'; got {self.course!r}.")
        if self.patience is not None and self.patience < 1:
            raise SpecError(f"patience must be at least one epoch, or None; got {self.patience}.")
        if self.finetune not in ("all", None) and (not isinstance(self.finetune, int) or self.finetune < 0):
            raise SpecError(f"finetune must be a number of stages or 'all'; got {self.finetune!r}.")

    def asked(self, *, epochs: int | None, patience: int | None) -> Schedule:
        """The same schedule with what somebody asks for; None leaves a value as it is."""
        given = {name: value for name, value in (("epochs", epochs), ("patience", patience)) if value is not None}
        return replace(self, **given)  # type: ignore[arg-type]  # both are whole numbers

    def share(self, done: float) -> float:
        """What part of the full rate holds when the share `done` of all steps is behind."""
        if self.course == "plateau":
            return 1.0
        if done < RISE:
            return _eased(START, 1.0, done / RISE)
        return _eased(1.0, END, (done - RISE) / (1 - RISE))


RISE, START, END = 0.2, 1 / 25, 1e-5  # of one cycle: when the rate is full, and its ends as shares of it


def _eased(first: float, last: float, done: float) -> float:
    """Half a cosine from `first` to `last`."""
    return last + (first - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def schedule_for(settings: ClassifierSettings, *, pretrained: bool = False) -> Schedule:
    """The schedule of a detector's settings, if none is asked for: that of `cnn-rnn` was measured (docs/results.md).

    `pretrained`: whether it starts from weights from elsewhere, which then learn more slowly than what is new.
    """
    if not isinstance(settings, CnnRnn):
        return Schedule(epochs=40, batch=8, plateau=2, finetune_rate=0.1 if pretrained else 1.0)
    if settings.projector == "principal":
        return Schedule(epochs=10, batch=32, rate=1e-2, decay=0.05, patience=None, smoothing=0.1, course="one-cycle")
    if settings.backbone == "small":  # it starts at random, so it learns as fast as the head
        return Schedule(epochs=40, batch=12, rate=2e-3, plateau=2, finetune_rate=1.0)
    return Schedule()
