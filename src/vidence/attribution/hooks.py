"""A model's module state, changed for one call and put back: the only file that registers hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeGuard
from weakref import WeakSet

import torch
from torch import Tensor, nn

from vidence.attribution.layer_names import CONVOLUTIONAL
from vidence.attribution.outputs import SHORT, full, mapped
from vidence.errors import ExplainError
from vidence.models.evaluating import NO_TF32

CALLS = ("forward", "encode", "decide", "embed")  # what explainers call of a model
_IN_16_BIT: WeakSet[nn.Module] = WeakSet()  # models that are inside `at_its_calls`, and change there


def uncompiled(model: nn.Module) -> nn.Module:
    """The model that `torch.compile` was given, or the model: both have the same parameters and say the same."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def as_written() -> AbstractContextManager[Any]:
    """A block in which what `torch.compile` compiled, a part of a model, too, runs uncompiled: explainers look into it.

    Where nothing was compiled, its module is not loaded, which takes seconds.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, none of its parameters asking for a gradient; all restored, also after an error.

    A gradient is then built only below a tensor that was marked. Flags are set module by module: a `train` or `eval` of
    the user's own may do more than that. Recurrent layers are in training mode without dropout, which computes the
    same: cuDNN refuses the backward pass of one that ran in eval mode. What is compiled runs as it was written. An
    autocast that is on around this is the model's alone, see `at_its_calls`.
    """
    training = {module: module.training for module in model.modules()}
    asking = {parameter: parameter.requires_grad for parameter in model.parameters()}
    recurrent = {module: module.dropout for module in training if _is_recurrent(module)}
    try:
        for module in training:
            module.training = module in recurrent
        for layer in recurrent:
            layer.dropout = 0.0
        for parameter in asking:
            parameter.requires_grad_(False)
        with NO_TF32, as_written(), at_its_calls(model):
            yield
    finally:
        for module, flag in training.items():
            module.training = flag
        for layer, rate in recurrent.items():
            layer.dropout = rate
        for parameter, flag in asking.items():
            with torch.inference_mode(parameter.is_inference()):  # the only place where torch lets such a one ask
                parameter.requires_grad_(flag)


def _is_recurrent(module: nn.Module) -> TypeGuard[nn.RNNBase]:
    """Whether a module is torch's own recurrent layer, or one of the user's that computes what torch's does."""
    return isinstance(module, nn.RNNBase) and type(module).forward in (nn.RNN.forward, nn.GRU.forward, nn.LSTM.forward)


@contextmanager
def at_its_calls(model: nn.Module) -> Iterator[None]:
    """What goes in and out at a model's own calls: in 32 bit outside, as its parameters are inside, and only copies.

    Sums, means and gradients of an explainer need more than 8 bits: an autocast that is on around this, and the 16 bit
    of a model's parameters, are for its own calls alone, and what it returns comes back in float32. A model may write
    into what it is given (`x -= mean`): it gets a copy, at every call, or the clip of the next pass were another one.
    """
    kind = on_device(model, torch.empty(0)).device.type
    cast, own = torch.is_autocast_enabled(kind), precision(model)
    short = own if own in SHORT else None
    under, inside = torch.get_autocast_dtype(kind), False

    def calling(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def at_its_call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:  # the model's own call of another part of itself
                return method(*args, **kwargs)
            inside = True
            try:
                with torch.autocast(kind, under) if cast else nullcontext():
                    output = method(*mapped(args, given), **mapped(kwargs, given))
            finally:
                inside = False
            return mapped(output, full) if cast or short is not None else output

        return at_its_call

    def given(part: Tensor) -> Tensor:
        return part.to(short, copy=True) if short is not None and part.is_floating_point() else part.clone()

    own_parts = {name: vars(model)[name] for name in CALLS if name in vars(model)}
    if cast or short is not None:
        _IN_16_BIT.add(model)
    try:
        for name in CALLS:
            if callable(getattr(model, name, None)):
                vars(model)[name] = calling(getattr(model, name))
        with torch.autocast(kind, enabled=False) if cast else nullcontext():
            yield
    finally:
        _IN_16_BIT.discard(model)
        for name in CALLS:
            vars(model).pop(name, None)
        vars(model).update(own_parts)


def in_16_bit(model: nn.Module) -> bool:
    """Whether a frozen model computes in 16 bit, although it answers in float32."""
    return model in _IN_16_BIT


def precision(model: nn.Module) -> torch.dtype | None:
    """The type that all parameters of a model have in common, if there is one."""
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else None


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
    owned = [path for path, module in model.named_modules() if isinstance(module, CONVOLUTIONAL)]
    if not owned:
        raise ExplainError("the model owns no convolution as a module. Name a layer.")
    return owned[-1]


def on_device(model: nn.Module, x: Tensor) -> Tensor:
    """`x` on the device of the model's first parameter or buffer, and as exact as its parameters: float32 at least."""
    place = next(iter([*model.parameters(), *model.buffers()]), x)
    own = precision(model)
    return x.to(place.device, x.dtype if own is None else torch.float32 if own in SHORT else own)
