"""Runs Lightning over labelled windows: quiet, repeatable, resumable. Lightning is imported when this is called."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidence.errors import DataError
from vidence.training.examples import Examples
from vidence.training.freezing import freeze
from vidence.training.prepared import PreparedView, find_directions, fixed_before_projection, prepared
from vidence.training.progress_file import Progress, read_progress
from vidence.training.schedule import Schedule

SMALL = 2_000_000  # parameters; below, threads wait for each other longer than they compute


def train(
    network: nn.Module,
    examples: Examples,
    val: Examples,
    schedule: Schedule,
    *,
    classes: int,
    seed: int,
    identity: str = "",
    folder: Path | None = None,
    resume: bool = False,
    bar: bool = False,
    callbacks: Sequence[Any] = (),
) -> Progress:
    """Train `network` in place and leave it in eval mode with the kept epoch's weights.

    With `folder` the fit writes progress.pt, log.csv and curve.png there, and `resume` goes on from them; `identity`
    names settings and data, which must be the same then. Ctrl-C raises `KeyboardInterrupt` with a message.
    """
    if not len(val.labels) or not len(examples.labels):
        raise DataError(
            f"training needs clips to train and to validate on; got {len(examples.labels)} and {len(val.labels)}."
        )
    path = None if folder is None else folder / "progress.pt"
    progress = (read_progress(path, identity=identity) if resume and path else None) or Progress(identity)
    freeze(network, schedule.finetune or 0)
    on_features = examples.entries[0][0].x.ndim == 3
    whole = network
    if on_features and fixed_before_projection(whole):
        examples, val, network = prepared(whole, examples), prepared(whole, val), PreparedView(whole)
        find_directions(whole, examples)
    with quiet(), torch.random.fork_rng(), threads(_threads(network)):
        network.load_state_dict(progress.network, strict=False)
        if not progress.stopped and progress.epoch < schedule.epochs:
            _run(
                network,
                examples,
                val,
                schedule,
                progress,
                path=path,
                classes=classes,
                seed=seed,
                bar=bar,
                callbacks=callbacks,
            )
    network.load_state_dict(progress.best, strict=False)
    whole.requires_grad_(True)
    whole.eval()
    return progress


def _run(
    network: nn.Module,
    examples: Examples,
    val: Examples,
    schedule: Schedule,
    progress: Progress,
    *,
    path: Path | None,
    classes: int,
    seed: int,
    bar: bool,
    callbacks: Sequence[Any],
) -> None:
    import lightning.pytorch as pl

    from vidence.training.callbacks import EpochBar, Log, Steering
    from vidence.training.module import Batches, Classifier

    batches = Batches(examples, schedule.batch, seed=seed, epoch=progress.epoch + 1)
    module = Classifier(network, schedule, batches, val, classes=classes, epoch=progress.epoch + 1)
    steps: list[Any] = [Steering(progress, path)]
    if path is not None:
        steps.append(Log(progress, path.parent))
    if bar:
        steps.append(EpochBar(progress, schedule.epochs))
    on_features = examples.entries[0][0].x.ndim == 3
    trainer = pl.Trainer(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=1,
        precision="32-true" if on_features or not _bf16() else "bf16-mixed",
        max_epochs=schedule.epochs - progress.epoch,
        gradient_clip_val=1.0,
        callbacks=[*steps, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches, Batches(val, 4 * schedule.batch))
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which it ignores further ones
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        kept = f"{progress.epoch} of {schedule.epochs} epochs are kept in {path.parent}" if path else "nothing is kept"
        raise KeyboardInterrupt(f"training stopped; {kept}. Resume it to go on from there.") from stop


def _threads(network: nn.Module) -> int:
    return 1 if sum(each.numel() for each in network.parameters() if each.requires_grad) < SMALL else 2


def _bf16() -> bool:
    return torch.cuda.is_available() or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """At most `n` threads inside (None: as they are)."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(n or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
