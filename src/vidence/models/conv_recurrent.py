"""Convolutional recurrent cells and layers: RNN, LSTM and GRU whose products are convolutions.

Everything here takes frames folded into the batch, time first: `x` is ((t n), c, h, w), and `n` says how many clips
there are. A layer's input convolution then sees all frames at once; only the state's convolution waits for the frame
before. Ravi's thesis, section 3.7.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Cell = Literal["rnn", "lstm", "gru"]
Combine = Literal["mean", "sum", "concat"]
Frames: TypeAlias = Float[Tensor, "tn c h w"]
State: TypeAlias = tuple[Tensor, ...]  # the hidden maps (n, c, h, w), and the LSTM's cell maps

STATE_KERNEL = 3


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution without padding, or a transposed one, of a square kernel."""

    c_in: int
    c_out: int
    kernel: int = 3
    stride: int = 1
    transposed: bool = False

    def side(self, side: int) -> int:
        """The side of the maps it makes of maps of a side."""
        if self.transposed:
            return (side - 1) * self.stride + self.kernel
        return (side - self.kernel) // self.stride + 1

    def convolution(self, *, maps: int = 1, bias: bool = True) -> nn.Conv2d | nn.ConvTranspose2d:
        """The convolution, with `maps` times its channels, drawn as if each of the parts stood alone."""
        kind = nn.ConvTranspose2d if self.transposed else nn.Conv2d
        made = kind(self.c_in, maps * self.c_out, self.kernel, self.stride, bias=bias)
        for part in made.weight.detach().chunk(maps, dim=1) if self.transposed else ():
            nn.init.kaiming_uniform_(part, a=5**0.5)  # a transposed kernel's range depends on its outputs
        return made


class ConvCell(nn.Module, ABC):
    """One recurrent cell: `project` all frames, `step` through them, `output` what the next layer sees.

    The state is None before the first frame: zeros. `bias` and `peephole` (the side of the cell's maps) add the terms
    b and W_c of the text's equations, which the released code leaves out; only the LSTM has a W_c. `legacy` allocates
    what the released code allocates.
    """

    gates: ClassVar[int]
    biased: ClassVar[int]  # of the gates, the first so many have a b
    states: ClassVar[int] = 1

    def __init__(
        self, geometry: Geometry, *, bias: bool = False, peephole: int | None = None, legacy: bool = False
    ) -> None:
        super().__init__()
        self.width = width = geometry.c_out
        self.w_x = geometry.convolution(maps=self.gates, bias=False)
        self.w_h = state_convolution(width, self.gates * width)
        self.b = nn.Parameter(torch.zeros(self.biased * width)) if bias else None

    def project(self, x: Frames) -> Frames:
        """W_x * X + b of all gates, of any number of frames."""
        wx = self.w_x(x)
        if self.b is None:
            return wx
        return wx + F.pad(self.b, (0, wx.shape[1] - len(self.b)))[:, None, None].to(wx.dtype)

    @abstractmethod
    def step(self, wx: Float[Tensor, "n g h w"], state: State | None) -> State:
        """The state after a frame whose projection is `wx`."""

    def output(self, h: Frames) -> Frames:
        """What the next layer sees of hidden maps, of any number of frames."""
        return h


class ConvRNN(ConvCell):
    """Equation 3.15: H = tanh(W_x * X + W_h * H' + b), O = sigmoid(W_o * H + b_o)."""

    gates, biased = 1, 1

    def __init__(
        self, geometry: Geometry, *, bias: bool = False, peephole: int | None = None, legacy: bool = False
    ) -> None:
        super().__init__(geometry, bias=bias, peephole=peephole, legacy=legacy)
        self.w_o = state_convolution(self.width, self.width, bias=bias)

    def step(self, wx: Float[Tensor, "n g h w"], state: State | None) -> State:
        """(H,)."""
        return (torch.tanh(wx if state is None else wx + self.w_h(state[0])),)

    def output(self, h: Frames) -> Frames:
        """O."""
        return torch.sigmoid(self.w_o(h))


class ConvLSTM(ConvCell):
    """Equation 3.16, gates in the order i, f, c, o; `w_c` holds the peepholes of i, f and o."""

    gates, biased, states = 4, 4, 2

    def __init__(
        self, geometry: Geometry, *, bias: bool = False, peephole: int | None = None, legacy: bool = False
    ) -> None:
        super().__init__(geometry, bias=bias, peephole=peephole, legacy=legacy)
        shape = None if peephole is None else (3, self.width, peephole, peephole)
        self.w_c = None if shape is None else nn.Parameter(torch.zeros(shape))

    def step(self, wx: Float[Tensor, "n g h w"], state: State | None) -> State:
        """(H, C)."""
        i, f, g, o = (wx if state is None else wx + self.w_h(state[0])).chunk(4, dim=1)
        if self.w_c is not None and state is not None:
            w_i, w_f, _ = self.w_c.to(wx.dtype)
            i, f = i + w_i * state[1], f + w_f * state[1]
        c = torch.sigmoid(i) * torch.tanh(g)
        if state is not None:
            c = torch.sigmoid(f) * state[1] + c
        if self.w_c is not None:
            o = o + self.w_c[2].to(wx.dtype) * c
        return torch.sigmoid(o) * torch.tanh(c), c


class ConvGRU(ConvCell):
    """Equation 3.17, gates in the order u, r, a; a has no b. `legacy`: a transposed cell has a W_o that is not used."""

    gates, biased = 3, 2

    def __init__(
        self, geometry: Geometry, *, bias: bool = False, peephole: int | None = None, legacy: bool = False
    ) -> None:
        super().__init__(geometry, bias=bias, peephole=peephole, legacy=legacy)
        if legacy and geometry.transposed:
            self.w_o = state_convolution(self.width, self.width)

    def step(self, wx: Float[Tensor, "n g h w"], state: State | None) -> State:
        """(H,)."""
        if state is None:
            u, _, a = wx.chunk(3, dim=1)
            return ((1 - torch.sigmoid(u)) * torch.tanh(a),)
        h, wh, both = state[0], self.w_h(state[0]), 2 * self.width
        u, r = torch.sigmoid(wx[:, :both] + wh[:, :both]).chunk(2, dim=1)
        a = torch.tanh(wx[:, both:] + r * wh[:, both:])
        return ((1 - u) * a + u * h,)


CELLS: dict[str, type[ConvCell]] = {"rnn": ConvRNN, "lstm": ConvLSTM, "gru": ConvGRU}


class Recurrent(nn.Module):
    """A layer of one cell, or of two that read the clip forwards and backwards."""

    def __init__(self, *cells: ConvCell, combine: Combine = "mean") -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.combine = combine

    def forward(
        self, x: Frames, n: int, *, state: State | None = None, way: int | None = None
    ) -> tuple[Frames, State | None]:
        """All frames' outputs, and the state after the last one (None of two cells).

        `way` 0 runs the first cell forwards, 1 the second one backwards, None all that there are.
        """
        cells = cast("list[ConvCell]", list(self.cells))
        if way is None and len(cells) == 2:
            forwards, backwards = (unrolled(cell, x, n, way=k)[0] for k, cell in enumerate(cells))
            if self.combine == "concat":
                return torch.cat([forwards, backwards], dim=1), None
            both = forwards + backwards
            return both / 2 if self.combine == "mean" else both, None
        return unrolled(cells[way or 0], x, n, way=way or 0, state=state)


class Handover(nn.Module):
    """Brings an encoder layer's state to the shape of the decoder layer that mirrors it.

    One transposed convolution per map of the state, of the decoder layer's geometry; hidden maps stay in (-1, 1).
    """

    def __init__(self, geometry: Geometry, states: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(geometry.convolution(bias=False) for _ in range(states))

    def forward(self, state: State) -> State:
        """The decoder's state."""
        h, *rest = (convolution(held) for convolution, held in zip(self.maps, state, strict=True))
        return torch.tanh(h), *rest


class Stack(nn.ModuleList):
    """Layers in order; a `Recurrent` one keeps a state."""

    def forward(
        self,
        x: Frames,
        n: int,
        *,
        states: Mapping[int, State] = MappingProxyType({}),
        layers: slice = slice(None),
        way: int | None = None,
    ) -> tuple[Frames, dict[int, State]]:
        """The outputs of all or some layers, and their states by the layer's place; `states` are the first ones."""
        ended: dict[int, State] = {}
        for place, layer in list(enumerate(self))[layers]:
            if isinstance(layer, Recurrent):
                x, state = layer(x, n, state=states.get(place), way=way)
                ended |= {} if state is None else {place: state}
            else:
                x = layer(x)
        return x, ended


def unrolled(cell: ConvCell, x: Frames, n: int, *, way: int = 0, state: State | None = None) -> tuple[Frames, State]:
    """A cell's outputs for n clips, in the frames' order, and its last state; `way` 1 starts at the last frame."""
    frames = cell.project(x).chunk(len(x) // n)
    held: list[State] = []
    for wx in reversed(frames) if way else frames:
        held.append(state := cell.step(wx, state))
    hidden = [maps[0] for maps in held]
    return cell.output(torch.cat(hidden[::-1] if way else hidden)), held[-1]


def time_distributed(geometry: Geometry) -> nn.Sequential:
    """Convolution, batch norm and LeakyReLU of every frame alone."""
    return nn.Sequential(
        geometry.convolution(), nn.BatchNorm2d(geometry.c_out), nn.LeakyReLU(negative_slope=0.01, inplace=True)
    )


def state_convolution(c_in: int, c_out: int, *, bias: bool = False) -> nn.Conv2d:
    """The convolution of a state: it keeps the maps' size."""
    return nn.Conv2d(c_in, c_out, STATE_KERNEL, padding=STATE_KERNEL // 2, bias=bias)
