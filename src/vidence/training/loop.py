"""Runs Lightning over a lesson: quiet, repeatable, resumable. Lightning is imported when this is called."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from vidence.models.device import native_bf16, place_of
from vidence.training.progress_file import Progress, read_progress
from vidence.training.schedule import Schedule

if TYPE_CHECKING:
    from vidence.training.module import Lesson

Precision = Literal["32-true", "bf16-mixed"]


def train(
    network: nn.Module,
    schedule: Schedule,
    lesson: Callable[[int], Lesson],
    *,
    identity: str = "",
    folder: Path | None = None,
    resume: bool = False,
    bar: bool = False,
    callbacks: Sequence[Any] = (),
    precision: Precision = "32-true",
    clip: float | None = None,
) -> Progress:
    """Train `network` in place, on the device that it lies on, and leave it in eval mode with the kept epoch's weights.

    `lesson(epoch)` makes the module that holds the network, its batches and its loss, from that epoch on. With
    `folder` the fit writes progress.pt, log.csv and curve.png there, and `resume` goes on from them; `identity` names
    settings and data, which must be the same then. `clip` bounds the gradient's norm. Ctrl-C raises
    `KeyboardInterrupt` with a message.
    """
    path = None if folder is None else folder / "progress.pt"
    progress = (read_progress(path, identity=identity) if resume and path else None) or Progress(identity)
    place = place_of(network)
    with quiet(), torch.random.fork_rng():
        network.load_state_dict(progress.network, strict=False)
        if not progress.stopped and progress.epoch < schedule.epochs:
            _run(
                lesson(progress.epoch + 1),
                progress,
                accelerator="gpu" if place.type == "cuda" else "cpu",
                path=path,
                bar=bar,
                callbacks=callbacks,
                precision=precision,
                gradient_clip_val=clip,
            )
    network.to(place)  # Lightning leaves it on the CPU
    network.load_state_dict(progress.best, strict=False)
    network.eval()
    return progress


def _run(
    lesson: Lesson, progress: Progress, *, path: Path | None, bar: bool, callbacks: Sequence[Any], **options: Any
) -> None:
    import lightning.pytorch as pl

    from vidence.training.callbacks import EpochBar, Log, Steering

    epochs = lesson.schedule.epochs
    steps: list[Any] = [Steering(progress, path)]
    if path is not None:
        steps.append(Log(progress, path.parent))
    if bar:
        steps.append(EpochBar(progress, epochs))
    trainer = pl.Trainer(
        devices=1,
        max_epochs=epochs - progress.epoch,
        callbacks=[*steps, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **options,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(lesson, lesson.batches, lesson.held)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which it ignores further ones
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        kept = f"{progress.epoch} of {epochs} epochs are kept in {path.parent}" if path else "nothing is kept"
        raise KeyboardInterrupt(f"training stopped; {kept}. Resume it to go on from there.") from stop


def fast_precision(device: torch.device) -> Precision:
    """bf16 with float32 weights where the device multiplies it natively, else float32."""
    return "bf16-mixed" if native_bf16(device) else "32-true"


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's advice is meant for its users, not for ours: its log below errors and its warnings are dropped."""
    import_module("lightning.pytorch")  # its import sets the level of its log, so it comes first
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
