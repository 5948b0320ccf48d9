"""What happens after each epoch: steer, write down, show. Importing this imports Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from vidence.training.freezing import learned
from vidence.training.learning_curve import write_curve, write_log
from vidence.training.progress_file import Progress, write_progress


class Steering(pl.Callback):  # type: ignore[misc]
    """Learning-rate plateau, best epoch, early stopping, and the progress file, in this order.

    Lightning's own callbacks are not used: they save before the plateau is stepped, so that a resumed fit differs.
    """

    def __init__(self, progress: Progress, path: Path | None) -> None:
        self.progress, self.path = progress, path
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Take up where the progress file ends."""
        schedule, (optimizer,) = module.schedule, trainer.optimizers
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=schedule.factor, patience=schedule.plateau, threshold=schedule.plateau_threshold
        )
        if self.progress.epoch:
            optimizer.load_state_dict(self.progress.optimizer)
            self._plateau.load_state_dict(self.progress.plateau)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Decide, then write: a fit killed before the write repeats the epoch, with the same result."""
        progress, schedule, row = self.progress, module.schedule, dict(module.row)
        row["rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        plateau: Any = self._plateau
        if schedule.course == "plateau":
            plateau.step(row["val_loss"])
        progress.epoch = module.epoch
        progress.rows.append(row)
        last_counts = schedule.patience is None
        if last_counts or row["val_loss"] < progress.best_loss:
            progress.best_loss, progress.best_epoch = row["val_loss"], module.epoch
            progress.best = {name: value.detach().cpu().clone() for name, value in learned(module.network).items()}
        progress.stopped = not last_counts and module.epoch - progress.best_epoch >= schedule.patience
        if self.path is not None:
            progress.network = {name: value.detach().cpu() for name, value in learned(module.network).items()}
            progress.optimizer = trainer.optimizers[0].state_dict()
            progress.plateau = plateau.state_dict()
            write_progress(self.path, progress)
        module.epoch += 1
        module.batches.epoch = module.epoch
        trainer.should_stop = progress.stopped


class Log(pl.Callback):  # type: ignore[misc]
    """`log.csv` and `curve.png` in a folder, written anew after each epoch."""

    def __init__(self, progress: Progress, folder: Path) -> None:
        self.progress, self.folder = progress, folder

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """The CSV each epoch; the picture, which takes longer to draw, each tenth and at the end."""
        write_log(self.folder / "log.csv", self.progress.rows)
        if self.progress.epoch % 10 == 0:
            self._draw()

    def on_fit_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Draw the whole curve."""
        self._draw()

    def _draw(self) -> None:
        write_curve(self.folder / "curve.png", self.progress.rows, best=self.progress.best_epoch)


class EpochBar(pl.Callback):  # type: ignore[misc]
    """A bar on the terminal: epochs and losses."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self.progress = progress
        self.bar = Bar(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} epochs"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self.task: TaskID = self.bar.add_task("", total=epochs, completed=progress.epoch, note="")

    def on_fit_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Begin to draw."""
        self.bar.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Advance."""
        row = self.progress.rows[-1]
        note = f"loss {row['train_loss']:.3g}, validation {row['val_loss']:.3g}"
        self.bar.update(self.task, completed=self.progress.epoch, note=note)

    def teardown(self, trainer: pl.Trainer, module: Any, stage: str) -> None:
        """End, also after an error."""
        self.bar.stop()
