"""Where a transformer's tokens lie in the clip: token sequences to maps and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.outputs import full
from vidence.errors import ExplainError

Order = Literal["t h w", "h w t"]
Folding = Literal["joint", "by frame", "by place"]
EXTRA = 8  # most tokens that stand before those of the clip: class, distillation, registers
ADVICE = (
    "Say where they lie, as in `model.token_layout = TokenLayout(prefix=1, grid=(8, 14, 14))` "
    "(vidence.attribution.tokens)."
)


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """`prefix` tokens of no place (a class token), then those of `grid` = (groups of frames, rows, columns).

    `order` is which of a sequence's axes moves slowest first; None where it could not be told.
    """

    prefix: int
    grid: tuple[int, int, int]
    order: Order | None = "t h w"

    @property
    def places(self) -> int:
        """Tokens of one group of frames."""
        return self.grid[1] * self.grid[2]

    @property
    def tokens(self) -> int:
        """All tokens of a clip."""
        return self.prefix + self.grid[0] * self.places

    def folding(self, rows: int, length: int) -> Folding:
        """How sequences (rows, length) of one clip hold its tokens. Raises `ExplainError` where they do not."""
        frames, places = self.grid[0], self.places
        fits: list[Folding] = []
        if rows == 1 and length == self.tokens:
            return "joint"
        if rows == frames and 0 <= length - places <= EXTRA:
            fits.append("by frame")
        if rows == places and 0 <= length - frames <= EXTRA:
            fits.append("by place")
        if len(fits) != 1:
            raise ExplainError(
                f"tokens must be those of {frames} x {self.grid[1]} x {self.grid[2]} places, of all at once, frame by "
                f"frame or place by place; got {rows} sequences of {length}. Name another layer, take cdam, gradient "
                f"or occlusion. {ADVICE}"
            )
        return fits[0]

    def patches(self, tokens: Float[Tensor, "m l d"]) -> Float[Tensor, "t h w d"]:
        """The tokens of one clip that have a place, on the grid, which is coarser after patches were merged."""
        if tokens.shape[1] == 1 and len(tokens) > 1 and self.places * self.grid[0] > 1:
            tokens = tokens.transpose(0, 1)  # sequence first
        t, h, w = self._merged(tokens)
        layout = TokenLayout(self.prefix, (t, h, w), self.order)
        folding = layout.folding(*tokens.shape[:2])
        if folding == "by frame":
            return rearrange(tokens[:, tokens.shape[1] - h * w :], "t (h w) d -> t h w d", h=h)
        if folding == "by place":
            return rearrange(tokens[:, tokens.shape[1] - t :], "(h w) t d -> t h w d", h=h)
        if self.order is None:
            raise ExplainError(f"the order of {tokens.shape[1]} tokens in one sequence is not known. {ADVICE}")
        return rearrange(tokens[0, self.prefix :], f"({self.order}) d -> t h w d", t=t, h=h)

    def maps(self, tokens: Float[Tensor, "m l d"]) -> Float[Tensor, "t d h w"]:
        """The tokens of one clip as maps, one row a group of frames."""
        return rearrange(self.patches(tokens), "t h w d -> t d h w")

    def split(self, weights: Float[Tensor, "*m l l"]) -> Float[Tensor, "m heads l l"]:
        """Attention weights of one clip, (m, heads, l, l) or with heads folded into the batch, (m heads, l, l)."""
        length = weights.shape[-1]
        if weights.ndim == 4 and (len(weights) > 1 or length == self.tokens):
            return weights
        folded = weights.flatten(0, -3)
        by_frame = 0 <= length - self.places <= EXTRA
        rows = 1 if length == self.tokens else self.grid[0] if by_frame else self.places
        return rearrange(folded, "(m heads) q k -> m heads q k", m=rows if len(folded) % rows == 0 else 1)

    def mixed(self, weights: Float[Tensor, "m l l"], tokens: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What attention makes of all tokens of a clip, `prefix` first and then in the order t h w.

        Divided attention mixes within a frame or a place only; tokens of no place, which all sequences share, get the
        mean over sequences. Tokens that were not attended from are zero.
        """
        (t, _, _), p = self.grid, self.prefix
        weights = full(weights)
        tokens = tokens.to(weights)
        folding = self.folding(len(weights), weights.shape[-1])
        if folding == "joint":
            if self.order is None:
                raise ExplainError(f"the order of {weights.shape[-1]} tokens in one sequence is not known. {ADVICE}")
            index = torch.arange(t * self.places, device=weights.device)
            asked = rearrange(index, f"({self.order}) -> (t h w)", t=t, h=self.grid[1]) + p
            back = torch.cat([torch.arange(p, device=weights.device), asked])
            return weights[0][back][:, back] @ tokens
        shared = weights.shape[-1] - (self.places if folding == "by frame" else t)
        if shared not in (0, p):
            raise ExplainError(
                f"each of {len(weights)} sequences has {shared} tokens without a place of its own, so attention over "
                "all tokens is not defined. Take cdam, gradient or occlusion."
            )
        axes = "(t s) d -> t s d" if folding == "by frame" else "(t s) d -> s t d"
        placed = rearrange(tokens[p:], axes, t=t)
        found = weights @ torch.cat([tokens[:shared].expand(len(placed), -1, -1), placed], dim=1)
        without = found[:, :shared].mean(dim=0) if shared else torch.zeros_like(tokens[:p])
        backwards = " -> ".join(reversed(axes.split(" -> ")))
        return torch.cat([without, rearrange(found[:, shared:], backwards)])

    def read(self, mixing: Float[Tensor, "n n"]) -> Float[Tensor, "t h w"]:
        """What reaches the class token, or the mean of all tokens where there is none, from each place."""
        row = mixing[0] if self.prefix else mixing.mean(dim=0)
        return row[self.prefix :].reshape(self.grid)

    def _merged(self, tokens: Tensor) -> tuple[int, int, int]:
        """The grid of these tokens: that of the patches, or one that is coarser by a whole number in space."""
        t, h, w = self.grid
        if self.prefix == 0 and len(tokens) == 1 and 0 < tokens.shape[1] < t * h * w:
            side = isqrt(t * h * w // tokens.shape[1])
            if t * h * w == tokens.shape[1] * side**2 and h % side == 0 and w % side == 0:
                return t, h // side, w // side
        return self.grid


def declared_layout(model: nn.Module) -> TokenLayout | None:
    """The layout that a model, or one inside it, names in its attribute `token_layout`."""
    named = (getattr(module, "token_layout", None) for module in model.modules())
    return next((layout for layout in named if isinstance(layout, TokenLayout)), None)


def measured_layout(embedded: Sequence[Tensor], sequences: Sequence[Tensor], t: int) -> TokenLayout | None:
    """The layout of one clip of `t` frames by dependence: which place of the first convolution's output a token is of.

    `embedded` are the outputs of the calls of that convolution, `sequences` what was computed of them before the first
    attention, still with their graph. None where no token can be traced to a place or a frame.
    """
    if not embedded:
        return None
    five = embedded[0].ndim == 5
    grid = tuple(embedded[0].shape[2:]) if five else (sum(map(len, embedded)), *embedded[0].shape[2:])
    found = []
    for tokens in sequences:
        tokens = tokens.transpose(0, 1) if tokens.shape[1] == 1 and len(tokens) > 1 else tokens
        if len(tokens) == 1:
            found.append(_joint(_Traced(embedded, tokens), tokens.shape[1], (grid[0], grid[1], grid[2])))
    known = [layout for layout in found if layout is not None]
    if known:
        # tokens of places say more than tokens of frames; they may stand without the class token for a while
        return max(known, key=lambda layout: (layout.places, layout.prefix))
    if grid[1] * grid[2] > 1 and any(_folded(tokens, grid) for tokens in sequences):
        return TokenLayout(0, (grid[0], grid[1], grid[2]), None)
    return None


def _folded(tokens: Tensor, grid: tuple[int, ...]) -> bool:
    """Whether these are sequences of one frame each."""
    return len(tokens) == grid[0] and 0 <= tokens.shape[1] - grid[1] * grid[2] <= EXTRA


class _Traced:
    """Asks which places of the first convolution's output a token depends on."""

    def __init__(self, embedded: Sequence[Tensor], tokens: Tensor) -> None:
        self.embedded, self.tokens = embedded, tokens

    def __call__(self, place: int) -> list[tuple[int, ...]]:
        """The (frame, row, column) of every place that the token at `place` depends on."""
        token = self.tokens[0, place]
        mix = torch.linspace(0, 1, len(token), device=token.device, dtype=token.dtype).square()  # no layer norm's null
        if not token.requires_grad:
            return []
        parts = torch.autograd.grad((token * mix).sum(), self.embedded, retain_graph=True, materialize_grads=True)
        five = parts[0].ndim == 5
        size = parts[0][0].abs().sum(dim=0) if five else torch.cat(list(parts)).abs().sum(dim=1)
        return [tuple(index) for index in size.nonzero().tolist()]


def _joint(
    places_of: Callable[[int], list[tuple[int, ...]]], length: int, grid: tuple[int, int, int]
) -> TokenLayout | None:
    """The layout of one sequence: its last token and a step along each axis must be where an order has them."""
    t, h, w = grid
    prefix = length - t * h * w
    if 0 <= prefix <= EXTRA and places_of(length - 1) == [(t - 1, h - 1, w - 1)]:
        orders: dict[Order, tuple[int, int, int]] = {"t h w": (h * w, w, 1), "h w t": (1, w * t, t)}
        for order, strides in orders.items():
            steps = [(tuple(int(axis == k) for k in range(3)), strides[axis]) for axis in range(3) if grid[axis] > 1]
            if all(places_of(prefix + stride) == [cell] for cell, stride in steps):
                return TokenLayout(prefix, grid, order)
        return None
    if 0 <= length - t <= EXTRA and {place[0] for place in places_of(length - 1)} == {t - 1}:  # a token a frame
        prefix = length - t
        if t == 1 or {place[0] for place in places_of(prefix)} == {0}:
            return TokenLayout(prefix, (t, 1, 1))
    return None
