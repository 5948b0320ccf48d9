"""Ravi's convolutional autoencoders of single frames, all from one definition: `cae` and its presets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.models.asymmetric import AsymmetricBlock
from vidence.models.plans import Activation, Layer, Variant, check_size, plan_of
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import Loss, ReconstructionSettings
from vidence.models.soft_attention import AugmentedConv, InputAttention, SoftmaxAttention, SqueezeExcitation

PlanName = Literal["bcae1", "bcae2", "ks", "bcae1-text"]
Kernel = Literal["plain", "acb"]
Attention = Literal["aa", "se", "sa", "ssa"]


@dataclass(frozen=True, kw_only=True)
class Cae(ReconstructionSettings):
    """Convolutional autoencoder of single frames (Ravi's thesis, chapters 3 and 4).

    `plan`: which layers, see `plans.py`; all fit pictures of 128 x 128. `kernel='acb'` puts asymmetric blocks in place
    of the convolutions, `variant` says where they have their batch norm (None: as the release has it for the plan),
    `centre` where the stripes of transposed ones lie; `vidence.models.asymmetric.fuse` makes plain ones of them.
    `attention`: augmented convolutions in the encoder (`aa`), squeeze and excitation behind layers (`se`), a mask on
    the input (`sa`, of which `mask_weight` times the norm is added to the loss, and `ssa`, which learns only where
    `scaled`). `residual`: a convolution with a shortcut behind each layer of the encoder but the last; `parallel`:
    half of the encoder's filters have kernels larger by 2. With `recipe='released'` the mask of `sa` and its norm are
    the released ones.
    """

    plan: PlanName = "bcae1"
    kernel: Kernel = "plain"
    variant: Variant | None = None
    centre: bool = True
    attention: Attention | None = None
    mask_weight: float = 1e-6
    scaled: bool = False
    residual: bool = False
    parallel: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be combined, and sizes that the plan does not give back."""
        super().__post_init__()
        for name, choices in (
            ("plan", get_args(PlanName)),
            ("kernel", get_args(Kernel)),
            ("variant", (None, *get_args(Variant))),
            ("attention", (None, *get_args(Attention))),
        ):
            if getattr(self, name) not in choices:
                raise SpecError(f"{name} must be one of {', '.join(map(str, choices))}; got {getattr(self, name)!r}.")
        if self.attention == "aa" and self.kernel == "acb":
            raise SpecError(
                "attention='aa' has convolutions of its own; kernel must be 'plain'. Choose one of the two."
            )
        if not self.mask_weight >= 0:
            raise SpecError(f"mask_weight must not be negative; got {self.mask_weight!r}.")
        check_size(self.plan, plan_of(self.plan, kernel=self.kernel, attention=self.attention), self.size)

    def network(self) -> CaeNetwork:
        """The untrained network."""
        return CaeNetwork(self)


@dataclass(frozen=True, kw_only=True)
class Bcae1(Cae):
    """BCAE1, the baseline of the thesis: a code of 1536 values a frame."""


@dataclass(frozen=True, kw_only=True)
class Bcae2(Cae):
    """BCAE2, the wider baseline: a code of 300 values a frame."""

    plan: PlanName = "bcae2"


@dataclass(frozen=True, kw_only=True)
class KsCae(Cae):
    """KS-CAE, kernels strengthened by asymmetric blocks; half of BCAE2's filters."""

    plan: PlanName = "ks"
    kernel: Kernel = "acb"


@dataclass(frozen=True, kw_only=True)
class AaCae(Cae):
    """AA-CAE, BCAE1 with attention augmented convolutions: a code of 2048 values a frame."""

    attention: Attention | None = "aa"


@dataclass(frozen=True, kw_only=True)
class SeCae(Cae):
    """SE-CAE, BCAE1 with squeeze and excitation."""

    attention: Attention | None = "se"


@dataclass(frozen=True, kw_only=True)
class SaCae(Cae):
    """SA-CAE, BCAE1 behind a learned mask on the input."""

    attention: Attention | None = "sa"


@dataclass(frozen=True, kw_only=True)
class SsaCae(Cae):
    """SSA-CAE, BCAE1 behind a softmax mask on the input."""

    attention: Attention | None = "ssa"


@dataclass(frozen=True, kw_only=True)
class CaeAll(Cae):
    """BCAE1 with all that the thesis adds to a network: asymmetric blocks, a scaled softmax mask, the compound loss,
    and the residual connections it leaves for later. The SVDD step is the training's and may follow.
    """

    kernel: Kernel = "acb"
    attention: Attention | None = "ssa"
    scaled: bool = True
    residual: bool = True
    loss: Loss = "compound"


class CaeNetwork(ReconstructionNetwork):
    """Encoder and decoder of a plan, one child a layer; frames are folded into the batch, channels last in memory."""

    def __init__(self, settings: Cae) -> None:
        super().__init__()
        self.channels = settings.channels or 3
        self.mask_weight = settings.mask_weight if settings.attention == "sa" else 0.0
        self.released = settings.recipe == "released"
        # an unscaled softmax mask leaves so little that bfloat16 would lose it beside the first layer's bias
        self.faint = settings.attention == "ssa" and not settings.scaled
        self.mask: InputAttention | SoftmaxAttention | None = None
        if settings.attention == "sa":
            self.mask = InputAttention(self.channels, released=self.released)
        elif settings.attention == "ssa":
            self.mask = SoftmaxAttention(self.channels, scaled=settings.scaled)
        self.plan = plan = plan_of(settings.plan, kernel=settings.kernel, attention=settings.attention)
        make = _Layers(settings, plan.variant)
        self.encoder = make.stack(plan.encoder, self.channels, encoding=True)
        self.decoder = make.stack(plan.decoder, plan.encoder[-1].filters or self.channels, encoding=False)
        _channels_last(self)

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t d"]:
        """The frames' codes, without decoding them."""
        return _codes(self._encoded(x)[0], len(x))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct every frame by itself. Raises `ShapeError` for frames of a size that does not come back."""
        maps, mask = self._encoded(x)
        x_hat = rearrange(self.decoder(maps), "(n t) c h w -> n c t h w", n=len(x))
        if mask is not None:
            mask = rearrange(mask, "(n t) h w -> n t h w", n=len(x))
        return Reconstruction(x_hat, code=_codes(maps, len(x)), attention=mask)

    def penalty(self, output: Reconstruction, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, ""]:
        """`mask_weight` times the norm of a frame's mask over pixels and channels, mean of the frames.

        With `recipe='released'` as its code has it: one norm over the whole batch, which grows with the root of its
        frames.
        """
        if not self.mask_weight or output.attention is None:
            return output.x_hat.new_zeros(())
        over = (0, 1, 2, 3) if self.released else (2, 3)
        norms = torch.linalg.vector_norm(output.attention.float(), dim=over)  # of each channel, were all alike
        return self.mask_weight * self.channels**0.5 * norms.mean()

    def _encoded(self, x: Float[Tensor, "n c t h w"]) -> tuple[Float[Tensor, "m k i j"], Float[Tensor, "m h w"] | None]:
        if any(self.plan.side(side) != side for side in x.shape[3:]):
            raise ShapeError(
                f"this autoencoder takes frames whose sides its layers give back ({self.plan.sizes}); got "
                f"{tuple(x.shape[3:])}. Resize them, as a detector's prepare does."
            )
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (n t) c h w")
        frames = frames.contiguous(memory_format=torch.channels_last)
        if self.mask is None:
            return self.encoder(frames), None
        seen, mask = self.mask(frames)
        # root mean square over the channels: `penalty` gets the norm over all of them back
        shown = torch.linalg.vector_norm(mask.float(), dim=1) / self.channels**0.5
        first, *others = self.encoder
        kind = x.device.type
        with torch.autocast(kind, enabled=torch.is_autocast_enabled(kind) and not self.faint):
            maps = first(seen)
        for layer in others:
            maps = layer(maps)
        return maps, shown


class Residual(nn.Module):
    """An activation of the sum of a map and what `inner` makes of it."""

    def __init__(self, inner: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.inner, self.activation = inner, activation

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """Add and activate."""
        return self.activation(x + self.inner(x))


class Parallel(nn.Module):
    """The outputs of several ways, one behind the other as channels."""

    def __init__(self, *ways: nn.Module) -> None:
        super().__init__()
        self.ways = nn.ModuleList(ways)

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m k i j"]:
        """Go all ways."""
        return torch.cat([way(x) for way in self.ways], dim=1)


class _Layers:
    """Makes modules of a plan's layers, as the settings ask."""

    def __init__(self, settings: Cae, variant: Variant) -> None:
        self.settings = settings
        self.variant: Variant = settings.variant or variant

    def stack(self, layers: Sequence[Layer], c_in: int, *, encoding: bool) -> nn.Sequential:
        """One child a layer: convolution, batch norm, activation, and what the settings put behind them."""
        made = []
        # as released: none behind the code, none behind the decoder's last transposed convolution
        squeezed = sum(layer.transposed != encoding for layer in layers) - 1 if self.settings.attention == "se" else 0
        for place, layer in enumerate(layers):
            c_out = layer.filters or self.settings.channels or 3
            inner = encoding and place < len(layers) - 1
            if encoding and self.settings.parallel:
                wider = replace(layer, kernel=layer.kernel + 2, padding=layer.padding + 1)
                ways = (self._convolution(each, c_in, c_out // 2, inner=inner) for each in (layer, wider))
                parts: list[nn.Module] = [Parallel(*(nn.Sequential(*way) for way in ways))]
            else:
                parts = self._convolution(layer, c_in, c_out, inner=inner)
            parts.append(_activation(layer.activation))
            if inner and self.settings.residual:
                same = replace(layer, kernel=3, stride=1, padding=1)
                around = nn.Sequential(*self._convolution(same, c_out, c_out, inner=inner))
                parts.append(Residual(around, _activation(layer.activation)))
            if place < squeezed:
                parts.append(SqueezeExcitation(c_out))
            made.append(nn.Sequential(*parts))
            c_in = c_out
        return nn.Sequential(*made)

    def _convolution(self, layer: Layer, c_in: int, c_out: int, *, inner: bool) -> list[nn.Module]:
        """The convolution with its batch norm; `inner`: of the encoder, but not its last layer."""
        shape = (c_in, c_out, layer.kernel, layer.stride, layer.padding)
        norm = nn.BatchNorm2d(c_out) if layer.norm else None
        if inner and self.settings.attention == "aa":
            made: list[nn.Module] = [AugmentedConv(*shape)]
            return made if norm is None else [*made, norm]
        convolution = nn.ConvTranspose2d(*shape, layer.output_padding) if layer.transposed else nn.Conv2d(*shape)
        if self.settings.kernel == "acb" and layer.strengthened:
            return [AsymmetricBlock(convolution, norm, variant=self.variant, centre=self.settings.centre)]
        return [convolution] if norm is None else [convolution, norm]


def _codes(maps: Float[Tensor, "m k i j"], clips: int) -> Float[Tensor, "n t d"]:
    return rearrange(maps, "(n t) k i j -> n t (k i j)", n=clips)


def _activation(name: Activation) -> nn.Module:
    made: dict[str, nn.Module] = {
        "relu": nn.ReLU(inplace=True),
        "leaky": nn.LeakyReLU(0.01, inplace=True),
        "leakier": nn.LeakyReLU(0.2, inplace=True),
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
    }
    return made[name]


def _channels_last(network: nn.Module) -> None:
    """Lay out the weights of convolutions as the frames are, so that no call has to."""
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
