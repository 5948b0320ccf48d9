"""Looking at a network without changing it, in the arithmetic that its precision says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import torch
from torch import nn


class _NoTf32:
    """A block in which float32 is float32 on a GPU, too: TF32 keeps 10 bits, so that two ways through one network
    differ by percents, and no sum over pixels or relevance is the score.

    The switches are the process's, blocks may lie in one another and beside one another in threads: the first one in
    turns TF32 off, and the last one out puts it back. Both scoring and explaining are such blocks, so that no score
    depends on what is explained meanwhile.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._back: Callable[[], None]

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._back = _tf32_off()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._back()


def _tf32_off() -> Callable[[], None]:
    """Turn TF32 off, a kind of operation at a time; returns what puts it back."""
    known: Any = torch.backends
    cudnn, kinds = known.cudnn, (known.cudnn.conv, known.cudnn.rnn, known.cuda.matmul, known.mkldnn.matmul)
    precisions, older = [kind.fp32_precision for kind in kinds], None
    with suppress(RuntimeError):  # of an older switch that cannot be read where the kinds differ
        older = cudnn.allow_tf32
        cudnn.allow_tf32 = False  # a model that asks for `cudnn.flags` reads it
    for kind in kinds:
        kind.fp32_precision = "ieee"

    def back() -> None:
        if older is not None:
            cudnn.allow_tf32 = older
        for kind, precision in zip(kinds, precisions, strict=True):
            kind.fp32_precision = precision

    return back


NO_TF32 = _NoTf32()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put the network in eval mode without gradients and TF32; every module gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad(), NO_TF32:
            yield
    finally:
        for module, training in modes:
            module.training = training
