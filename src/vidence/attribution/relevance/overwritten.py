"""In-place operations without writing: what was written is a new tensor, which stands for the old one from then on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Overwritten:
    """Which tensor stands for a tensor that the model wrote into; views of it see the new values too.

    The old values stay as they were, because rules backwards still need them.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tensor, Tensor]] = {}  # owner of memory, what stands for it
        self._views: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # view, what was written, what stood for its owner

    def now(self, value: Any) -> Any:
        """`value` as it would be had the model written, tensors in lists, tuples and dicts included."""
        if isinstance(value, Tensor):
            return self._now(value)
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            parts = [self.now(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        if isinstance(value, dict):
            return {key: self.now(part) for key, part in value.items()}
        return value

    def write(self, target: Tensor, value: Tensor) -> Tensor:
        """From now on `value` is what `target` holds; returned is what stands for it."""
        owner = _owner(target)
        last = self._last(owner)
        part = value if value.shape == target.shape else value.expand_as(target)
        part = part.to(target.dtype)
        if target is not owner:
            new = torch.as_strided_scatter(last, part, target.shape, target.stride(), target.storage_offset())
            self._views[id(target)] = (target, part, new)
        elif part.stride() != owner.stride():  # views of it are found by their strides
            new = torch.empty_strided(owner.shape, owner.stride(), dtype=part.dtype, device=part.device).copy_(part)
        else:
            new = part.clone() if part._is_view() else part
        self._held[id(last)] = (last, new)
        return self._now(target)

    def _now(self, tensor: Tensor) -> Tensor:
        if not self._held:
            return tensor
        owner = _owner(tensor)
        last = self._last(owner)
        if last is owner:
            return tensor
        if tensor is owner:
            return last
        written = self._views.get(id(tensor))
        if written is not None and written[2] is last:
            return written[1]
        return last.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _last(self, owner: Tensor) -> Tensor:
        while id(owner) in self._held:
            owner = self._held[id(owner)][1]
        return owner


def _owner(tensor: Tensor) -> Tensor:
    base = tensor._base if tensor._is_view() else None
    return tensor if base is None else base
