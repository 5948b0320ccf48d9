"""The layers of Ravi's autoencoders as data: what the released code builds, and what the thesis' text says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vidence.errors import SpecError

Activation = Literal["relu", "leaky", "leakier", "tanh", "sigmoid"]
Variant = Literal["sum", "branches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution with its batch norm and activation; `filters` None: as many as the picture has channels.

    `strengthened`: an asymmetric block takes its place where the kernel is 'acb'.
    """

    filters: int | None
    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    transposed: bool = False
    norm: bool = True
    activation: Activation = "leaky"
    strengthened: bool = True

    def side(self, side: int) -> int:
        """The side of what this layer makes of a map."""
        if self.transposed:
            return (side - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding
        return (
            (side + 2 * self.padding - self.kernel) // self.stride + 1 if side + 2 * self.padding >= self.kernel else 0
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Encoder and decoder, layer by layer. `variant`: where an asymmetric block of it has its batch norm."""

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    variant: Variant = "sum"

    def side(self, size: int) -> int:
        """The side of the reconstruction of a picture; 0 where the encoder has nothing left to look at."""
        side = size
        for layer in (*self.encoder, *self.decoder):
            side = layer.side(side)
            if side < 1:
                return 0
        return side

    @property
    def sizes(self) -> str:
        """The smaller sizes that come back as they are, in words."""
        return ", ".join(str(each) for each in range(16, 257) if self.side(each) == each) + " ..."


def check_size(name: str, plan: Plan, size: int) -> None:
    """Raise `SpecError` unless the plan gives a picture of `size` back at that size."""
    if plan.side(size) != size:
        raise SpecError(
            f"{name}: size must be one that its layers give back ({plan.sizes}); got {size}. Take one of them."
        )


def _encoder(
    filters: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    *,
    paddings: Sequence[int] = (0, 0, 0, 0, 0),
    norms: Sequence[bool] = (True,) * 5,
    activations: Sequence[Activation] = ("leaky", "leaky", "leaky", "leaky", "tanh"),
    strengthened: Sequence[bool] = (True,) * 5,
) -> tuple[Layer, ...]:
    rows = zip(filters, kernels, strides, paddings, norms, activations, strengthened, strict=True)
    return tuple(
        Layer(filters=f, kernel=k, stride=s, padding=p, norm=n, activation=a, strengthened=b)
        for f, k, s, p, n, a, b in rows
    )


def _decoder(
    filters: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    last: Layer,
    *,
    padding: int = 0,
    activation: Activation = "leaky",
) -> tuple[Layer, ...]:
    rows = (
        Layer(
            filters=f,
            kernel=k,
            stride=s,
            padding=padding,
            output_padding=padding,
            transposed=True,
            activation=activation,
        )
        for f, k, s in zip(filters, kernels, strides, strict=True)
    )
    return (*rows, last)


_SMOOTHED = Layer(filters=None, kernel=3, activation="sigmoid", strengthened=False)  # BCAE1's last layer
_WIDENED = Layer(filters=None, kernel=4, transposed=True, norm=False, activation="sigmoid", strengthened=False)
_FIVE = (64, 64, 64, 96, 96)
_HALVING = (2, 2, 2, 2, 1)
_CODED: tuple[Activation, ...] = ("relu", "leakier", "leakier", "leakier", "sigmoid")
_INNER = (False, True, True, True, False)

PLANS: dict[str, Plan] = {
    # released code: 128, 63, 31, 15, 7, 4 and 7, 15, 31, 64, 130, 128
    "bcae1": Plan(
        _encoder(_FIVE, (3, 3, 3, 3, 4), _HALVING),
        _decoder((96, 64, 64, 64, 64), (4, 3, 3, 4, 4), (1, 2, 2, 2, 2), _SMOOTHED),
    ),
    # the release's form with asymmetric blocks: 128, 64, 32, 16, 8, 4 and 7, 15, 31, 63, 130, 128
    "bcae1 acb": Plan(
        _encoder(_FIVE, (3,) * 5, (2,) * 5, paddings=(1,) * 5),
        _decoder((96, 64, 64, 64, 64), (4, 3, 3, 3, 6), (1, 2, 2, 2, 2), _SMOOTHED),
    ),
    # the release's form with attention augmented convolutions: 128, 64, 32, 16, 8, 4; a code of 2048
    "bcae1 aa": Plan(
        _encoder(
            (64, 64, 64, 64, 128),
            (3, 3, 3, 3, 5),
            _HALVING,
            paddings=(1, 1, 1, 1, 0),
            activations=("relu", "relu", "relu", "relu", "tanh"),
        ),
        _decoder((64,) * 5, (4, 3, 3, 4, 4), (1, 2, 2, 2, 2), _SMOOTHED),
    ),
    # the text: five and five layers, 3 x 3, ReLU and LeakyReLU .2. Its stride of 1 in the last encoder layer would give
    # a code of 2400, so that layer has a stride of 2 as well: 64, 32, 16, 8, 4, the printed code of 1536
    "bcae1-text": Plan(
        _encoder(
            _FIVE,
            (3,) * 5,
            (2,) * 5,
            paddings=(1,) * 5,
            activations=("relu",) * 5,
        ),
        _decoder(
            (96, 64, 64, 64),
            (3,) * 4,
            (2,) * 4,
            Layer(
                filters=None,
                kernel=3,
                stride=2,
                padding=1,
                output_padding=1,
                transposed=True,
                activation="sigmoid",
                strengthened=False,
            ),
            padding=1,
            activation="leakier",
        ),
    ),
    # released code: 128, 63, 31, 9, 3, 1 and 3, 9, 29, 61, 125, 128
    "bcae2": Plan(
        _encoder((64, 128, 256, 512, 300), (3, 3, 5, 5, 3), (2, 2, 3, 2, 2), norms=_INNER, activations=_CODED),
        _decoder((512, 256, 128, 64, 16), (3, 5, 5, 5, 5), (2, 2, 3, 2, 2), _WIDENED, activation="relu"),
        variant="branches",
    ),
    # released code: 128, 64, 32, 11, 4, 1 and 3, 9, 29, 61, 125, 128; the code's layer stays plain
    "ks": Plan(
        _encoder(
            (64, 64, 128, 256, 300),
            (3, 3, 5, 5, 3),
            (2, 2, 3, 3, 2),
            paddings=(1, 1, 2, 2, 0),
            norms=_INNER,
            activations=("relu", "relu", "relu", "relu", "sigmoid"),
            strengthened=(True, True, True, True, False),
        ),
        _decoder((256, 128, 64, 64, 16), (3, 5, 5, 5, 5), (2, 2, 3, 2, 2), _WIDENED, activation="relu"),
        variant="branches",
    ),
}


def plan_of(name: str, *, kernel: str = "plain", attention: str | None = None) -> Plan:
    """The plan's layers; the release gives BCAE1 other ones for asymmetric blocks and for augmented attention."""
    return PLANS.get(f"{name} {attention}") or PLANS.get(f"{name} {kernel}") or PLANS[name]
