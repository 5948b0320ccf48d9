"""What a mode has followed, and what hides from it: TorchScript, functions with a gradient of their own, .data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from vidence.attribution.outputs import score_rows
from vidence.errors import ExplainError
from vidence.scoring.scores import ScoreFunction

if TYPE_CHECKING:
    from vidence.attribution.relevance.propagation import Propagation

WITHIN = 64  # times the precision: what a score that is almost 0 may be off by, of the order of 1


class Followed:
    """Which tensors the mode handed out, and how they were made; `precision` is that of the coarsest of them."""

    def __init__(self) -> None:
        self._made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # tensor -> its node of the graph
        self.precision = 0.0

    def add(self, tensors: Iterable[Tensor]) -> None:
        """These were handed out by the mode."""
        for tensor in tensors:
            self._made[tensor] = tensor.grad_fn
            self.rounded_to(tensor.dtype)

    def rounded_to(self, kind: torch.dtype) -> None:
        """The model computes in this type."""
        self.precision = max(self.precision, torch.finfo(kind).eps)

    def foreign(self, tensors: Iterable[Tensor]) -> str | None:
        """What made the first of these that the mode has not made; None where it knows all. A leaf is nobody's."""
        for tensor in tensors:
            if type(tensor) is not Tensor:  # what a compiler computes its shapes with
                continue
            node = tensor.grad_fn
            if node is not None and (tensor not in self._made or self._made[tensor] is not node):
                own = getattr(type(node), "_forward_cls", None)
                return "TorchScript or an extension" if own is None else f"{own.__name__}, an autograd.Function"
        return None


def check_scripts(model: nn.Module, method: str, instead: str) -> None:
    """Raise `ExplainError` where a part of the model is TorchScript, which no mode sees into."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ExplainError(
                f"{method} cannot see into TorchScript, and {path or 'the model'} is. "
                f"Explain the model that was scripted, or take {instead}."
            )


def check_agreement(mode: Propagation, followed: Tensor, model: nn.Module, x: Tensor, score: ScoreFunction) -> None:
    """Raise `ExplainError` unless the model, run once more without the mode, has the score that was `followed`.

    Rounding is forgiven in the coarsest type that the mode has seen: half of its digits, as sums run in another order.
    """
    with torch.no_grad():
        own = float(score_rows(score, model(x), x).sum())
    found = float(followed.detach())
    precision = max(mode.followed.precision, torch.finfo(x.dtype).eps)
    allowed = precision**0.5 * max(abs(found), abs(own)) + WITHIN * precision
    if abs(found - own) > allowed:
        raise ExplainError(
            f"{mode.method} follows another computation than the model's own (score {found:.6g} against {own:.6g}): "
            "something in the model hides from it, such as in-place writes through .data, TorchScript or random "
            f"layers. Take {mode.instead}."
        )
