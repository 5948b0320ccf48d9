"""A second device without a GPU: tensors that say they lie on `meta`, compute on the CPU, and refuse to meet tensors
that lie there. What runs on them forgets no `.to(device)` and no `.cpu()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")


class Far(Tensor):
    """Wraps a tensor of the CPU."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        """Say another device than the truth."""
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        made = Tensor._make_wrapper_subclass(cls, near.shape, device=ELSEWHERE, **layout)  # type: ignore[attr-defined]
        made.near = near
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Far({self.near!r})"

    def __getitem__(self, index: Any) -> Tensor:  # torch would make a list of numbers a tensor of `meta` itself
        asked = index if isinstance(index, tuple) else (index,)
        return super().__getitem__(tuple(torch.tensor(each) if isinstance(each, list) else each for each in asked))

    def tolist(self) -> Any:
        return self.near.tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return Far(self.near.new_tensor(data, **options))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Elsewhere(TorchDispatchMode):
    """Also sees what makes tensors, or moves them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Inside, the device that is yielded can be computed on."""
    swap = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # parameters change their class
    autocast, asked, tensor = torch.autocast, torch.is_autocast_enabled, torch.tensor

    def cast(device: str, *args: Any, **options: Any) -> Any:
        return nullcontext() if device == ELSEWHERE.type else autocast(device, *args, **options)

    def made(data: Any, *, device: Any = None, **options: Any) -> Tensor:  # torch would ask the real `meta`
        return tensor(data, **options).to(torch.device("cpu") if device is None else device)

    with pytest.MonkeyPatch.context() as patch, _Elsewhere():
        patch.setattr(torch, "tensor", made)
        patch.setattr(torch, "autocast", cast)
        patch.setattr(torch, "is_autocast_enabled", lambda device: device != ELSEWHERE.type and asked(device))
        try:
            yield ELSEWHERE
        finally:
            torch.__future__.set_swap_module_params_on_conversion(swap)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    held = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    far, name = any(isinstance(each, Far) for each in held), func._schema.name
    options = dict(kwargs)
    asked = options.get("device")
    if asked is not None:
        options["device"] = torch.device("cpu")
    moves = name in ("aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense") or "index" in name
    strangers = [tuple(each.shape) for each in held if not isinstance(each, Far) and each.ndim]
    if far and strangers and not moves:
        raise RuntimeError(f"{name} got tensors on two devices; on the CPU are those of shape {strangers}")
    found = func(*tree_map(_near, args), **tree_map(_near, options))
    if torch.Tag.inplace_view in func.tags:  # of its shape, which the wrapper says itself
        with no_dispatch():
            func(*args, **kwargs)
    if name.endswith("_") or "out" in kwargs:  # in place
        return kwargs.get("out", args[0] if args else found)
    goes = far if asked is None else torch.device(asked) == ELSEWHERE
    return tree_map(lambda each: Far(each) if isinstance(each, Tensor) else each, found) if goes else found


def _near(each: Any) -> Any:
    return each.near if isinstance(each, Far) else each
