"""Operations made of simpler ones: what a rule never sees whole. Each returns how to compute it, or NotImplemented.

The mode is on while the parts are computed, so every one of them is asked about; `propagation.py` names the kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vidence.attribution.attention_calls import fused, masked
from vidence.attribution.relevance.recurrences import RECURRENT

if TYPE_CHECKING:
    from vidence.attribution.relevance.propagation import Propagation

Parts: TypeAlias = Any  # Callable[[], Tensor] or NotImplemented, which has no type


def _exponentials(z: Tensor, dim: int | None) -> tuple[Tensor, Tensor]:
    """exp(z - largest), and the shifted z; the largest depends on the input too, so that nothing is left out."""
    shifted = z - z.amax(dim=_axis(z, dim), keepdim=True)
    return torch.exp(shifted), shifted


def _axis(z: Tensor, dim: int | None) -> int:
    return (0 if z.ndim in (0, 1, 3) else 1) if dim is None else dim


def _softmax(z: Tensor, dim: int | None = None, *rest: Any, **options: Any) -> Callable[[], Tensor]:
    def parts() -> Tensor:
        found, _ = _exponentials(z, dim)
        return found * torch.reciprocal(found.sum(dim=_axis(z, dim), keepdim=True))

    return parts


def _log_softmax(z: Tensor, dim: int | None = None, *rest: Any, **options: Any) -> Callable[[], Tensor]:
    def parts() -> Tensor:
        found, shifted = _exponentials(z, dim)
        return shifted - torch.log(found.sum(dim=_axis(z, dim), keepdim=True))

    return parts


def _logsumexp(z: Tensor, dim: Any, keepdim: bool = False, **options: Any) -> Callable[[], Tensor]:
    def parts() -> Tensor:
        largest = z.amax(dim=dim, keepdim=True)
        total = largest + torch.log(torch.exp(z - largest).sum(dim=dim, keepdim=True))
        return total if keepdim else total.sum(dim=dim)  # over axes of length one

    return parts


def _layer_norm(
    by: Propagation, x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any
) -> Parts:
    return lambda: _affine(by, _standardised(x, tuple(range(-len(shape), 0)), eps), weight, bias)


def _rms_norm(by: Propagation, x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Parts:
    least = torch.finfo(x.dtype).eps if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    return lambda: _affine(by, x * (x.square().mean(dim=dims, keepdim=True) + least).rsqrt(), weight, None)


def _group_norm(
    by: Propagation, x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any
) -> Parts:
    def parts() -> Tensor:
        grouped = x.reshape(len(x), groups, -1)
        found = _standardised(grouped, (-1,), eps).reshape(x.shape)
        scale, shift = (_per_channel(part, x) for part in (weight, bias))
        return _affine(by, found, scale, shift, owner=weight)

    return parts


def _instance_norm(
    by: Propagation,
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Parts:
    if not use_input_stats:
        return NotImplemented
    dims = tuple(range(2, x.ndim))
    scale, shift = (_per_channel(part, x) for part in (weight, bias))
    return lambda: _affine(by, _standardised(x, dims, eps), scale, shift, owner=weight)


def _standardised(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(dim=dims, keepdim=True)
    return centred * (centred.square().mean(dim=dims, keepdim=True) + eps).rsqrt()


def _per_channel(part: Tensor | None, x: Tensor) -> Tensor | None:
    return None if part is None else part.reshape(-1, *[1] * (x.ndim - 2))


def _affine(by: Propagation, x: Tensor, weight: Any, bias: Any, owner: Tensor | None = None) -> Tensor:
    by.enter(weight if owner is None else owner)
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


def _attention(
    by: Propagation,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Parts:
    if dropout_p or enable_gqa:
        return NotImplemented

    def parts() -> Tensor:
        weights, values = fused(query, key, value, attn_mask, is_causal=is_causal, scale=scale)
        return weights @ values

    return parts


def _multi_head(  # the signature of F.multi_head_attention_forward
    by: Propagation,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Parts:
    if add_zero_attn or (training and dropout_p) or any(part is not None for part in (bias_k, static_k, static_v)):
        return NotImplemented
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)

    def heads(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(l, n, e) -> (n, heads, l, e / heads)."""
        projected = F.linear(x, weight, bias)
        return projected.reshape(*projected.shape[:2], num_heads, -1).permute(1, 2, 0, 3)

    def parts() -> tuple[Tensor, Tensor | None]:
        batched = query.ndim == 3
        sides = [x if batched else x.unsqueeze(1) for x in (query, key, value)]
        kernels = separate if use_separate_proj_weight else in_proj_weight.chunk(3)
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (heads(*each) for each in zip(sides, kernels, biases, strict=True))
        logits = q @ k.mT * q.shape[-1] ** -0.5
        for mask in (attn_mask, key_padding_mask):
            if mask is not None:
                placed = mask.reshape(-1, 1, 1, mask.shape[-1]) if mask is key_padding_mask else mask
                if placed.ndim == 3:
                    placed = placed.reshape(-1, num_heads, *placed.shape[1:])
                logits = masked(logits, ~placed if placed.dtype == torch.bool else placed)
        weights = logits.softmax(dim=-1)
        joined = (weights @ v).permute(2, 0, 1, 3).flatten(2)  # (l, n, e)
        out = F.linear(joined, out_proj_weight, out_proj_bias)
        shown = None
        if need_weights:
            shown = weights.mean(dim=1) if average_attn_weights else weights
            shown = shown if batched else shown.squeeze(0)
        return out if batched else out.squeeze(1), shown

    return parts


def _norm(
    by: Propagation,
    x: Tensor,
    p: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    *rest: Any,
    by_matrix: bool = False,
    **named: Any,
) -> Parts:
    if set(named) - {"ord", "out", "dtype"} or any(named.get(key) is not None for key in ("out", "dtype")):
        return NotImplemented
    kind = named.get("ord", p)
    if by_matrix and kind is not None and (x.ndim == 2 if dim is None else isinstance(dim, tuple | list)):
        return NotImplemented  # of a matrix, ord means singular values, or sums of rows
    axes = tuple(range(x.ndim)) if dim is None else dim
    if kind in (2, "fro", None):
        return lambda: torch.sqrt(x.square().sum(dim=axes, keepdim=keepdim))
    return (lambda: x.abs().sum(dim=axes, keepdim=keepdim)) if kind == 1 else NotImplemented


def _normalize(
    by: Propagation, x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Parts:
    return lambda: x / torch.norm(x, p, dim, True).clamp_min(eps)


def _cosine(by: Propagation, x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Parts:
    return lambda: (F.normalize(x1, dim=dim, eps=eps) * F.normalize(x2, dim=dim, eps=eps)).sum(dim=dim)


def _variance(
    by: Propagation, x: Tensor, dim: Any = None, unbiased: Any = True, keepdim: bool = False, correction: Any = None
) -> Parts:
    if isinstance(dim, bool):  # torch.var(x, unbiased)
        dim, unbiased = None, dim
    axes = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    lost = int(bool(unbiased)) if correction is None else correction
    count = math.prod(x.shape[axis] for axis in axes) - lost
    return lambda: (x - x.mean(dim=axes, keepdim=True)).square().sum(dim=axes, keepdim=keepdim) / count


def _deviation(by: Propagation, *args: Any, **kwargs: Any) -> Parts:
    found = _variance(by, *args, **kwargs)
    return lambda: torch.sqrt(found())


def _loss(kind: Callable[[Tensor], Tensor]) -> Callable[..., Parts]:
    def of(
        by: Propagation,
        x: Tensor,
        target: Tensor,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        weight: Any = None,
    ) -> Parts:
        if weight is not None:
            return NotImplemented
        return lambda: _reduced(kind(x - target), reduction)

    return of


def _reduced(values: Tensor, reduction: str) -> Tensor:
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


def _quotient(by: Propagation, a: Any, b: Any, *, rounding_mode: Any = None) -> Parts:
    if not isinstance(b, Tensor) or not b.requires_grad or rounding_mode is not None:
        return NotImplemented
    return lambda: a * torch.reciprocal(b)


def _larger(by: Propagation, a: Tensor, b: Any = None, *rest: Any, **options: Any) -> Parts:
    if not isinstance(b, Tensor):
        return NotImplemented
    return lambda: b + torch.relu(a - b)


def _smaller(by: Propagation, a: Tensor, b: Any = None, *rest: Any, **options: Any) -> Parts:
    if not isinstance(b, Tensor):
        return NotImplemented
    return lambda: b - torch.relu(b - a)


def _pad(by: Propagation, x: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Parts:
    if mode != "constant" or not value:
        return NotImplemented
    return lambda: F.pad(x, pad) + F.pad(torch.zeros_like(x), pad, value=value)


def _glu(by: Propagation, x: Tensor, dim: int = -1) -> Parts:
    def parts() -> Tensor:
        signal, gate = x.chunk(2, dim=dim)
        return signal * torch.sigmoid(gate)

    return parts


def _joined_product(kind: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Parts]:
    def of(by: Propagation, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Parts:
        return lambda: kind(a, b) * alpha + bias * beta

    return of


SOFTMAX: dict[str, Callable[..., Callable[[], Tensor]]] = {
    "softmax": _softmax,
    "special_softmax": _softmax,
    "log_softmax": _log_softmax,
    "special_log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "special_logsumexp": _logsumexp,
}
DECOMPOSED: dict[str, Callable[..., Parts]] = {
    **RECURRENT,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head,
    "softmin": lambda by, x, dim=None, *rest, **options: lambda: torch.softmax(-x, dim=_axis(x, dim)),
    "norm": _norm,
    "linalg_norm": lambda by, x, ord=None, *rest, **named: _norm(by, x, ord, *rest, by_matrix=True, **named),
    "linalg_vector_norm": _norm,
    "normalize": _normalize,
    "cosine_similarity": _cosine,
    "var": _variance,
    "std": _deviation,
    "mse_loss": _loss(torch.square),
    "l1_loss": _loss(torch.abs),
    "div": _quotient,
    "rdiv": lambda by, b, a: lambda: torch.reciprocal(b) * a,
    "rsub": lambda by, b, a, alpha=1: lambda: a + b * -alpha,
    "rpow": lambda by, a, base: lambda: torch.exp(a * math.log(base)),
    "rmatmul": lambda by, b, a: lambda: torch.matmul(a, b),
    "maximum": _larger,
    "max": _larger,
    "fmax": _larger,
    "minimum": _smaller,
    "min": _smaller,
    "fmin": _smaller,
    "pad": _pad,
    "glu": _glu,
    "addmm": _joined_product(torch.mm),
    "addmv": _joined_product(torch.mv),
    "baddbmm": _joined_product(torch.bmm),
    "addcmul": lambda by, x, a, b, value=1: lambda: x + a * b * value,
    "addcdiv": lambda by, x, a, b, value=1: lambda: x + a / b * value,
    "lerp": lambda by, a, b, weight: lambda: a + (b - a) * weight,
}
