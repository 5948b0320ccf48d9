"""A model's module state, changed for one call and put back: the only file that registers hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vidence.errors import ExplainError


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, none of its parameters asking for a gradient; all restored, also after an error.

    A gradient is then built only below a tensor that was marked. cuDNN refuses the backward pass of a recurrent
    layer in eval mode, so its kernels are off inside. Flags are set module by module: a `train` or `eval` of
    the user's own may do more than that.
    """
    training = {module: module.training for module in model.modules()}
    asking = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        for module in training:
            module.training = False
        for parameter in asking:
            parameter.requires_grad_(False)
        with torch.backends.cudnn.flags(enabled=not any(map(_recurrent, training))):
            yield
    finally:
        for module, flag in training.items():
            module.training = flag
        for parameter, flag in asking.items():
            parameter.requires_grad_(flag)


@contextmanager
def recorded(model: nn.Module, layer: str) -> Iterator[list[Any]]:
    """Every output of the module at `layer`, in the order of its calls."""
    outputs: list[Any] = []

    def keep(output: Any) -> Any:
        outputs.append(output)
        return output

    with replaced(model, layer, keep):
        yield outputs


@contextmanager
def replaced(model: nn.Module, layer: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """The module at `layer` returns `change(output)` instead of its output."""
    handle = module_at(model, layer).register_forward_hook(lambda module, args, output: change(output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def watched(
    model: nn.Module, before: Callable[[], None], after: Callable[[tuple[Any, ...], Any], None]
) -> Iterator[None]:
    """`before()` when the model itself is called, `after(args, output)` once it has answered; the answer stays."""
    handles = [
        model.register_forward_pre_hook(lambda module, args: before()),
        model.register_forward_hook(lambda module, args, output: after(args, output)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def module_at(model: nn.Module, layer: str) -> nn.Module:
    """The module with this path, or the only one whose path ends so. Raises `ExplainError` that lists some."""
    paths = dict(model.named_modules())
    if layer in paths:
        return paths[layer]
    ending = [path for path in paths if path.endswith(f".{layer}")]
    if len(ending) == 1:
        return paths[ending[0]]
    known = [path for path, module in paths.items() if path and not any(module.children())]
    raise ExplainError(
        f"layer must name one module of the model; {layer!r} names {len(ending) or 'none'}. "
        f"Some that exist: {', '.join(ending or known[-8:])}."
    )


def last_convolution(model: nn.Module) -> str:
    """Path of the last convolution that the model owns, in the order of registration."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    owned = [path for path, module in model.named_modules() if isinstance(module, kinds)]
    if not owned:
        raise ExplainError("the model owns no convolution as a module. Name a layer.")
    return owned[-1]


def _recurrent(module: nn.Module) -> bool:
    return isinstance(module, nn.RNNBase)


def on_device(model: nn.Module, x: Tensor) -> Tensor:
    """`x` on the device of the model's first parameter or buffer."""
    place = next(iter([*model.parameters(), *model.buffers()]), x)
    return x.to(place.device)
