"""Scores of networks that reconstruct or predict: how wrong they are, as a value that is scored and explained alike."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vidence.errors import SpecError
from vidence.models.reconstruction import (
    PLACELESS,
    SUMMING,
    density,
    frame_errors,
    parts,
    scored_frames,
)
from vidence.scoring.score import Around, Places, held_by

Mode = Literal["live", "fixed"]
Part = Literal["reconstruction", "prediction"]
Frames = int | tuple[int, int] | None


@dataclass(frozen=True)
class _FrameError(ABC):
    """An error summed over the scored frames of a window, or of the one `frame` (its place in the window, from 0), or
    of the frames `(first, last)`, the last one excluded.

    `mode` says what the reconstruction is compared with once the clip is perturbed or differentiated: `live`, with the
    changed clip, as the deployed detector does; `fixed`, with the original that the score was pinned on.
    `part` takes one head of a two-headed network alone: its `reconstruction` or its `prediction`, which is also all
    that a predictor has.
    """

    frame: Frames = None
    mode: Mode = "live"
    part: Part | None = None
    error: ClassVar[str]  # one of `vidence.models.reconstruction.ERRORS`

    @property
    def places(self) -> Places:
        """How much of the score its density sums to."""
        return "none" if self.error == PLACELESS else "all" if self.error in SUMMING else "other"

    def __post_init__(self) -> None:
        """Refuse frames and modes that do not exist."""
        if self.mode not in ("live", "fixed"):
            raise SpecError(f"mode must be 'live' or 'fixed'; got {self.mode!r}.")
        if self.part not in (None, "reconstruction", "prediction"):
            raise SpecError(f"part must be 'reconstruction' or 'prediction'; got {self.part!r}.")
        asked = self.frame if isinstance(self.frame, tuple) else (0 if self.frame is None else self.frame,)
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in asked)
        if not whole or (isinstance(self.frame, tuple) and (len(asked) != 2 or asked[0] >= asked[1])):
            raise SpecError(
                f"frame must be a place in the window, counted from 0, or (first, last) with the last one excluded; "
                f"got {self.frame!r}."
            )

    def __call__(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        return self.frames(output, x).sum(dim=1)

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """The error of each frame that counts; they sum to the score."""
        output = self._asked(output)
        found = frame_errors(output, x, self.error)
        return found if self.frame is None else found[:, self._places(output)]

    def density(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t h w"]:
        """The error per pixel of the frames that count, 0 in all others. Raises `SpecError` where it has no places."""
        found = density(self._asked(output), x, self.error)
        if self.frame is None:
            return found
        counts = torch.zeros_like(found)
        counts[:, slice(*self.scored(output))] = 1
        return found * counts

    def scored(self, output: Any) -> tuple[int, int]:
        """The first frame of the clip that counts, and the one after the last."""
        output = self._asked(output)
        first, last = scored_frames(output)
        if self.frame is None:
            return first, last
        places = self._places(output)
        return first + places.start, first + places.stop

    def pin(self, output: Any, x: Float[Tensor, "n c t h w"]) -> _FrameError | _Pinned:
        """Hold the original as what reconstructions are compared with, where the mode is `fixed`."""
        return self if self.mode == "live" else _Pinned(self, x.detach())

    def _asked(self, output: Any) -> Any:
        """The head of the network that is asked for."""
        if self.part is None:
            return output
        held = parts(output)
        chosen = held[0] if self.part == "reconstruction" else held[-1]
        if (chosen.first_frame > 0) != (self.part == "prediction"):
            raise SpecError(
                f"part={self.part!r} needs a network that does so; this one has no such head. Leave part out."
            )
        return replace(chosen, prediction=None)

    def _places(self, output: Any) -> slice:
        """The frames that count, among those that have a reconstruction."""
        first, last = scored_frames(output)
        asked = self.frame if isinstance(self.frame, tuple) else (self.frame, (self.frame or 0) + 1)
        if asked[0] is None or not first <= asked[0] < asked[1] <= last:
            raise SpecError(f"frame must be one that has a reconstruction, {first} to {last - 1}; got {self.frame}.")
        return slice(asked[0] - first, asked[1] - first)


@dataclass(frozen=True, eq=False)
class _Pinned(Around):
    """An error against the originals `x0` (m, c, t, h, w); it serves outputs whose rows are a multiple of m."""

    x0: Tensor

    def shown(self, output: Any, x: Tensor) -> tuple[Any, Tensor]:
        """The originals in place of the clips."""
        return output, held_by(self.x0, len(x))


@dataclass(frozen=True)
class SquaredError(_FrameError):
    """Squared difference between picture and reconstruction, summed over pixels, channels and frames."""

    error: ClassVar[str] = "squared-error"


@dataclass(frozen=True)
class AbsoluteError(_FrameError):
    """Absolute difference between picture and reconstruction, summed over pixels, channels and frames."""

    error: ClassVar[str] = "absolute-error"


@dataclass(frozen=True)
class SSIM(_FrameError):
    """1 - structural similarity (Wang et al. 2004), mean over pixels and channels, summed over frames."""

    error: ClassVar[str] = "ssim"


@dataclass(frozen=True)
class PSNR(_FrameError):
    """Minus the peak signal-to-noise ratio in dB, summed over frames. Its density is that of the squared error."""

    error: ClassVar[str] = "psnr"


@dataclass(frozen=True)
class CentreDistance(_FrameError):
    """Squared distance of the frames' embeddings to the centre of a one-class network, summed over frames."""

    error: ClassVar[str] = "centre-distance"

    def __post_init__(self) -> None:
        """Refuse a target to compare with: there is none."""
        super().__post_init__()
        if self.mode != "live":
            raise SpecError("centre-distance compares embeddings with a centre, not pictures; leave mode='live'.")
        if self.part is not None:
            raise SpecError("centre-distance has one embedding a frame, whatever the network's heads; leave part out.")
