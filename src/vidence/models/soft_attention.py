"""Attention in Ravi's autoencoders: of channels, of places among each other, and of the input's pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

RATIO = 16  # channels a squeezed value stands for
KEYS = 8  # output channels a key's value stands for
PROJECTION = 64  # C_p: channels between the two convolutions of an input attention
FLOOR = 0.3  # of a scaled softmax


class SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels' means say of it (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // RATIO, bias=False)
        self.excite = nn.Linear(channels // RATIO, channels, bias=False)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """Scale the channels."""
        scale = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class AugmentedConv(nn.Module):
    """A convolution one of whose output channels is self-attention over all places (Bello et al., ICCV 2019).

    One head, keys of c_out / 8 values, values of one, no relative positions: the thesis' "lowest settings".
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.keys = c_out // KEYS
        self.convolution = nn.Conv2d(c_in, c_out - 1, kernel, stride, padding)
        self.asking = nn.Conv2d(c_in, 2 * self.keys + 1, kernel, stride, padding)  # query, key, value
        self.answer = nn.Conv2d(1, 1, 1)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m k i j"]:
        """Convolve and attend. Never holds the (i j) x (i j) matrix where the machine has a fused attention."""
        convolved = self.convolution(x)
        flat = rearrange(self.asking(x), "m k i j -> m 1 (i j) k")
        query, key, value = flat.split((self.keys, self.keys, 1), dim=-1)
        # the fused kernel wants values as long as the keys
        values = F.pad(value, (0, self.keys - 1))
        attended = F.scaled_dot_product_attention(query.contiguous(), key.contiguous(), values)[..., :1]
        answered = rearrange(attended, "m 1 (i j) 1 -> m 1 i j", i=convolved.shape[2])
        return torch.cat([convolved, self.answer(answered)], dim=1)


class InputAttention(nn.Module):
    """Weighs the pixels of the input by a learned mask in [0, 1] (thesis eq. 3.11, "SA").

    `released`: as the released code did; what goes on is then a sigmoid of the weighed pixels, and is the mask as well.
    """

    def __init__(self, channels: int, *, released: bool = False) -> None:
        super().__init__()
        self.released = released
        self.local, self.wide, self.norm = _looks(channels)

    def forward(self, x: Float[Tensor, "m c h w"]) -> tuple[Float[Tensor, "m c h w"], Float[Tensor, "m c h w"]]:
        """The weighed input and the mask."""
        weights = self.wide(self.local(x))
        if self.released:
            weighed = torch.sigmoid(self.norm(x * weights))
            return weighed, weighed
        mask = torch.sigmoid(self.norm(weights))
        return x * mask, mask


class SoftmaxAttention(nn.Module):
    """Weighs the pixels of the input by a softmax over columns times one over rows (thesis eq. 3.12, "SSA").

    As printed, and as used for table 4.8, the softmaxes are of sums over a whole side. Of 128 normalised values these
    are so far apart that a mask is 1 at one pixel and 0 elsewhere, and passes no gradient. `scaled` takes means, and
    stretches each softmax to [.3, 1] before the product, which the thesis mentions and later released forms do (they
    also smooth). Softmax and product are float32 also under autocast.
    """

    def __init__(self, channels: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.scaled = scaled
        self.local, self.wide, self.norm = _looks(channels)

    def forward(self, x: Float[Tensor, "m c h w"]) -> tuple[Float[Tensor, "m c h w"], Float[Tensor, "m c h w"]]:
        """The weighed input and the mask."""
        weights = self.norm(self.wide(self.local(x))).float()
        reduced = torch.mean if self.scaled else torch.sum
        columns = reduced(weights, dim=2, keepdim=True).softmax(dim=3)  # (m, c, 1, w)
        rows = reduced(weights, dim=3, keepdim=True).softmax(dim=2)  # (m, c, h, 1)
        mask = _stretched(rows) * _stretched(columns) if self.scaled else rows * columns
        return x * mask, mask


def _stretched(shares: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
    low, high = (each(shares, dim=(2, 3), keepdim=True) for each in (torch.amin, torch.amax))
    return FLOOR + (1 - FLOOR) * (shares - low) / (high - low).clamp(min=torch.finfo(shares.dtype).tiny)


def _looks(channels: int) -> tuple[nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]:
    """A near look, a wide one and their batch norm: what both input attentions begin with."""
    return (
        nn.Conv2d(channels, PROJECTION, 3, padding=1),
        nn.Conv2d(PROJECTION, channels, 5, padding=2),
        nn.BatchNorm2d(channels),
    )
