"""Several detectors whose calibrated scores are combined: `ensemble`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, SpecError
from vidence.frames.windows import Partial
from vidence.models.reconstruction import (
    ERRORS,
    PLACELESS,
    Reconstruction,
    ReconstructionNetwork,
    added,
    coloured,
    frame_errors,
    scored_frames,
)
from vidence.models.reconstruction_detector import ReconstructionDetector, ReconstructionSettings

Rule = Literal["mean", "max"]


@dataclass(frozen=True, kw_only=True)
class Ensemble(ReconstructionSettings):
    """Detectors trained one after the other; a frame's score is the mean or the max of their calibrated scores.

    `of`: two or more detectors, of this one's `size` and `rate`; they get its `crop` and, where they name none, its
    `channels`. `length` is at least their longest window. A frame has a score if all of them score it. Calibrated means
    that each one's median on normal frames is 0 and the .99 quantile 1. The members' scores are not smoothed, the
    combined one is.
    """

    partial: ClassVar[Partial] = "shift"  # members that take whole windows get them
    score: str = PLACELESS
    of: tuple[ReconstructionSettings, ...]
    rule: Rule = "mean"

    def __post_init__(self) -> None:
        """Refuse members that do not fit together; take the longest one's windows."""
        if len(self.of) < 2 or any(isinstance(each, Ensemble) for each in self.of) or self.rule not in ("mean", "max"):
            kinds = ", ".join(type(each).__name__ for each in self.of) or "none"
            raise SpecError(
                f"ensemble: of must list two detectors or more, none of them an ensemble, and rule be mean or max; got "
                f"{kinds} and {self.rule!r}."
            )
        object.__setattr__(self, "length", max(self.length, *(each.length for each in self.of)))
        super().__post_init__()
        if self.score != PLACELESS or self.svdd != "none":
            raise SpecError(
                f"ensemble: errors and svdd are settings of the members, so score is {PLACELESS!r} and svdd 'none'; "
                f"got {self.score!r} and {self.svdd!r}."
            )
        for each in self.of:
            if (each.size, each.rate) != (self.size, self.rate) or each.crop not in (None, self.crop):
                raise SpecError(
                    f"ensemble: all members see the same input, size={self.size}, rate={self.rate}, crop={self.crop}; "
                    f"one has {each.size}, {each.rate}, {each.crop}. Give the ensemble and its members the same."
                )

    def members(self) -> tuple[ReconstructionSettings, ...]:
        """The members' settings as they are trained; not smoothed, so that their calibration is that of raw errors."""
        changes: dict[str, Any] = {"smooth": 1, "crop": self.crop, "precision": self.precision}
        return tuple(replace(each, channels=each.channels or self.channels, **changes) for each in self.of)

    def network(self) -> EnsembleNetwork:
        """The untrained members."""
        return EnsembleNetwork(self, [each.assembled() for each in self.members()])

    def restored(self, origin: Mapping[str, Any]) -> EnsembleNetwork:
        """The members without their weights."""
        known = origin.get("members") or [{}] * len(self.of)
        members = [each.restored(known[k]) for k, each in enumerate(self.members())]
        return EnsembleNetwork(self, members)


class EnsembleNetwork(ReconstructionNetwork):
    """`members`, trained elsewhere; `weights` (m, error), what the errors in a member's score are multiplied by; `low`
    and `high` (m,), the members' calibration. `distance` is the combined score, x_hat is x itself.
    """

    weights: Tensor
    low: Tensor
    high: Tensor
    reconstructs = False

    def __init__(self, settings: Ensemble, networks: list[ReconstructionNetwork]) -> None:
        super().__init__()
        self.rule, self.channels = settings.rule, settings.channels or 3
        self.members = nn.ModuleList(networks).requires_grad_(False)
        self.first_frame = max(network.first_frame for network in networks)
        self.lengths = [each.length for each in settings.of]
        self.errors = [added(each.score) for each in settings.of]
        self.register_buffer("weights", torch.ones(len(networks), len(ERRORS)))
        self.register_buffer("low", torch.zeros(len(networks)))
        self.register_buffer("high", torch.ones(len(networks)))

    def origin(self) -> dict[str, Any]:
        """What the members were made of."""
        known = [cast(ReconstructionNetwork, member).origin() for member in self.members]
        return {"members": known} if any(known) else {}

    def take(self, number: int, detector: ReconstructionDetector) -> None:
        """Take over a trained member: its weights, the scales of its errors, and its calibration."""
        self.members[number].load_state_dict(detector.network.state_dict())
        scales = detector.facts.get("scales", {})
        self.weights[number] = torch.tensor([1 / scales.get(name, 1.0) for name in ERRORS])
        calibration = detector.facts["calibration"]
        self.low[number], self.high[number] = calibration["low"], calibration["high"]

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Score the frames that all members score. Raises `ShapeError` if there are none."""
        if x.shape[2] <= self.first_frame:
            raise ShapeError(
                f"this ensemble scores frames from number {self.first_frame} on; got {x.shape[2]} frames. Give a video."
            )
        scores = torch.stack([self._calibrated(x, number) for number in range(len(self.members))])  # (m, n, s)
        combined = scores.mean(dim=0) if self.rule == "mean" else scores.amax(dim=0)
        x_hat = coloured(x, self.channels)[:, :, self.first_frame :]
        return Reconstruction(x_hat, first_frame=self.first_frame, distance=combined)

    def _calibrated(self, x: Float[Tensor, "n c t h w"], number: int) -> Float[Tensor, "n s"]:
        raw = self._errors(x, number)[:, self.first_frame :]
        low, high = self.low[number], self.high[number]
        return (raw - low) / (high - low)

    def _errors(self, x: Float[Tensor, "n c t h w"], number: int) -> Float[Tensor, "n t"]:
        """A member's errors of all frames, 0 before its first; the mean where its windows overlap.

        Its windows follow each other as they would alone; the last one is moved back to end with the clip.
        """
        network, (n, t) = cast(ReconstructionNetwork, self.members[number]), (len(x), x.shape[2])
        length = min(self.lengths[number], t)
        starts = [*range(0, t - length, max(1, length - network.first_frame)), t - length]
        cut = torch.stack([x[:, :, start : start + length] for start in starts], dim=1)  # (n, windows, c, t, h, w)
        windows = rearrange(cut, "n m c t h w -> (n m) c t h w")
        output = network(windows)
        found = sum(
            self.weights[number, ERRORS.index(name)] * frame_errors(output, windows, name)
            for name in self.errors[number]
        )
        values = rearrange(cast(Tensor, found), "(n m) s -> m n s", n=n)
        first, last = scored_frames(output)
        total, count = x.new_zeros(n, t, dtype=values.dtype), x.new_zeros(t)
        for start, each in zip(starts, values, strict=True):
            place = slice(start + first, start + last)
            total = total + nn.functional.pad(each, (place.start, t - place.stop))
            count[place] += 1
        return total / count.clamp(min=1)
