"""A small video transformer: attention over time and over space in turn, or over both at once.

After TimeSformer (Bertasius et al., ICML 2021), whose names of weights it has, with tubelets as in ViViT (Arnab et al.,
ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.recipes import check

AttentionKind = Literal["divided", "joint"]
OWN = ("patch", "tubelet", "depth", "heads")  # whole numbers that no other detector has


@dataclass(frozen=True)
class VideoTransformer(ClassifierSettings):
    """Settings of the detector, and its spec line.

    Tubelets of `tubelet` frames and `patch` x `patch` pixels become tokens of `width` values, which `depth` blocks mix
    with `heads` heads: `attention='divided'` over time and then over space, 'joint' over both. `dropout` is in training
    only. `length` and `stride` in frames, `rate` in sampled frames per second (0: every frame) cut the windows; `size`
    is the side of the input in pixels, a multiple of `patch`; `fit` how a frame gets there. `frozen` must be False:
    nothing of the network was trained elsewhere.
    """

    size: int = 64
    patch: int = 8
    tubelet: int = 2
    width: int = 64
    depth: int = 4
    heads: int = 4
    attention: AttentionKind = "divided"
    dropout: float = 0.1
    length: int = 16
    stride: int = 8
    rate: float = 8.0
    fit: Literal["stretch", "letterbox"] = "stretch"
    frozen: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in OWN and value < 1:
                raise SpecError(f"{field.name} must be at least 1; got {value!r}.")
            check(field.name, value)
        if self.attention not in ("divided", "joint"):
            raise SpecError(f"attention must be 'divided' or 'joint'; got {self.attention!r}.")
        if self.size % self.patch or self.width % self.heads:
            raise SpecError(
                f"size must be a multiple of patch, and width of heads; got {self.size} with patch {self.patch}, "
                f"{self.width} with {self.heads} heads."
            )
        if self.frozen:
            raise SpecError(
                "frozen keeps what was trained elsewhere; of a video-transformer nothing was. Leave it out."
            )

    def network(self, classes: int, *, weights: str | Path | None = None) -> VideoTransformerNetwork:
        """The network with random weights; there are none from elsewhere."""
        if weights is not None:
            raise SpecError(
                "there are no published weights of a video-transformer: it starts at random. Leave them out."
            )
        return VideoTransformerNetwork(self, classes)

    def restored(self, classes: int, origin: Mapping[str, Any]) -> VideoTransformerNetwork:
        """The network with random weights."""
        return VideoTransformerNetwork(self, classes)


class VideoTransformerNetwork(nn.Module):
    """x (n, 3, t, size, size) in [0, 1] -> logits (n, classes), read from a class token.

    Tokens are (n, 1 + t' h' w', width) in the order t h w. Any number of frames works: the last one fills a tubelet,
    and what was learnt of times is stretched.
    """

    def __init__(self, settings: VideoTransformer, classes: int) -> None:
        super().__init__()
        side, width = settings.size // settings.patch, settings.width
        self.size, self.tubelet = settings.size, settings.tubelet
        self.patch_embed = PatchEmbedding(width, settings.tubelet, settings.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        self.time_embed = nn.Parameter(torch.zeros(1, -(-settings.length // settings.tubelet), width))
        made = (Block(width, settings.heads, settings.attention, settings.dropout) for _ in range(settings.depth))
        self.blocks = nn.ModuleList(made)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for parameter in (self.cls_token, self.pos_embed, self.time_embed):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n k"]:
        """Logits. Raises `ShapeError` for another size of frames."""
        if x.ndim != 5 or x.shape[1] != 3 or tuple(x.shape[3:]) != (self.size,) * 2 or not x.is_floating_point():
            raise ShapeError(
                f"x must be float RGB (n, 3, t, {self.size}, {self.size}) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Use prepare(clip), or resize the frames."
            )
        missing = -x.shape[2] % self.tubelet
        if missing:
            x = torch.cat([x, x[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)
        maps = self.patch_embed(2 * x - 1)  # (n, d, t', h', w')
        frames, places = maps.shape[2], self.pos_embed[:, 1:]
        tokens = rearrange(maps, "n d t h w -> n t (h w) d") + places[:, None] + self._times(frames)[:, :, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        tokens = torch.cat([first, rearrange(tokens, "n t s d -> n (t s) d")], dim=1)
        for block in self.blocks:
            tokens = block(tokens, frames)
        return self.head(self.norm(tokens[:, 0]))

    def _times(self, frames: int) -> Float[Tensor, "1 t d"]:
        if frames == self.time_embed.shape[1]:
            return self.time_embed
        times = rearrange(self.time_embed, "1 t d -> 1 d t")
        return rearrange(F.interpolate(times, size=frames, mode="linear"), "1 d t -> 1 t d")


class PatchEmbedding(nn.Module):
    """A token for each tubelet, by a convolution that does not overlap."""

    def __init__(self, width: int, tubelet: int, patch: int) -> None:
        super().__init__()
        cell = (tubelet, patch, patch)
        self.proj = nn.Conv3d(3, width, cell, cell)

    def forward(self, x: Float[Tensor, "n 3 t h w"]) -> Float[Tensor, "n d t h w"]:
        """Maps of tokens."""
        return self.proj(x)


class Block(nn.Module):
    """Norm, attention, sum; norm, two linear layers, sum. Divided: attention over time comes before that over space."""

    def __init__(self, width: int, heads: int, kind: AttentionKind, dropout: float) -> None:
        super().__init__()
        self.divided = kind == "divided"
        if self.divided:
            self.temporal_norm1 = nn.LayerNorm(width)
            self.temporal_attn = SelfAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "n l d"], frames: int) -> Float[Tensor, "n l d"]:
        """The tokens of `frames` groups of frames behind a class token, mixed."""
        if self.divided:
            tokens = self._over_time(tokens, frames)
            tokens = tokens + self.drop(self._over_space(tokens, frames))
        else:
            tokens = tokens + self.drop(self.attn(self.norm1(tokens)))
        return tokens + self.drop(self.mlp(self.norm2(tokens)))

    def _over_time(self, tokens: Tensor, frames: int) -> Tensor:
        """Each place by itself; the class token stays."""
        n, first, placed = len(tokens), tokens[:, :1], tokens[:, 1:]
        seen = rearrange(placed, "n (t s) d -> (n s) t d", t=frames)
        mixed = rearrange(self.temporal_attn(self.temporal_norm1(seen)), "(n s) t d -> n (t s) d", n=n)
        return torch.cat([first, placed + self.drop(mixed)], dim=1)

    def _over_space(self, tokens: Tensor, frames: int) -> Tensor:
        """Each frame by itself with the class token, whose results are averaged over frames."""
        n = len(tokens)
        first = repeat(tokens[:, :1], "n 1 d -> (n t) 1 d", t=frames)
        placed = rearrange(tokens[:, 1:], "n (t s) d -> (n t) s d", t=frames)
        mixed = self.attn(self.norm1(torch.cat([first, placed], dim=1)))
        shared = rearrange(mixed[:, :1], "(n t) 1 d -> n t d", n=n).mean(dim=1, keepdim=True)
        return torch.cat([shared, rearrange(mixed[:, 1:], "(n t) s d -> n (t s) d", n=n)], dim=1)


class SelfAttention(nn.Module):
    """Attention of several heads, of the tokens of each sequence among themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "m l d"]) -> Float[Tensor, "m l d"]:
        """The tokens, mixed."""
        q, k, v = rearrange(self.qkv(tokens), "m l (part heads d) -> part m heads l d", part=3, heads=self.heads)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "m heads l d -> m l (heads d)"))


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "m l d"]) -> Float[Tensor, "m l d"]:
        """Each token by itself."""
        return self.fc2(self.drop(F.gelu(self.fc1(tokens))))
