"""Fits a classifier to labelled windows: which part learns, what is prepared once, the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vidence.errors import DataError
from vidence.models.device import place_of
from vidence.training.examples import Batches, Examples
from vidence.training.freezing import freeze
from vidence.training.loop import Precision, fast_precision, train
from vidence.training.prepared import PreparedView, find_directions, fixed_before_projection, prepared
from vidence.training.progress_file import Progress
from vidence.training.schedule import Schedule

if TYPE_CHECKING:
    from vidence.training.classifier_module import Classifier

SMALL = 2_000_000  # parameters; below, threads wait for each other longer than they compute


def train_classifier(
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
    """Train `network` in place, as `vidence.training.loop.train` does, on `examples` until `val` says which epoch.

    Raises `DataError` without clips to train and to validate on.
    """
    if not len(val.labels) or not len(examples.labels):
        raise DataError(
            f"training needs clips to train and to validate on; got {len(examples.labels)} and {len(val.labels)}."
        )
    freeze(network, schedule.finetune or 0)
    precision, whole = arithmetic(network, examples), network
    if _on_features(examples) and fixed_before_projection(whole):
        examples, val, network = prepared(whole, examples), prepared(whole, val), PreparedView(whole)
        find_directions(whole, examples)

    def lesson(epoch: int) -> Classifier:
        from vidence.training.classifier_module import Classifier

        batches = Batches(examples, schedule.batch, seed=seed, epoch=epoch)
        held = Batches(val, 4 * schedule.batch)
        return Classifier(network, schedule, batches, held, classes=classes, seed=seed, epoch=epoch)

    with _threads(_threads_for(network)):
        progress = train(
            network,
            schedule,
            lesson,
            identity=identity,
            folder=folder,
            resume=resume,
            bar=bar,
            callbacks=callbacks,
            precision=precision,
            clip=1.0,
        )
    whole.requires_grad_(True)
    whole.eval()
    return progress


def arithmetic(network: nn.Module, examples: Examples) -> Precision:
    """In which number format a fit to these examples computes: on features that are there already, exactly."""
    return "32-true" if _on_features(examples) else fast_precision(place_of(network))


def _on_features(examples: Examples) -> bool:
    return examples.entries[0][0].x.ndim == 3  # (w, t, f); pixels are (w, t, c, h, w)


def _threads_for(network: nn.Module) -> int:
    return 1 if sum(each.numel() for each in network.parameters() if each.requires_grad) < SMALL else 2


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """At most `n` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(n, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
