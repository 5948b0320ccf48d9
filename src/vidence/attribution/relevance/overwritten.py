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

    def write(self, target: Tensor, value: Tensor) -> None:
        """From now on `value` is what `target` holds."""
        owner = _owner(target)
        last = self._last(owner)
        part = value if value.shape == target.shape else value.expand_as(target)
        part = part.to(target.dtype)
        if target is not owner:
            new = _laid_out(_scattered(last, part, target, owner), owner)
            self._views[id(target)] = (target, part, new)
        elif part._is_view() or part.stride() != owner.stride():
            new = _laid_out(part, owner)
        else:
            new = part
        self._held[id(last)] = (last, new)

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
        return last.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset() - owner.storage_offset())

    def _last(self, owner: Tensor) -> Tensor:
        while id(owner) in self._held:
            owner = self._held[id(owner)][1]
        return owner


def _scattered(values: Tensor, part: Tensor, view: Tensor, owner: Tensor) -> Tensor:
    """`values`, laid out as `owner`, with `part` where `view` is a view of it."""
    memory = torch.arange(owner.numel(), device=owner.device)
    places = memory.as_strided(view.shape, view.stride(), view.storage_offset() - owner.storage_offset())
    flat = values.as_strided((owner.numel(),), (1,)).index_copy(0, places.flatten(), part.flatten())
    return flat.as_strided(owner.shape, owner.stride())


def _laid_out(value: Tensor, owner: Tensor) -> Tensor:
    """A copy in memory of its own, laid out as `owner`: views are found again by their strides."""
    empty = torch.empty_strided(owner.shape, owner.stride(), dtype=owner.dtype, device=owner.device)
    return empty.copy_(value)


def _owner(tensor: Tensor) -> Tensor:
    base = tensor._base if tensor._is_view() else None
    return tensor if base is None else base
