"""A graph of our own inside a model: the leaf that it starts from, and what it keeps for the way back."""

from __future__ import annotations

import torch
from torch import Tensor

from vidence.errors import ExplainError


def check_outside_vmap(activation: Tensor) -> None:
    """Raise `ExplainError` inside `torch.vmap` and its like, whose tensors are one of many at once."""
    if torch._C._functorch.is_functorch_wrapped_tensor(activation):
        raise ExplainError(
            "a layer must be called outside torch.vmap to be looked into; the model calls it inside. Give the layer "
            "the batch itself, or take gradient or occlusion."
        )


def mark(activation: Tensor) -> Tensor:
    """Make `activation` start its own graph, and return the leaf that it now depends on.

    It stays the same object, so that an in-place operation or a second use sees it too; what came before is cut off.
    Raises `ExplainError` inside `torch.vmap`.
    """
    check_outside_vmap(activation)
    leaf = activation.detach().clone().requires_grad_()
    if not activation._is_view():  # or the function that made it in place would be asked for its gradient
        activation.detach_()
    with torch.enable_grad():
        activation.copy_(leaf)
    return leaf


def kept(tensor: Tensor) -> tuple[Tensor, int]:
    """What a graph keeps of a tensor for its way back, and how often that had been written into."""
    return tensor.detach(), tensor._version  # detached, or the graph would hold itself


def unchanged(held: tuple[Tensor, int]) -> Tensor:
    """What was kept; torch itself asks no more whether it was written into, once hooks keep it."""
    tensor, version = held
    if tensor._version != version:
        raise RuntimeError("a tensor that the gradient needs was modified by an inplace operation after its use")
    return tensor
