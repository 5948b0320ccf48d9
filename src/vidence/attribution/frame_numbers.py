"""Which frame of the clip a value inside a model is of: frame numbers follow the clip through the functions called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

SEVERAL = -1.0  # the number of a value that more than one frame went into
# functions by their names, without the underscores of their in-place and operator forms
MOVED = {
    "transpose", "permute", "reshape", "view", "flatten", "unflatten", "getitem", "unbind", "split", "chunk",
    "tensor_split", "squeeze", "unsqueeze", "select", "narrow", "index_select", "flip", "roll", "expand", "movedim",
    "moveaxis", "swapaxes", "swapdims", "repeat", "repeat_interleave", "tile", "broadcast_to", "split_with_sizes",
    "T", "mT", "flipud", "fliplr", "atleast_2d", "atleast_3d", "hsplit", "vsplit", "take_along_dim",
}  # fmt: skip
JOINED = {"cat", "concat", "concatenate", "stack"}
EACH = {
    "add", "sub", "subtract", "mul", "multiply", "div", "divide", "truediv", "rsub", "radd", "rmul", "iadd", "isub",
    "imul", "itruediv", "rtruediv", "neg", "abs", "pow", "square", "exp", "log", "log1p", "sqrt", "rsqrt",
    "reciprocal", "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish", "hardsigmoid", "mish", "prelu",
    "selu", "celu", "softplus", "sigmoid", "logsigmoid", "tanh", "clamp", "clamp_min", "clamp_max", "clip", "hardtanh",
    "threshold", "dropout", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout", "contiguous", "clone",
    "detach", "to", "float", "half", "double", "bfloat16", "type", "type_as", "cuda", "cpu", "requires_grad", "lerp",
    "where", "maximum", "minimum", "nan_to_num", "copy", "positive", "data", "masked_fill", "addcmul",
}  # fmt: skip
LAST = {"linear", "layer_norm", "rms_norm", "matmul"}  # mix the values along the last axis
PLACES = {
    "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "convolution", "batch_norm", "instance_norm",
    "group_norm", "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", "lp_pool2d", "interpolate", "upsample", "pad",
    "pixel_shuffle", "pixel_unshuffle", "local_response_norm", "channel_shuffle", "grid_sample",
}  # fmt: skip
REDUCED = {"mean", "sum", "amax", "amin", "max", "min", "logsumexp", "norm", "std", "var"}


class FrameNumbers:
    """The frame number of every value that comes from one clip of `t` frames, as far as it can be followed.

    The clip is the first float tensor (1, c, t, h, w) met. Views, joins, arithmetic and layers that see a row alone
    are followed; what a function that is not known returns is lost. Arithmetic between frames of pixels (a difference)
    counts as the first operand's; behind a layer, as in a recurrent cell, it is of several frames. Numbers are held as
    expanded views, so that they cost next to nothing.
    """

    def __init__(self, t: int) -> None:
        self.t = t
        self._numbers: Any = WeakIdKeyDictionary()  # tensor -> its numbers, of its shape
        self._behind: Any = WeakIdKeyDictionary()  # tensor -> whether a layer lies between it and the pixels
        self._lines: Any = (
            WeakIdKeyDictionary()
        )  # tensor of a 3-D layer -> the numbers (n, m) of what came to the first

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Take note of one call and what it returned."""
        name = _name(func)
        if not len(self._numbers):
            self._begin(args)
        if name == "setitem":
            out = args[0]
        if not isinstance(out, Tensor | tuple | list) or not self._touches(args, kwargs):
            return
        with torch._C.DisableTorchFunction():
            try:
                found = self._found(name, func, args, kwargs, out)
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError):  # not followed: lost
                found = None
        layered = name in LAST | PLACES or any(part in self._behind for part in tensors_among(args, kwargs))
        if isinstance(out, Tensor):
            self._keep(out, found, layered)
        elif isinstance(found, tuple | list):
            for part, numbers in zip(out, found, strict=False):
                self._keep(part, numbers, layered)

    def along(self, tensor: Tensor, axis: int) -> tuple[float, ...] | None:
        """The numbers along an axis of a tensor; None where they are not known or differ across the other axes."""
        numbers = self._numbers.get(tensor)
        if numbers is None:
            return None
        with torch._C.DisableTorchFunction():
            line = _common(_compact(numbers), [other for other in range(numbers.ndim) if other != axis])
            values = line.expand(*(tensor.shape[axis] if i == axis else 1 for i in range(numbers.ndim))).flatten()
            return None if bool((values < 0).any()) else tuple(values.tolist())

    def of_rows(self, tensor: Tensor) -> tuple[float, ...] | None:
        """The number of each map of a layer's output (m, k, h, w) or (m, k, s, h, w), row by row."""
        if tensor.ndim == 4:
            return self.along(tensor, 0)
        numbers = self._numbers.get(tensor)
        if numbers is None or tensor.ndim != 5:
            return None
        with torch._C.DisableTorchFunction():
            values = _common(_compact(numbers), [1, 3, 4]).expand(len(tensor), 1, tensor.shape[2], 1, 1).flatten()
            return None if bool((values < 0).any()) else tuple(values.tolist())

    def behind(self, tensor: Tensor) -> set[int] | None:
        """The frames that came to the 3-D layers before a tensor; None where it comes from none."""
        line = self._lines.get(tensor)
        return None if line is None else {round(number) for number in line.flatten().tolist()}

    def _begin(self, args: tuple[Any, ...]) -> None:
        for part in args:
            if (
                isinstance(part, Tensor)
                and not isinstance(part, nn.Parameter)
                and part.ndim == 5
                and (part.shape[0], part.shape[2]) == (1, self.t)
                and part.is_floating_point()
            ):
                line = torch.arange(self.t, dtype=torch.float32, device=part.device)
                self._numbers[part] = line.view(1, 1, -1, 1, 1).expand(part.shape)
                return

    def _touches(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return any(part in self._numbers for part in tensors_among(args, kwargs))

    def _keep(self, out: Any, numbers: Any, layered: bool) -> None:
        if not isinstance(out, Tensor):
            return
        if isinstance(numbers, Tensor) and numbers.shape == out.shape:
            self._numbers[out] = numbers
            if layered:
                self._behind[out] = True
        else:  # an in-place operation may have made a known tensor unknown
            self._numbers.pop(out, None)

    def _of(self, part: Any) -> Any:
        """The numbers that stand for an argument; other arguments as they are."""
        if isinstance(part, tuple | list):
            return type(part)(self._of(each) for each in part)
        if isinstance(part, Tensor) and part in self._numbers:
            return self._numbers[part]
        if isinstance(part, Tensor) and part.is_floating_point():
            return torch.full((), SEVERAL, device=part.device).expand(part.shape)
        return part

    def _found(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> Any:
        if name in EACH:
            return self._each(args, kwargs, out)
        if name in MOVED:
            if name == "view":
                sizes = args[1] if isinstance(args[1], tuple | list) else args[1:]
                return torch.reshape(self._of(args[0]), tuple(sizes))
            in_place = name != "getitem" and func.__name__.endswith("_") and func.__name__ != "__get__"
            moved: Callable[..., Any] = getattr(Tensor, name) if in_place else func
            return moved(self._of(args[0]), *args[1:], **kwargs)
        if name in JOINED:
            parts, axis = args[0], args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
            return _joined([self._of(part) for part in parts], axis, out, new=name == "stack")
        if name == "setitem":
            numbers = self._of(out).clone()
            numbers[args[1]] = self._of(args[2]) if isinstance(args[2], Tensor) else SEVERAL
            return numbers
        given = args[0] if args else kwargs["input"]
        numbers = _compact(self._numbers[given])
        if name in LAST:
            return _common(numbers, [-1]).expand(out.shape)
        if name in REDUCED:
            axes: Any = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
            kept = bool(args[2] if len(args) > 2 else kwargs.get("keepdim", False))
            low, high = numbers.amin(axes, keepdim=kept), numbers.amax(axes, keepdim=kept)
            found = torch.where(low == high, low, torch.full_like(low, SEVERAL))
            return found.expand(out.shape) if isinstance(out, Tensor) else [found.expand(out[0].shape)]
        return self._places(given, numbers, out) if name in PLACES else None

    def _each(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor:
        first, *others = (part for part in tensors_among(args, kwargs) if part in self._numbers)
        numbers: Tensor = self._numbers[first]
        if first in self._lines:
            self._lines[out] = self._lines[first]
        if first in self._behind:
            for other in others:
                found, own = _compact(self._numbers[other]), _compact(numbers)
                same = found == own
                numbers = own if bool(same.all()) else torch.where(same, own, torch.full_like(own, SEVERAL))
        return numbers.expand(out.shape)

    def _places(self, given: Tensor, numbers: Tensor, out: Tensor) -> Tensor | None:
        """What a layer returns that sees each row of a batch alone, of maps or of volumes."""
        if given.ndim not in (4, 5) or out.ndim != given.ndim or len(out) != len(given):
            return None
        if given.ndim == 4:
            return _common(numbers, [1, 2, 3]).expand(out.shape)
        line = self._lines.get(given)
        if line is None:
            line = _common(numbers, [1, 3, 4]).expand(len(given), 1, given.shape[2], 1, 1).flatten(1)
        if bool((line < 0).any()):
            return None
        self._lines[out] = line
        spread = F.interpolate(line[:, None], size=out.shape[2], mode="linear", align_corners=False)
        return spread[..., None, None].expand(out.shape)


def tensors_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among a call's arguments, those in lists too."""
    parts = [*args, *kwargs.values()]
    inner = [each for part in parts if isinstance(part, tuple | list) for each in part]
    return [part for part in [*parts, *inner] if isinstance(part, Tensor)]


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", "")
    if name == "__get__":  # of a property
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name.strip("_")


def _compact(numbers: Tensor) -> Tensor:
    """The same with one entry along every axis that it was expanded along."""
    return numbers[tuple(slice(0, 1) if step == 0 else slice(None) for step in numbers.stride())]


def _common(numbers: Tensor, axes: list[int]) -> Tensor:
    """The number that all values along some axes share, which stay with length 1."""
    if all(numbers.shape[axis] == 1 for axis in axes):
        return numbers
    low, high = numbers.amin(axes, keepdim=True), numbers.amax(axes, keepdim=True)
    return torch.where(low == high, low, torch.full_like(low, SEVERAL))


def _joined(parts: list[Tensor], axis: int, out: Tensor, *, new: bool) -> Tensor:
    """Numbers side by side along an axis, which is `new` for a stack, and no larger than they need be."""
    axis = axis % out.ndim
    parts = [part.unsqueeze(axis) if new else part for part in parts if part.ndim == out.ndim - new]
    small = [_compact(part) for part in parts]
    size = [max(part.shape[i] for part in small) for i in range(out.ndim)]
    if size[axis] == 1 and len(parts) > 1 and not new and all(torch.equal(part, small[0]) for part in small):
        return small[0].expand(out.shape)
    whole = [
        part.expand(*(len_ if i != axis else full.shape[axis] for i, len_ in enumerate(size)))
        for part, full in zip(small, parts, strict=True)
    ]
    return torch.cat(whole, dim=axis).expand(out.shape)
