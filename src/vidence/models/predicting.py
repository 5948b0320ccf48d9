"""Settings of detectors that predict frames from those before: windows overlap by what a prediction looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction_detector import ReconstructionSettings


@dataclass(frozen=True, kw_only=True)
class PredictorSettings(ReconstructionSettings, ABC):
    """A window's first `context` frames are only looked at. Without a `stride` every later frame is scored once."""

    @property
    @abstractmethod
    def context(self) -> int:
        """How many frames come before the first that is predicted."""

    def __post_init__(self) -> None:
        """Refuse windows that would leave frames without a prediction, and ends of videos without context."""
        super().__post_init__()
        predicted = self.length - self.context
        if self.context < 1 or predicted < 1 or (self.stride or 1) > predicted:
            raise SpecError(
                f"a window must hold the {self.context} frames that a prediction looks at, and predict at least as "
                f"many as the stride; got length={self.length}, stride={self.stride}. Let length - stride be "
                f"{self.context} or more."
            )


def check_context(x: Float[Tensor, "n c t h w"], context: int) -> None:
    """Raise `ShapeError` for a clip in which there is nothing to predict, an image above all."""
    if x.shape[2] <= context:
        raise ShapeError(
            f"a prediction needs {context} frames and the one that follows; got {x.shape[2]} frames. Give a longer "
            "video, or choose a detector that reconstructs."
        )
