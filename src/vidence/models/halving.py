"""Stacks of convolutions that halve the side of a map, or double it: the bodies of the small autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vidence.errors import SpecError

SLOPE = 0.2  # of the LeakyReLUs, as in DCGAN (Radford et al. 2016)


def halvings(channels: Sequence[int]) -> list[nn.Module]:
    """Convolution k4 s2, batch norm and LeakyReLU per step from `channels[0]` to `channels[-1]`."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(channels):
        layers += [nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.LeakyReLU(SLOPE)]
    return layers


def doublings(channels: Sequence[int]) -> list[nn.Module]:
    """Transposed convolution k4 s2, batch norm and ReLU per step; the last ends in a sigmoid: a picture in [0, 1]."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(channels[:-1]):
        layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    return [*layers, nn.ConvTranspose2d(channels[-2], channels[-1], 4, 2, 1), nn.Sigmoid()]


def check_size(key: str, size: int, *, multiple: int) -> None:
    """Raise `SpecError` unless the side can be halved down and doubled up again."""
    if size % multiple:
        raise SpecError(
            f"{key}: size must be a multiple of {multiple}; got {size}. Take {size // multiple or 1} x {multiple}."
        )
