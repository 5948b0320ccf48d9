"""What a score is, and what it may know of itself: ``score(output, x) -> (n,)``, differentiable, higher = more of it.

Optional are `pin(output, x)`, which freezes what must not move while a clip is perturbed; `density(output, x)`, the
score per pixel, with `placed` (whether there is one) and `complete` (whether it sums to the score);
`frames(output, x)`, the score per frame that counts, which sums to it, and `scored(output)`, which frames those are;
`mode`, an autoencoder's sub-mode; and `flips_at`, the value below which the decision is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vidence.errors import SpecError
from vidence.models.reconstruction import scored_frames

ScoreFunction: TypeAlias = Callable[[Any, Tensor], Tensor]


@runtime_checkable
class Pinnable(Protocol):
    """A score that depends on the original clip until it is pinned."""

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Return the same score with everything taken from the original held fixed."""
        ...


class Placed(Protocol):
    """A score that says where in the picture it comes from."""

    def __call__(self, output: Any, x: Tensor) -> Tensor:
        """Score each clip, (n,)."""
        ...

    def density(self, output: Any, x: Tensor) -> Tensor:
        """The score per pixel, (n, t, h, w)."""
        ...


def pinned(score: ScoreFunction, output: Any, x: Tensor) -> ScoreFunction:
    """`score.pin(output, x)` where a score has it, else the score itself."""
    return score.pin(output, x) if isinstance(score, Pinnable) else score


def has_places(score: Any) -> TypeGuard[Placed]:
    """Whether a score has a density over pixels, `score.density(output, x)`, or a sum a part that is one."""
    return hasattr(score, "density") and bool(getattr(score, "placed", True))


def is_sum_over_pixels(score: Any) -> TypeGuard[Placed]:
    """Whether a score has a density that sums to it."""
    return has_places(score) and bool(getattr(score, "complete", True))


def frames_of(score: Any, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
    """The score per frame that counts. Raises `SpecError` for a score that has no such parts."""
    read = getattr(score, "frames", None)
    if read is None:
        raise SpecError(
            f"this needs a score with a value per frame, such as squared-error; got {type(score).__name__}. "
            "Choose an error of a reconstruction."
        )
    return read(output, x)


def scored_by(score: Any, output: Any) -> tuple[int, int]:
    """The first frame of the clip that counts for a score, and the one after the last: those of `frames_of`."""
    return score.scored(output) if hasattr(score, "scored") else scored_frames(output)


@dataclass(frozen=True, eq=False)
class Held:
    """A score made of others that are pinned: as `score`, but nothing of it moves any more."""

    score: Any

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        return self.score(output, x)

    @property
    def placed(self) -> bool:
        """Whether there is a density over pixels."""
        return has_places(self.score)

    @property
    def complete(self) -> bool:
        """Whether the density over pixels sums to the score."""
        return bool(getattr(self.score, "complete", True))

    @property
    def mode(self) -> str | None:
        """The sub-mode of an autoencoder's errors."""
        return getattr(self.score, "mode", None)

    def density(self, output: Any, x: Tensor) -> Float[Tensor, "n t h w"]:
        """The score per pixel."""
        return self.score.density(output, x)

    def frames(self, output: Any, x: Tensor) -> Float[Tensor, "n s"]:
        """The score per frame that counts."""
        return frames_of(self.score, output, x)

    def scored(self, output: Any) -> tuple[int, int]:
        """The first frame that counts, and the one after the last."""
        return scored_by(self.score, output)
