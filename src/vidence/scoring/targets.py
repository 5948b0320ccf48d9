"""What else may be asked of an error: a drawn region, a frame against the one before, the error on a scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.record.provenance import file_digest
from vidence.scoring.reconstruction_scores import SquaredError
from vidence.scoring.score import (
    SUMS,
    Held,
    Places,
    ScoreFunction,
    frames_of,
    has_frames,
    held_by,
    pinned,
    places_of,
    scored_by,
)

Origin = Literal["train", "oracle"]
Bound = int | float | None
_DIGITS = 16  # of a digest that is written into a line


@dataclass(frozen=True)
class _OfError(ABC):
    """A score made of the error `of`, which has a value per frame and mostly one per pixel."""

    of: Any = field(default_factory=SquaredError)

    def __post_init__(self) -> None:
        """Refuse what has no values per frame."""
        if not callable(self.of) or not has_frames(self.of):
            raise SpecError(f"of= must be an error of a reconstruction, such as squared-error; got {self.of!r}.")

    @property
    def places(self) -> Places:
        """How much of the score its density sums to."""
        return places_of(self.of)

    @property
    def mode(self) -> str | None:
        """The sub-mode of the error."""
        return getattr(self.of, "mode", None)

    def __call__(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        return self.frames(output, x).sum(dim=1)

    @abstractmethod
    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """What each frame adds to the score."""

    def scored(self, output: Any) -> tuple[int, int]:
        """The first frame of the clip that counts, and the one after the last."""
        return scored_by(self.of, output)


@dataclass(frozen=True)
class Region(_OfError):
    """The part of an error that lies in a box, or that a drawn mask lets through (the weights omega of an error).

    `box` is (first, last, top, left, bottom, right), the last frame, row and column excluded; a whole number counts
    frames or pixels of the network's input, a number with a point is a share of the clip (1.0 its end), None the
    clip's edge. `mask` names a .npy or .npz file of weights, none negative, (h, w) or (t, h, w); another height and
    width are brought to the picture's. Its digest is written into the score's line, and checked where it is given.
    Of a sum, parts without places are left out.
    """

    box: tuple[Bound, ...] | None = None
    mask: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        """Refuse regions that are none, and a mask file that is another one than the line says."""
        super().__post_init__()
        if places_of(self.of) not in SUMS:
            raise SpecError(f"a region needs an error that is a sum over pixels, such as squared-error; got {self.of}.")
        if (self.box is None) == (self.mask is None):
            raise SpecError("a region needs either box=(first, last, top, left, bottom, right) or mask='FILE.npy'.")
        if self.box is not None and (len(self.box) != 6 or not all(map(_is_bound, self.box))):
            raise SpecError(
                "box must be (first, last, top, left, bottom, right), each a whole number, a share from 0.0 to 1.0 or "
                f"None; got {self.box}."
            )
        if self.mask is not None:
            found = _digest_of(self.mask)
            if self.digest is not None and not found.startswith(self.digest):
                raise SpecError(f"the mask {self.mask} must have the digest {self.digest}; it has {found[:_DIGITS]}.")
            object.__setattr__(self, "digest", self.digest or found[:_DIGITS])

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """The region's error in each frame."""
        return self.density(output, x)[:, slice(*self.scored(output))].sum(dim=(2, 3))

    def density(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t h w"]:
        """The error per pixel inside the region, 0 outside."""
        return self.of.density(output, x) * self.weights(x)

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Hold what the error compares with; the region stays where it is anyway."""
        return Held(replace(self, of=pinned(self.of, output, x)))

    def weights(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "t h w"]:
        """omega: how much each pixel counts."""
        size = x.shape[2:]
        if self.mask is not None:
            return _drawn(self.mask, self.digest or "", tuple(size)).to(x)
        box = self.box or ()
        weights = x.new_zeros(size)
        ends = zip(((0, 1), (2, 4), (3, 5)), size, strict=True)
        weights[tuple(_between(box[first], box[last], length) for (first, last), length in ends)] = 1
        return weights


@dataclass(frozen=True)
class FrameContrast(_OfError):
    """Why this frame and not the one before: the error of `frame` minus that of the previous one.

    `frame` is a place in the window, from 0; None: the strongest frame of the original that has one before it.
    """

    frame: int | None = None

    def __post_init__(self) -> None:
        """Refuse an error that looks at single frames already."""
        super().__post_init__()
        if getattr(self.of, "frame", None) is not None:
            raise SpecError(f"frame-contrast compares two frames of an error of all of them; got of={self.of}.")
        if self.frame is not None and (isinstance(self.frame, bool) or not isinstance(self.frame, int)):
            raise SpecError(f"frame must be a place in the window, counted from 0; got {self.frame!r}.")

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """The error of the frame, and that of the one before with a minus."""
        return self._held(output, x).frames(output, x)

    def density(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t h w"]:
        """The error per pixel of the frame, and that of the one before with a minus."""
        return self._held(output, x).density(output, x)

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Hold what the error compares with and the frame, which may differ from clip to clip."""
        return replace(self._held(output, x), of=pinned(self.of, output, x))

    def _held(self, output: Any, x: Float[Tensor, "n c t h w"]) -> _HeldContrast:
        errors = frames_of(self.of, output, x).detach()
        first, count = self.scored(output)[0], errors.shape[1]
        if count < 2:
            raise SpecError(
                "frame-contrast needs two frames with an error; this clip has one. Explain the error itself."
            )
        if self.frame is None:
            return _HeldContrast(self.of, at=errors[:, 1:].argmax(dim=1) + 1)
        if not first < self.frame < first + count:
            raise SpecError(
                f"frame must be one with an error and one before it, {first + 1} to {first + count - 1}; "
                f"got {self.frame}."
            )
        return _HeldContrast(self.of, at=errors.new_full((len(errors),), self.frame - first, dtype=torch.long))


@dataclass(frozen=True, eq=False)
class _HeldContrast(_OfError):
    """A frame contrast whose frames `at` (m,), places among those with an error, no longer follow the output.

    Serves multiples of m rows.
    """

    at: Int[Tensor, " m"] = field(kw_only=True)

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """The error of the frame, and that of the one before with a minus."""
        found = frames_of(self.of, output, x)
        return found * self._signs(len(found), found.shape[1]).to(found)

    def density(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t h w"]:
        """The error per pixel of the frame, and that of the one before with a minus."""
        found, (first, last) = self.of.density(output, x), self.scored(output)
        signs = F.pad(self._signs(len(found), last - first), (first, found.shape[1] - last))
        return found * signs[..., None, None].to(found)

    def _signs(self, rows: int, count: int) -> Int[Tensor, "n s"]:
        each = held_by(self.at, rows)[:, None]
        place = torch.arange(count, device=each.device)
        return (place == each).int() - (place == each - 1).int()


@dataclass(frozen=True)
class NormalisedError(_OfError):
    """The mean error of the frames that count, on a scale where `low` is 0 and `high` is 1; nothing is clipped.

    With `frame=` in the error it is that frame's; an image has one. `low` and `high` are errors of single frames:
    those of a detector's calibration (normal footage) where they are left out, so that the value is its live score
    before smoothing. Ravi's thesis divides by the largest error of the anomalous *test* images (low=0), which nobody
    knows beforehand: such a scale has to be called `origin='oracle'`, and given. The density sums to the score
    plus low / (high - low), which has no place.
    """

    low: float | None = None
    high: float | None = None
    origin: Origin = "train"

    def __post_init__(self) -> None:
        """Refuse scales that are none."""
        super().__post_init__()
        if self.origin not in ("train", "oracle"):
            raise SpecError(f"origin must be 'train' or 'oracle'; got {self.origin!r}.")
        if (self.low is None) != (self.high is None):
            raise SpecError(f"normalised-error needs both low and high, or neither; got {self.low} and {self.high}.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise SpecError(f"low must be less than high; got {self.low} and {self.high}.")
        if self.origin == "oracle" and self.high is None:
            raise SpecError("an oracle's scale is known to no detector: give low= and high=.")

    def calibrated(self, calibration: Mapping[str, Any] | None) -> NormalisedError:
        """The same on a detector's scale, `facts['calibration']`, where it has none of its own."""
        if self.high is not None or not calibration:
            return self
        return replace(self, low=float(calibration["low"]), high=float(calibration["high"]))

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """What each frame adds to the mean."""
        found, (low, high) = frames_of(self.of, output, x), self._scale
        return (found - low) / (high - low) / found.shape[1]

    def density(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t h w"]:
        """The error per pixel, in units of the scale."""
        (first, last), (low, high) = self.scored(output), self._scale
        return self.of.density(output, x) / (high - low) / (last - first)

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Hold what the error compares with."""
        return Held(replace(self, of=pinned(self.of, output, x)))

    @property
    def _scale(self) -> tuple[float, float]:
        if self.low is None or self.high is None:
            raise SpecError(
                "normalised-error needs a scale, low= and high=: errors of single frames. A calibrated detector gives "
                "its own."
            )
        return self.low, self.high


def _is_bound(value: Any) -> bool:
    if isinstance(value, float):
        return 0 <= value <= 1
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _between(first: Bound, last: Bound, size: int) -> slice:
    """One axis of a box. Raises `SpecError` where nothing of the clip lies inside."""
    low, high = (
        default if end is None else round(end * size) if isinstance(end, float) else end
        for end, default in ((first, 0), (last, size))
    )
    if not 0 <= low < high <= size:
        raise SpecError(f"a box must lie inside the clip and hold something of it; got {first} to {last} of {size}.")
    return slice(low, high)


def _digest_of(path: str) -> str:
    if not Path(path).is_file():
        raise SpecError(f"mask must name a .npy or .npz file of weights; there is no file {path}.")
    return file_digest(Path(path))


@lru_cache(maxsize=4)
def _drawn(path: str, digest: str, size: tuple[int, int, int]) -> Float[Tensor, "t h w"]:
    """The weights of a mask file at a clip's size; `digest` tells files of one name apart."""
    try:
        held = np.load(path, allow_pickle=False)
        drawn = held[held.files[0]] if isinstance(held, np.lib.npyio.NpzFile) else held
    except (OSError, ValueError, IndexError) as error:
        raise SpecError(f"mask must name a .npy or .npz file of numbers; {path} cannot be read: {error}.") from error
    frames = drawn[None] if drawn.ndim == 2 else drawn
    if frames.ndim != 3 or frames.dtype.kind not in "buif" or len(frames) not in (1, size[0]):
        raise ShapeError(
            f"a mask must be numbers (h, w) or (t, h, w) with t = {size[0]}; got {drawn.dtype} {drawn.shape}."
        )
    weights = torch.from_numpy(frames.astype(np.float32))
    if not weights.isfinite().all() or weights.min() < 0 or not weights.any():
        raise ShapeError(f"a mask must hold weights of at least 0, some above; {path} does not.")
    return F.interpolate(weights[:, None], size=size[1:], mode="area")[:, 0].expand(size)
