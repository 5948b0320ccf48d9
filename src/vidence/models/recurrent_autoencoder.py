"""Convolutional recurrent autoencoders and predictors: Ravi's family of 54, from one definition.

Five convolutions bring a frame to a code of 96 maps (5 x 5 at 128 x 128), five transposed ones bring it back. The last
`layers` of the encoder are recurrent, and, where the decoder is, its first `layers`.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.frames.windows import Partial
from vidence.models.conv_recurrent import (
    CELLS,
    Cell,
    Combine,
    Frames,
    Geometry,
    Handover,
    Recurrent,
    Stack,
    State,
    time_distributed,
)
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.reconstruction_detector import ReconstructionSettings

ENCODER = ((64, 2), (64, 2), (64, 2), (96, 2), (96, 1))  # channels and stride; kernels of 3, no padding
DECODER = ((96, 1), (64, 2), (64, 2), (64, 2))
WIDE = 64  # channels of a predictor's last transposed convolution
STEP, LEAST = 16, 64  # only multiples of 16 come back to their own size; below 64 nothing is left to encode


@dataclass(frozen=True, kw_only=True)
class ConvRecurrent(ReconstructionSettings):
    """Convolutional recurrent autoencoder (`plain`, `bidirectional`) or predictor (`seq2seq`).

    A predictor sees `seeds` frames and predicts `horizon` more, each from its own guess of the frame before; its
    `length` is both together. `peephole` and `bias` add the text's terms W_c and b, which the released code leaves out
    (only the LSTM has a W_c). `combine` is how a bidirectional layer joins its two outputs. `two_heads` decodes twice:
    one decoder reconstructs, one predicts the following frame (`plain`) or frames (`seq2seq`).
    `legacy` is the released code, to the parameter: weights that are never used, two directions that only meet in the
    picture, a predictor whose decoder does not know the encoder's states. Ravi, thesis 2021, section 3.7, Table 4.12.
    """

    cell: Cell = "gru"
    mode: Literal["plain", "bidirectional", "seq2seq"] = "plain"
    layers: int = 1
    decoder: Literal["time-distributed", "recurrent"] = "time-distributed"
    legacy: bool = False
    peephole: bool = False
    bias: bool = False
    combine: Combine = "mean"
    horizon: int = 4
    seeds: int = 4
    two_heads: bool = False
    partial: ClassVar[Partial] = "shift"

    def __post_init__(self) -> None:
        """Refuse what cannot be built; a predictor's length is seeds + horizon."""
        super().__post_init__()
        for name, choices in (
            ("cell", tuple(CELLS)),
            ("mode", ("plain", "bidirectional", "seq2seq")),
            ("layers", (1, 2, 3)),
            ("decoder", ("time-distributed", "recurrent")),
            ("combine", ("mean", "sum", "concat")),
            ("horizon", tuple(range(1, 9))),
            ("seeds", tuple(range(1, 65))),
        ):
            if isinstance(value := getattr(self, name), bool) or value not in choices:
                listed = ", ".join(map(str, choices)) if len(choices) < 9 else f"{choices[0]} to {choices[-1]}"
                raise SpecError(f"{name} must be one of {listed}; got {value!r}.")
        if self.size % STEP or self.size < LEAST:
            raise SpecError(
                f"size must be a multiple of {STEP}, at least {LEAST}; got {self.size}. The thesis' is 128."
            )
        if self.legacy and (self.peephole or self.bias or self.two_heads or self.combine != "mean"):
            raise SpecError(
                "legacy=True is the released code, which has no peepholes, no biases, one head and the mean of two "
                "directions. Leave those settings as they are, or legacy out."
            )
        if self.two_heads and self.mode == "bidirectional":
            raise SpecError("two_heads predicts, and a bidirectional code knows the frames to come. Use another mode.")
        if self.mode == "seq2seq":
            self._lengthen()

    def _lengthen(self) -> None:
        needed = self.seeds + self.horizon
        if self.length not in (needed, ReconstructionSettings.length):
            raise SpecError(
                f"a predictor's length is seeds + horizon, {self.seeds} + {self.horizon}; got {self.length}. "
                "Leave length out."
            )
        object.__setattr__(self, "length", needed)

    def network(self) -> ReconstructionNetwork:
        """The untrained network."""
        return RecurrentPredictor(self) if self.mode == "seq2seq" else RecurrentAutoencoder(self)


class RecurrentNetwork(ReconstructionNetwork, ABC):
    """What autoencoder and predictor share: the encoder, and frames folded into the batch, time first."""

    def __init__(self, settings: ConvRecurrent) -> None:
        super().__init__()
        self.settings = settings
        self.channels = settings.channels or 3
        both = settings.mode == "bidirectional"
        self.ways: tuple[int | None, ...] = (0, 1) if both and settings.legacy else (None,)
        self.encoder = _encoder(settings, self.channels)

    def embed(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s d"]:
        """The codes of the frames that came, from `first_frame` on; d = 2400 at 128 x 128, twice that by concat."""
        frames = self._folded(x)
        codes = [self.encoder(frames, len(x), way=way)[0] for way in self.ways]
        return _flat(_mean(codes), len(x))[:, self.first_frame :]

    def _folded(self, x: Float[Tensor, "n c t h w"]) -> Frames:
        if any(side % STEP or side < LEAST for side in x.shape[3:]):
            raise ShapeError(
                f"a recurrent autoencoder takes frames whose sides are multiples of {STEP}, at least {LEAST}; "
                f"got {tuple(x.shape[3:])}."
            )
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (t n) c h w")
        return frames.contiguous(memory_format=torch.channels_last)


class RecurrentAutoencoder(RecurrentNetwork):
    """Reconstructs every frame of a clip; with two heads, it also predicts each frame but the first from those before.

    `code` (n, t, d) are the encoder's last maps.
    """

    def __init__(self, settings: ConvRecurrent) -> None:
        super().__init__(settings)
        self.decoder = _decoder(settings, _picture(self.channels))
        self.predictor = _decoder(settings, _picture(self.channels)) if settings.two_heads else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares it without

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Reconstruct. x is RGB in [0, 1]; raises `ShapeError` for frames of a size that does not come back."""
        n, frames = len(x), self._folded(x)
        codes = [self.encoder(frames, n, way=way)[0] for way in self.ways]
        seen = [_shown(self.decoder(code, n, way=way)[0], n) for code, way in zip(codes, self.ways, strict=True)]
        ahead = None
        if self.predictor is not None and x.shape[2] > 1:
            guess = self.predictor(codes[0][:-n], n)[0]
            ahead = Reconstruction(_shown(guess, n), first_frame=1)
        return Reconstruction(_mean(seen), _flat(_mean(codes), n), prediction=ahead)


class RecurrentPredictor(RecurrentNetwork):
    """Predicts the frames after the seeds, as many as x has; with two heads, it also reconstructs the seeds.

    The first decoder layer's output, averaged over 3 x 3, is the next code. Where no decoder layer is recurrent, it
    goes through the encoder's last layer instead, whose state runs on; the released code fails there, and `legacy`
    averages. Where they are recurrent, they start with the encoder's states; in `legacy` with zeros.
    There is no `code`: `embed` encodes the frames that came, which is more than predicting them takes.
    """

    def __init__(self, settings: ConvRecurrent) -> None:
        super().__init__(settings)
        self.first_frame = 0 if settings.two_heads else settings.seeds
        self.predicts_from = settings.seeds
        self.decoder = _decoder(settings, _picture(self.channels)) if settings.two_heads else None
        self.predictor = _decoder(settings, _wide_picture(self.channels))
        recurrent = settings.decoder == "recurrent"
        self.encoder_runs_on = not recurrent and not settings.legacy
        handed = settings.layers if recurrent and not settings.legacy else 0
        states = CELLS[settings.cell].states
        self.handovers = nn.ModuleList(Handover(geometry, states) for geometry in _decoding(settings)[:handed])
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares it without

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Predict. x is RGB in [0, 1], the seeds and what follows; raises `ShapeError` if nothing does."""
        n, seeds, steps = len(x), self.settings.seeds, x.shape[2] - self.settings.seeds
        if steps < 1:
            raise ShapeError(f"a predictor with {seeds} seeds takes longer clips; got {x.shape[2]} frames.")
        codes, states = self.encoder(self._folded(x[:, :, :seeds]), n)
        ahead = Reconstruction(_shown(self._ahead(codes[-n:], states, steps), n), first_frame=seeds)
        if self.decoder is None:
            return ahead
        return Reconstruction(_shown(self.decoder(codes, n)[0], n), prediction=ahead)

    def _ahead(self, code: Frames, states: dict[int, State], steps: int) -> Frames:
        """The frames that follow a code, decoded from one code after the other."""
        n, last = len(code), len(self.encoder) - 1
        held = {place: handover(states[last - place]) for place, handover in enumerate(self.handovers)}
        maps: list[Frames] = []
        for step in range(steps):
            if step and self.encoder_runs_on:
                code, states = self.encoder(maps[-1], n, states=states, layers=slice(last, None))
            elif step:
                code = F.avg_pool2d(maps[-1], kernel_size=3, stride=1)
            made, ended = self.predictor(code, n, states=held, layers=slice(1))
            held |= ended
            maps.append(made)
        return self.predictor(torch.cat(maps), n, states=held, layers=slice(1, None))[0]


def _encoder(settings: ConvRecurrent, channels: int) -> Stack:
    layers: list[nn.Module] = []
    side, c_in = settings.size, channels
    for place, (c_out, stride) in enumerate(ENCODER):
        geometry = Geometry(c_in, c_out, stride=stride)
        side, recurrent = geometry.side(side), place >= len(ENCODER) - settings.layers
        layers.append(_recurrent(settings, geometry, side) if recurrent else time_distributed(geometry))
        c_in = c_out * _joined(settings) if recurrent else c_out
    return Stack(layers)


def _decoding(settings: ConvRecurrent) -> list[Geometry]:
    """The geometries of the decoder's layers, without the last."""
    made, c_in = [], ENCODER[-1][0] * _joined(settings)
    for place, (c_out, stride) in enumerate(DECODER):
        made.append(Geometry(c_in, c_out, stride=stride, transposed=True))
        c_in = c_out * (_joined(settings) if _decodes_with_state(settings, place) else 1)
    return made


def _decoder(settings: ConvRecurrent, picture: nn.Module) -> Stack:
    layers: list[nn.Module] = []
    side = settings.size // STEP - 3
    for place, geometry in enumerate(_decoding(settings)):
        side, recurrent = geometry.side(side), _decodes_with_state(settings, place)
        layers.append(_recurrent(settings, geometry, side) if recurrent else time_distributed(geometry))
    return Stack([*layers, picture])


def _decodes_with_state(settings: ConvRecurrent, place: int) -> bool:
    return settings.decoder == "recurrent" and place < settings.layers


def _joined(settings: ConvRecurrent) -> int:
    """How many times its channels a recurrent layer hands on."""
    return 2 if settings.mode == "bidirectional" and settings.combine == "concat" else 1


def _recurrent(settings: ConvRecurrent, geometry: Geometry, side: int) -> Recurrent:
    peephole = side if settings.peephole else None
    cells = (
        CELLS[settings.cell](geometry, bias=settings.bias, peephole=peephole, legacy=settings.legacy)
        for _ in range(2 if settings.mode == "bidirectional" else 1)
    )
    return Recurrent(*cells, combine=settings.combine)


def _picture(channels: int) -> nn.Sequential:
    """An autoencoder's last layer; the sigmoid follows in `_shown`."""
    last = Geometry(DECODER[-1][0], channels, kernel=4, stride=2, transposed=True)
    return nn.Sequential(last.convolution(), nn.BatchNorm2d(channels))


def _wide_picture(channels: int) -> nn.Sequential:
    """A predictor's last two layers; the released Conv3d of depth 1 is a convolution of every frame alone."""
    wide = Geometry(DECODER[-1][0], WIDE, kernel=6, stride=2, transposed=True)
    last = Geometry(WIDE, channels)
    return nn.Sequential(*time_distributed(wide), last.convolution(), nn.BatchNorm2d(channels))


def _shown(frames: Frames, n: int) -> Float[Tensor, "n c s h w"]:
    """Frames of a picture layer in [0, 1]; float32, because bf16 has too few steps for an error."""
    return rearrange(torch.sigmoid(frames.float()), "(t n) c h w -> n c t h w", n=n)


def _flat(code: Frames, n: int) -> Float[Tensor, "n s d"]:
    return rearrange(code, "(t n) c h w -> n t (c h w)", n=n)


def _mean(streams: list[Tensor]) -> Tensor:
    return streams[0] if len(streams) == 1 else torch.stack(streams).mean(dim=0)
