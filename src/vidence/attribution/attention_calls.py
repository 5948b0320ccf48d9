"""Attention as it is called, fused or written out: its weights are seen at the call, no configuration is touched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidence.attribution.calls import CONVOLUTIONS, GradientOn
from vidence.attribution.families import NAMES as FAMILIES
from vidence.attribution.families import attends, family_of
from vidence.attribution.own_graph import mark
from vidence.attribution.tokens import TokenLayout, declared_layout, measured_layout
from vidence.errors import ExplainError

NORMS = {F.layer_norm, torch.layer_norm, F.rms_norm, torch.rms_norm}
SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum}
# what hands attention weights on without another value, apart from dropout, which is off
PASSING = {
    F.dropout, torch.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.contiguous,
    Tensor.view, Tensor.reshape,
}  # fmt: skip
NAMES = ("norm1", "layernorm_before", "ln_1", "attention_norm")  # of the norm before attention, where it is usual


@dataclass(eq=False)
class Attention:
    """One self-attention of one clip: its weights, detached and fused, or for gradients as they stand in the graph.

    `layer` is the module that owns its projections, as far as one could be told; `norm` the layer whose output it read.
    """

    weights: Tensor | None
    layer: str
    norm: Hashable | None


class AttentionCalls(GradientOn):
    """Sees the self-attentions that `model` calls for one clip of `t` frames, and where their tokens lie.

    `weights`: 'none'; 'values' keeps them, detached and reduced by `fuse`; 'graph' keeps them in the graph, so that a
    gradient reaches them. Fused attention is then computed step by step instead, at the memory of its weights. `mark`:
    the output of the norm before the last attention becomes a leaf in `leaves`; which it is, is known at the end:
    the mode starts from a guess, and `right` says whether it held; if not, call again with `site` set to `last`.
    """

    def __init__(
        self,
        model: nn.Module,
        t: int,
        *,
        weights: Literal["none", "values", "graph"] = "none",
        fuse: Callable[[Tensor], Tensor] | None = None,
        marks: bool = False,
        site: Hashable | None = None,
    ) -> None:
        super().__init__()
        self.names = {id(parameter): name.rpartition(".")[0] for name, parameter in model.named_parameters()}
        self.t, self.weights, self.fuse = t, weights, fuse
        self.site = (site or self._guess(model)) if marks else None
        self.seen: list[Attention] = []
        self.leaves: list[Tensor] = []
        self._layout = declared_layout(model)
        self._known = self._layout is not None
        self._embedded: list[Tensor] = []
        self._kernel: Any = None
        self._sequences: list[Tensor] = []
        self._norm: Hashable | None = None
        self._linear = ""
        self._open: list[Tensor] = []  # what may be attention weights, until values are multiplied
        self._asked = Attention(None, "", None)  # where

    def _guess(self, model: nn.Module) -> Hashable | None:
        usual = [path for path, _ in model.named_modules() if path.rpartition(".")[2] in NAMES]
        return usual[-1] if usual else None

    @property
    def last(self) -> Hashable | None:
        """The norm whose output the last self-attention read."""
        return self.seen[-1].norm if self.seen else None

    @property
    def right(self) -> bool:
        """Whether the marked norm is the one before the last self-attention."""
        return self.last == self.site

    @property
    def layout(self) -> TokenLayout:
        """Where the tokens lie. Raises `ExplainError` where that could not be told."""
        if self._layout is None:
            raise ExplainError(
                "the places of the model's tokens could not be traced to those of a convolution that makes patches. "
                "Say where they lie, as in `model.token_layout = TokenLayout(prefix=1, grid=(8, 14, 14))` "
                "(vidence.attribution.tokens)."
            )
        return self._layout

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is torch._C._set_grad_enabled:
            return super().__torch_function__(func, types, args, kwargs)
        marking = func is Tensor.copy_  # as `mark` does, before its leaf is known here
        with torch.set_grad_enabled(not self._known or bool(self.leaves) or self.weights == "graph" or marking):
            if func is F.scaled_dot_product_attention:
                return self._fused(args, given)
            if func is F.multi_head_attention_forward:
                return self._multi_head(args, given)
            out = func(*args, **given)
            if func in CONVOLUTIONS:
                out = self._embedded_by(args[1] if len(args) > 1 else given["weight"], out)
            self._watch(func, args, given, out)
        return out

    def _watch(self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any], out: Any) -> None:
        if func in NORMS:
            weight = given["weight"] if "weight" in given else args[2] if len(args) > 2 else None
            self._norm = self.names.get(id(weight))
            if self.site is not None and self._norm == self.site:
                self.leaves.append(mark(out))
        elif func is F.linear:
            self._linear = self.names.get(id(args[1] if len(args) > 1 else given["weight"]), self._linear)
        elif func in SOFTMAX:
            self._may_attend(out)
        elif self._open and func in PRODUCTS:
            self._multiplied(args)
        elif self._open and func in PASSING and isinstance(out, Tensor) and any(args[0] is held for held in self._open):
            self._open.append(out)
        if not self._known and isinstance(out, Tensor) and out.ndim == 3 and out.requires_grad:
            self._sequences.append(out)

    def _embedded_by(self, kernel: Tensor, out: Tensor) -> Tensor:
        """What the first convolution returned; tokens are traced to it."""
        if self._known or (self._kernel is not None and self._kernel is not kernel):
            return out
        self._kernel = kernel
        self._embedded.append(out if out.requires_grad else out.requires_grad_())
        return out.clone()  # no leaf, so that it may be changed in place

    def _trace(self) -> None:
        """At the first attention: where the tokens lie that come to it."""
        if not self._known:
            self._known = True
            self._layout = measured_layout(self._embedded, self._sequences, self.t)
            self._embedded, self._sequences = [], []

    def _layer(self) -> str:
        return self._linear.rpartition(".")[0] or self._linear or "functional attention"

    def _site(self, weights: Tensor | None = None) -> Attention:
        """A self-attention with its weights (m, heads, l, l) or (m heads, l, l), kept as they were asked for."""
        if self.weights == "none" or weights is None:
            kept = None
        elif self.weights == "values":
            whole = weights.detach() if self._layout is None else self._layout.split(weights.detach())
            kept = whole if self.fuse is None else self.fuse(whole)
        else:
            kept = weights if weights.requires_grad else weights.requires_grad_()
        return Attention(kept, self._layer(), self._norm)

    def _may_attend(self, out: Tensor) -> None:
        self._open = []
        if out.ndim in (3, 4) and out.shape[-1] == out.shape[-2] > 1:
            if self.weights == "graph" and not out.requires_grad:
                out.requires_grad_()  # before anything is computed from it
            self._open, self._asked = [out], self._site()

    def _multiplied(self, args: tuple[Any, ...]) -> None:
        operands = [part for arg in args for part in (arg if isinstance(arg, list | tuple) else [arg])]
        if any(part is held for part in operands for held in self._open):
            self._trace()
            kept = self._site(self._open[0])  # as the softmax returned them
            self.seen.append(Attention(kept.weights, self._asked.layer, self._asked.norm))
            self._open = []

    def _fused(self, args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
        call = inspect.signature(fused).bind(*args, **given).arguments
        length = call["query"].shape[-2]
        if length != call["key"].shape[-2] or length < 2:
            return F.scaled_dot_product_attention(*args, **given)
        self._trace()
        if self.weights == "none":
            self.seen.append(self._site())
            return F.scaled_dot_product_attention(*args, **given)
        weights, values = fused(*args, **given)
        self.seen.append(self._site(weights))
        return weights @ values

    def _multi_head(self, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        call = inspect.signature(F.multi_head_attention_forward).bind(*args, **given)
        call.apply_defaults()
        asked = call.arguments
        if asked["query"].shape != asked["key"].shape or len(asked["query"]) < 2:
            return F.multi_head_attention_forward(*args, **given)
        self._linear = self.names.get(id(asked["out_proj_weight"]), "")
        self._trace()
        if self.weights == "none":
            self.seen.append(self._site())
            return F.multi_head_attention_forward(*args, **given)
        weights, values = _multi_head_weights(asked)
        self.seen.append(self._site(weights))
        merged = rearrange(weights @ values, "m heads l d -> l m (heads d)")
        output = F.linear(merged, asked["out_proj_weight"], asked["out_proj_bias"])
        shown = weights.mean(dim=1) if asked["average_attn_weights"] else weights
        return output.reshape(asked["query"].shape), shown if asked["need_weights"] else None


class LatentCalls(TorchFunctionMode):
    """Sees the input of the last linear layer that is given one row a clip: what a classifier decides from."""

    def __init__(self, clips: int) -> None:
        super().__init__()
        self.clips = clips
        self.latent: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and args and args[0].ndim == 2 and len(args[0]) == self.clips:
            self.latent = args[0]
        return func(*args, **(kwargs or {}))


def without_attention(model: nn.Module, *, windows: bool = False) -> str | None:
    """Why a method that needs attention (over all tokens, unless `windows` will do) refuses a model; None if not."""
    if not attends(model):
        return (
            f"this method looks at the tokens of attention, which {FAMILIES[family_of(model)]} does not have. "
            "Take grad-cam or when-where."
        )
    names = {type(module).__name__ for module in model.modules()}
    if not windows and any("Swin" in name or "Window" in name for name in names):
        return "attention within windows has no path over all tokens that could be followed. Take cdam."
    return None


def fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """The weights of fused attention and the values they are multiplied with; dropout is off."""
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], dim=-3) for part in (key, value))
    logits = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    return masked(logits, attn_mask).softmax(dim=-1), value


def masked(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Attention logits under a mask of what is allowed (bool), or of what is added (float)."""
    if allowed is None:
        return logits
    return logits.masked_fill(~allowed, -torch.inf) if allowed.dtype == torch.bool else logits + allowed


def _multi_head_weights(asked: Mapping[str, Any]) -> tuple[Float[Tensor, "m heads l l"], Float[Tensor, "m heads l d"]]:
    """Weights and values of `F.multi_head_attention_forward`, sequences first (l, m, d) or one sequence (l, d)."""
    if any(asked[name] is not None for name in ("bias_k", "bias_v", "static_k", "static_v")) or asked["add_zero_attn"]:
        raise ExplainError(
            "attention with bias_k, bias_v, static keys or a zero key looks at more than its tokens, so its weights "
            "have no places. Take cdam, gradient or occlusion."
        )
    x = asked["query"] if asked["query"].ndim == 3 else asked["query"][:, None]
    own = asked["use_separate_proj_weight"]
    kernels = [asked[f"{part}_proj_weight"] for part in "qkv"] if own else asked["in_proj_weight"].chunk(3)
    biases = [None] * 3 if asked["in_proj_bias"] is None else asked["in_proj_bias"].chunk(3)
    sources = [part.reshape(x.shape) for part in (asked["query"], asked["key"], asked["value"])]
    q, k, v = (
        rearrange(F.linear(source, kernel, bias), "l m (heads d) -> m heads l d", heads=asked["num_heads"])
        for source, kernel, bias in zip(sources, kernels, biases, strict=True)
    )
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    for mask in (asked["attn_mask"], asked["key_padding_mask"]):
        if mask is None:
            continue
        if mask is asked["key_padding_mask"]:
            mask = mask.reshape(len(logits), 1, 1, -1)
        elif mask.ndim == 3:
            mask = mask.reshape(logits.shape)
        logits = logits.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return logits.softmax(dim=-1), v
