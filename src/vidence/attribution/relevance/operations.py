"""The kinds of operations a rule is written for, by the names under which torch calls them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import resolve_name


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


CONVOLUTIONS = frozenset(
    {f"conv{d}d" for d in (1, 2, 3)} | {f"conv_transpose{d}d" for d in (1, 2, 3)}
)  # (input, weight, bias, ...)
LINEAR = CONVOLUTIONS | {"linear"}
MATRIX = frozenset({"matmul", "mm", "bmm", "mv", "dot", "inner", "outer", "vdot", "tensordot"})  # of two operands
ELEMENTWISE = _named(
    """relu leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardtanh relu6 softplus softsign
    softshrink hardshrink tanhshrink threshold sigmoid hardsigmoid logsigmoid log_sigmoid tanh erf exp exp2
    expm1 log log2 log10 log1p sqrt rsqrt square pow abs reciprocal clamp clamp_min clamp_max clip sin cos atan
    sinh cosh asinh nan_to_num special_expit special_erf special_log1p special_expm1 xlogy"""
)
EXTREMA = _named(
    """max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices
    adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices fractional_max_pool2d
    fractional_max_pool3d fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices amax amin max
    min topk sort msort kthvalue median nanmedian cummax cummin aminmax"""
)
# linear in all tensors that depend on the input: values are moved, summed or scaled
PASSED = _named(
    """getitem add sub mul div neg positive sum mean nanmean nansum cumsum diff trace sum_to_size view reshape
    view_as reshape_as flatten unflatten ravel permute transpose swapaxes swapdims movedim moveaxis t T mT H mH
    real adjoint squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors repeat repeat_interleave
    tile flip fliplr flipud roll rot90 contiguous clone alias to float double half bfloat16 type type_as cuda
    cpu unbind split split_with_sizes chunk tensor_split hsplit vsplit dsplit unsafe_chunk unsafe_split narrow
    select diagonal diag diag_embed diagflat tril triu gather index_select take take_along_dim masked_select
    as_strided unfold fold im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle meshgrid atleast_1d
    atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d max_unpool1d max_unpool2d max_unpool3d interpolate upsample upsample_nearest
    upsample_bilinear upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d
    upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d pad constant_pad_nd dropout dropout1d dropout2d
    dropout3d alpha_dropout feature_dropout feature_alpha_dropout cat concat concatenate stack hstack vstack
    dstack column_stack row_stack where masked_fill masked_scatter scatter scatter_add index_add index_copy
    index_put index_fill block_diag setitem copy requires_grad_ retain_grad _pack_padded_sequence
    _pad_packed_sequence"""
)
# where a constant stands beside what depends on the input: the places of both among the arguments
BESIDE = {
    "add": (0, 1), "sub": (0, 1), "cat": (0,), "concat": (0,), "concatenate": (0,), "stack": (0,), "hstack": (0,),
    "vstack": (0,), "dstack": (0,), "column_stack": (0,), "where": (1, 2), "masked_fill": (0, 2), "setitem": (0, 2),
    "scatter": (0, 3), "scatter_add": (0, 3), "index_add": (0, 3), "index_copy": (0, 3), "index_put": (0, 2),
    "masked_scatter": (0, 2), "index_fill": (0, 3),
}  # fmt: skip
OPERANDS = {"other", "value", "source", "src"}  # their names, where they are given by name
GATES = frozenset({"sigmoid", "hardsigmoid", "special_expit", "reciprocal", "rsqrt"})
ARITHMETIC = {
    "add": "add", "sub": "sub", "subtract": "sub", "mul": "mul", "multiply": "mul", "div": "div", "divide": "div",
    "true_divide": "div", "truediv": "div", "rsub": "rsub", "radd": "add", "rmul": "mul", "rdiv": "rdiv",
    "rtruediv": "rdiv", "absolute": "abs", "negative": "neg", "rmatmul": "rmatmul", "rpow": "rpow",
    "float_power": "pow", "clip": "clamp",
}  # fmt: skip
VALUES = {
    Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__, Tensor.__format__,
    Tensor.__repr__,
}  # fmt: skip
NOT_IN_PLACE = {"requires_grad_", "share_memory_", "__get__", "__set__"}


def canonical(func: Callable[..., Any]) -> tuple[str, bool]:
    """The name of what a function computes, and whether it writes into its first argument.

    'add' stands for torch.add, Tensor.add_, `+` and `+=`; a getter such as Tensor.T has its attribute's name.
    """
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name)), False
    in_place = name == "__setitem__"
    if name.startswith("__") and name.endswith("__"):
        bare = name.strip("_")
        if bare.startswith("i") and bare[1:] in {"add", "sub", "mul", "div", "truediv", "pow"}:
            bare, in_place = bare[1:], True
        return ARITHMETIC.get(bare, bare), in_place
    if name.endswith("_") and name not in NOT_IN_PLACE:
        name, in_place = name[:-1], True
    return ARITHMETIC.get(name, name), in_place


def shown_name(func: Callable[..., Any]) -> str:
    """A function as its user would write it, such as torch.fft.fft."""
    return resolve_name(func) or str(getattr(func, "__name__", func))


def without_writing(func: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function that computes what `func` would have written into its first argument."""
    if name == "setitem":
        return _put
    if name == "copy":
        return lambda target, source, *rest: source.expand_as(target).to(target.dtype)
    if name in ("fill", "zero"):
        return lambda target, value=0: torch.zeros_like(target) + value
    for home in (Tensor, torch, F):
        if hasattr(home, name):
            return getattr(home, name)
    return func


def _put(target: Tensor, where: Any, value: Any) -> Tensor:
    changed = target.clone()
    changed[where] = value
    return changed


def not_in_place(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """A call of torch.nn.functional with inplace=False, and whether it said True."""
    parameters = list(signature(func).parameters)
    if "inplace" not in parameters:
        return args, kwargs, False
    place = parameters.index("inplace")
    asked = args[place] if len(args) > place else kwargs.get("inplace", False)
    kept = {key: value for key, value in kwargs.items() if key != "inplace"}
    return (*args[:place], *([False] if len(args) > place else []), *args[place + 1 :]), kept, bool(asked)
