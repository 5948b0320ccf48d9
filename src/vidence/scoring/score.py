"""What a score is, and what it may know of itself: ``score(output, x) -> (n,)``, differentiable, higher = more of it.

Optional are `pin(output, x)`, which freezes what must not move while a clip is perturbed; `density(output, x)`, the
score per pixel, with `places`, how much of the score that is; `frames(output, x)`, the score per frame that counts,
which sums to it, with `framed` (whether there is one), and `scored(output)`, which frames those are; `mode`, an
autoencoder's sub-mode; `reading`, what the output is taken for; and `flips_at`, the value below which the decision is
another one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeGuard, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.models.reconstruction import scored_frames

ScoreFunction: TypeAlias = Callable[[Any, Tensor], Tensor]
# how much of a score its density sums to: all, all but some parts, nothing (it is of another quantity), or no density
Places: TypeAlias = Literal["all", "some", "other", "none"]
SUMS: tuple[Places, ...] = ("all", "some")  # the density is of the score itself
Reading: TypeAlias = Literal["logits", "probabilities"]


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


def held_by(held: Tensor, rows: int) -> Tensor:
    """What a score holds of the clips it was pinned on, a row of it for each of `rows` rows, row-major.

    Raises `ShapeError` where there are not as many rows for each.
    """
    if rows % len(held):
        raise ShapeError(f"a score pinned on {len(held)} clips serves multiples of {len(held)} rows; got {rows}.")
    return held.repeat_interleave(rows // len(held), dim=0)


def places_of(score: Any) -> Places:
    """How much of a score its density sums to; what has one and does not say, all."""
    said: Places = getattr(score, "places", "all")
    return said if hasattr(score, "density") else "none"


def has_places(score: Any) -> TypeGuard[Placed]:
    """Whether a score has a density over pixels, `score.density(output, x)`, or a sum a part that has one."""
    return places_of(score) != "none"


def is_sum_over_pixels(score: Any) -> TypeGuard[Placed]:
    """Whether a score has a density that sums to it."""
    return places_of(score) == "all"


def has_frames(score: Any) -> bool:
    """Whether a score has a value per frame, `score.frames(output, x)`."""
    return hasattr(score, "frames") and bool(getattr(score, "framed", True))


def reads(score: Any) -> Reading | None:
    """What a score takes the model's output (n, k) for; None where it is not known to take a row a clip."""
    return getattr(score, "reading", None)


def frames_of(score: Any, output: Any, x: Float[Tensor, "n c t h w"]) -> Float[Tensor, "n s"]:
    """The score per frame that counts. Raises `SpecError` for a score that has no such parts."""
    if not has_frames(score):
        raise SpecError(
            f"this needs a score with a value per frame, such as squared-error; got {type(score).__name__}. "
            "Choose an error of a reconstruction."
        )
    return score.frames(output, x)


def scored_by(score: Any, output: Any) -> tuple[int, int]:
    """The first frame of the clip that counts for a score, and the one after the last: those of `frames_of`."""
    return score.scored(output) if hasattr(score, "scored") else scored_frames(output)


@dataclass(frozen=True, eq=False)
class Around(ABC):
    """A score that asks another one, `score`, and knows of itself what that one does."""

    score: Any

    @abstractmethod
    def shown(self, output: Any, x: Tensor) -> tuple[Any, Tensor]:
        """The output and the clips that `score` is shown."""

    def own(self, values: Tensor, rows: int) -> Tensor:
        """What `score` says of the `rows` rows that were asked for: all of it, where it was shown no others."""
        return values

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        return self.own(self.score(*self.shown(output, x)), len(x))

    @property
    def places(self) -> Places:
        """How much of the score its density sums to."""
        return places_of(self.score)

    @property
    def framed(self) -> bool:
        """Whether there is a value per frame."""
        return has_frames(self.score)

    @property
    def mode(self) -> str | None:
        """The sub-mode of an autoencoder's errors."""
        return getattr(self.score, "mode", None)

    @property
    def reading(self) -> Reading | None:
        """What a class score takes the output for."""
        return getattr(self.score, "reading", None)

    @property
    def flips_at(self) -> float | None:
        """The value below which the decision is another one."""
        return getattr(self.score, "flips_at", None)

    def density(self, output: Any, x: Tensor) -> Float[Tensor, "n t h w"]:
        """The score per pixel."""
        return self.own(self.score.density(*self.shown(output, x)), len(x))

    def frames(self, output: Any, x: Tensor) -> Float[Tensor, "n s"]:
        """The score per frame that counts."""
        return self.own(frames_of(self.score, *self.shown(output, x)), len(x))

    def scored(self, output: Any) -> tuple[int, int]:
        """The first frame that counts, and the one after the last."""
        return scored_by(self.score, output)


@dataclass(frozen=True, eq=False)
class Held(Around):
    """A score made of others that are pinned: as `score`, but nothing of it moves any more."""

    def shown(self, output: Any, x: Tensor) -> tuple[Any, Tensor]:
        """All as it is."""
        return output, x
