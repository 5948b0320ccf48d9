"""From the features of frames to logits: everything in a recurrent detector that mixes frames.

The stages, each a small module that can be left out: differences of frames (or their motion energy), pooling over the
cells of a frame's maps, normalisation, projection, recurrent layer, read-out over time, dense blocks, output layer.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.models.motion_energy import MotionEnergy, PrincipalDirections

DifferenceKind = Literal["none", "signed", "absolute", "energy"]
Projector = Literal["learned", "principal"]
Pool = Literal["none", "mean", "max", "mean-max"]
Norm = Literal["none", "batch", "layer"]
Recurrence = Literal["gru", "lstm", "none"]
ReadOutKind = Literal["last", "mean", "max", "mean-max"]


class Differences(nn.Module):
    """Appends to each frame's features their change since the frame before (0 for the first)."""

    def __init__(self, kind: DifferenceKind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n t g"]:
        """(n, t, f) -> (n, t, 2 f), or (n, t, f) where the kind is 'none'."""
        if self.kind == "none":
            return features
        change = torch.diff(features, dim=1, prepend=features[:, :1])
        return torch.cat([features, change.abs() if self.kind == "absolute" else change], dim=2)


class CellPool(nn.Module):
    """Reduces each channel over the `cells` of a frame's maps, after the differences: motion in one place then counts
    even where the frame as a whole has not changed.
    """

    def __init__(self, kind: Pool, *, cells: int) -> None:
        super().__init__()
        self.kind = kind
        self.cells = cells

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n t g"]:
        """(n, t, d * cells) -> (n, t, d), or (n, t, 2 d) for 'mean-max'; unchanged for 'none'."""
        if self.kind == "none":
            return features
        maps = rearrange(features, "n t (d s) -> n t d s", s=self.cells)
        return torch.cat(_reduced(maps, self.kind, dim=3), dim=2)


class FrameNorm(nn.Module):
    """Batch norm over clips and frames: features are standardised by what training showed; a motion stays strong."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n t f"]:
        """(n, t, f) -> (n, t, f)."""
        folded = self.norm(rearrange(features, "n t f -> (n t) f"))
        return rearrange(folded, "(n t) f -> n t f", t=features.shape[1])


class FeatureDropout(nn.Module):
    """Dropout with one mask per clip, the same for all its frames, as Keras drops the inputs of a recurrent layer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drop = nn.Dropout1d(rate)

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n t f"]:
        """(n, t, f) -> (n, t, f)."""
        return rearrange(self.drop(rearrange(features, "n t f -> n f t")), "n f t -> n t f")


class ReadOut(nn.Module):
    """Reduces states over time. 'last' takes each direction's last state: of a backward layer, the first frame's."""

    def __init__(self, kind: ReadOutKind, *, backward_from: int | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.backward_from = backward_from

    def forward(self, states: Float[Tensor, "n t u"]) -> Float[Tensor, "n v"]:
        """(n, t, u) -> (n, u), or (n, 2 u) for 'mean-max'."""
        if self.kind == "last":
            split = states.shape[2] if self.backward_from is None else self.backward_from
            return torch.cat([states[:, -1, :split], states[:, 0, split:]], dim=1)
        return torch.cat(_reduced(states, self.kind, dim=1), dim=1)


def _reduced(values: Tensor, kind: str, *, dim: int) -> list[Tensor]:
    """The mean, the maximum or both over one axis, as the kind is called."""
    found = [values.mean(dim=dim)] if "mean" in kind else []
    return [*found, values.amax(dim=dim)] if "max" in kind else found


class Head(nn.Module):
    """Frame features (n, t, f) -> logits (n, k), for any number of frames t >= 1.

    `features` counts the values of a frame, `cells` for each channel, channel by channel.
    `dropout` acts on the recurrent layer's input and in each of the `blocks` dense blocks, whose widths are `width`,
    `width` / 2, `width` / 4, ... (8 at least).
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        cells: int,
        differences: DifferenceKind,
        pool: Pool,
        norm: Norm,
        projection: int,
        projector: Projector,
        rnn: Recurrence,
        units: int,
        bidirectional: bool,
        readout: ReadOutKind,
        dropout: float,
        blocks: int,
        width: int,
    ) -> None:
        super().__init__()
        self.differences: nn.Module = Differences(differences)
        if differences == "energy":
            self.differences = MotionEnergy(cells=cells)
            features, cells, pool = features // cells, 1, "none"  # the energy has looked over the cells
        size = features if differences == "none" else 2 * features
        self.pool = CellPool(pool, cells=cells)
        if pool != "none":
            size = size // cells * (2 if pool == "mean-max" else 1)
        self.norm: nn.Module = (
            FrameNorm(size) if norm == "batch" else nn.LayerNorm(size) if norm == "layer" else nn.Identity()
        )
        self.projection: nn.Module = nn.Identity()
        if projection and projector == "principal":
            self.projection = PrincipalDirections(size, projection)
        elif projection:
            self.projection = nn.Sequential(nn.Linear(size, projection), nn.ReLU())
        size = projection or size
        self.dropout = FeatureDropout(dropout)
        self.rnn: nn.GRU | nn.LSTM | None = None
        if rnn != "none":
            made = nn.GRU if rnn == "gru" else nn.LSTM
            self.rnn = made(size, units, batch_first=True, bidirectional=bidirectional)
            size = units * (2 if bidirectional else 1)
        backward_from = units if rnn != "none" and bidirectional else None
        self.readout = ReadOut(readout, backward_from=backward_from)
        size *= 2 if readout == "mean-max" else 1
        dense: list[nn.Module] = []
        for block in range(blocks):
            narrowed = max(width >> block, 8)
            dense += [nn.Linear(size, narrowed), nn.ReLU(), nn.Dropout(dropout)]
            size = narrowed
        self.blocks = nn.Sequential(*dense)
        self.output = nn.Linear(size, classes)

    def forward(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """(n, t, f) -> (n, k)."""
        return self.judged(self.prepared(features))

    def prepared(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n s g"]:
        """What the projection sees."""
        return self.norm(self.pool(self.differences(features)))

    def judged(self, prepared: Float[Tensor, "n s g"]) -> Float[Tensor, "n k"]:
        """Logits of what was prepared."""
        states = self.dropout(self.projection(prepared))
        if self.rnn is not None:
            states, _ = self.rnn(states)
        return self.output(self.blocks(self.readout(states)))
