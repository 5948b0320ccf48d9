"""Models that say themselves where frames end and the clip begins."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class TwoStage(Protocol):
    """A video model in two functions, so that frame features can be cached, streamed and perturbed.

    `encode` folds the frames into one batch; `decide` is everything that mixes frames.
    """

    def encode(self, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n t f"]:
        """Features of each frame alone."""
        ...

    def decide(self, features: Float[Tensor, "n t f"]) -> Float[Tensor, "n k"]:
        """Logits from the features of all frames."""
        ...
