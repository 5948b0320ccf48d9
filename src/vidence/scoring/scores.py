"""What is scored is what is explained: ``score(output, x) -> (n,)``, differentiable, higher = more of the target.

A plain callable is a valid score. `pin(output, x)` freezes what must not move while a clip is perturbed:
the class that was predicted on the original, or the runner-up that a contrast is taken against. A score pinned
on one clip broadcasts over rows; pinned on n clips it serves batches whose size is a multiple of n (row-major).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vidence.errors import SpecError
from vidence.scoring.class_scores import (
    Anomaly,
    Contrast,
    Logit,
    Output,
    Probability,
    Target,
    index_of,
    is_probability,
    logits_of,
    probability_of,
)
from vidence.scoring.reconstruction_scores import PSNR, SSIM, AbsoluteError, CentreDistance, SquaredError
from vidence.scoring.score import (
    SUMS,
    Held,
    Pinnable,
    Placed,
    Places,
    ScoreFunction,
    frames_of,
    has_frames,
    has_places,
    pinned,
    places_of,
    reads,
    scored_by,
)
from vidence.scoring.targets import FrameContrast, NormalisedError, Region

__all__ = [
    "PSNR", "SCORES", "SSIM", "AbsoluteError", "Anomaly", "CentreDistance", "Contrast", "FrameContrast", "Logit",
    "NormalisedError", "Output", "Pinnable", "Placed", "Probability", "Region", "ScoreFunction", "SquaredError", "Sum",
    "Target", "has_places", "index_of", "is_probability", "logits_of", "pinned", "probability_of", "reads",
]  # fmt: skip


@dataclass(frozen=True)
class Sum:
    """Several scores added, each times its weight (1 unless given), so that what alarms are made of stays one score."""

    of: tuple[Any, ...] = ()
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty sum, and weights that do not fit."""
        if not self.of or not all(callable(part) for part in self.of):
            raise SpecError(f"a sum adds at least one score, as in sum(of=[squared-error, ssim]); got of={self.of!r}.")
        if self.weights is not None and len(self.weights) != len(self.of):
            raise SpecError(f"a sum needs as many weights as scores; got {len(self.weights)} for {len(self.of)}.")

    @property
    def mode(self) -> str | None:
        """The sub-mode of an autoencoder's errors, if all parts agree on one."""
        modes = {getattr(part, "mode", None) for part in self.of}
        return modes.pop() if len(modes) == 1 else None

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        return torch.stack([weight * part(output, x) for weight, part in self._weighted]).sum(dim=0)

    def density(self, output: Any, x: Tensor) -> Float[Tensor, "n t h w"]:
        """What the parts that are sums over pixels say of them; the rest of the score is nowhere."""
        placed = [(weight, part) for weight, part in self._weighted if places_of(part) in SUMS]
        if not placed:
            raise SpecError("none of the scores that are added is spread over pixels. Ask for a gradient or occlusion.")
        return torch.stack([weight * part.density(output, x) for weight, part in placed]).sum(dim=0)

    @property
    def places(self) -> Places:
        """How much of the score its density sums to."""
        held = [places_of(part) for part in self.of]
        if all(each == "all" for each in held):
            return "all"
        return "some" if any(each in SUMS for each in held) else "none"

    @property
    def framed(self) -> bool:
        """Whether every part has a value per frame."""
        return all(has_frames(part) for part in self.of)

    def frames(self, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
        """The sum per frame, 0 of a part that does not count a frame. Raises `SpecError` where one has no frames."""
        first, last = self.scored(output)
        found = []
        for weight, part in self._weighted:
            start, stop = scored_by(part, output)
            found.append(weight * F.pad(frames_of(part, output, x), (start - first, last - stop)))
        return torch.stack(found).sum(dim=0)

    def scored(self, output: Any) -> tuple[int, int]:
        """The first frame that counts for any part, and the one after the last."""
        spans = [scored_by(part, output) for part in self.of]
        return min(first for first, _ in spans), max(last for _, last in spans)

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Pin every part."""
        return Held(replace(self, of=tuple(pinned(part, output, x) for part in self.of)))

    def named(self, classes: Sequence[str]) -> Sum:
        """Replace class names by their indices."""
        parts = (part.named(classes) if hasattr(part, "named") else part for part in self.of)
        return replace(self, of=tuple(parts))

    @property
    def _weighted(self) -> list[tuple[float, Any]]:
        return list(zip(self.weights or (1.0,) * len(self.of), self.of, strict=True))


SCORES: dict[str, type] = {
    "logit": Logit,
    "probability": Probability,
    "contrast": Contrast,
    "anomaly": Anomaly,
    "output": Output,
    "squared-error": SquaredError,
    "absolute-error": AbsoluteError,
    "ssim": SSIM,
    "psnr": PSNR,
    "centre-distance": CentreDistance,
    "sum": Sum,
    "region": Region,
    "frame-contrast": FrameContrast,
    "normalised-error": NormalisedError,
}
