"""Scores of classes: what a classifier says of one, of one rather than another, and of all that are not normal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vidence.errors import ShapeError, SpecError
from vidence.scoring.score import Reading, ScoreFunction, held_by

Target: TypeAlias = int | str | None


def logits_of(output: Any) -> Float[Tensor, "n k"]:
    """A network's logits (n, k); a single output per clip becomes one column."""
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"this score needs a tensor of logits (n, k); the model returned {type(output).__name__}. "
            "Wrap the model in Adapted(model, pick=...) or pass a score of your own."
        )
    logits = output[:, None] if output.ndim == 1 else output
    if logits.ndim == 5:
        raise ShapeError(
            f"this score needs logits (n, k); the model returned clips {tuple(output.shape)}. If it reconstructs what "
            "it is shown, say so: Reconstructs(model) (vidence.models.adapted), whose errors are scored."
        )
    if logits.ndim != 2:
        raise ShapeError(
            f"this score needs logits (n, k); the model returned {tuple(output.shape)}. If it answers frame by frame, "
            "say what counts: Adapted(model, pick=lambda output: output.mean(dim=1))."
        )
    return logits


@dataclass(frozen=True)
class _ClassScore(ABC):
    """A score of one class: `class_` is an index, a name (resolved by `named`), or None for the predicted class."""

    class_: Target = None

    def __post_init__(self) -> None:
        """Refuse what names no single class."""
        check_target(self.class_)

    @property
    def reading(self) -> Reading:
        """What the output is taken for."""
        return "logits"

    def named(self, classes: Sequence[str]) -> _ClassScore:
        """Replace class names by their indices."""
        return replace(self, class_=index_of(self.class_, classes))

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Hold the class that is scored on the original."""
        return _Pinned(self, self._target(logits_of(output.detach() if isinstance(output, Tensor) else output)))

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Score each clip, (n,)."""
        logits = logits_of(output)
        return self.of_class(logits, self._target(logits))

    @abstractmethod
    def of_class(self, logits: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Score of the class `target` (n,) of each row."""

    def _target(self, logits: Float[Tensor, "n k"]) -> Int[Tensor, " n"]:
        if self.class_ is None:
            return logits.argmax(dim=1)
        if isinstance(self.class_, str):
            raise SpecError(f"class {self.class_!r} is a name; this model has no class names. Pass an index.")
        if not -logits.shape[1] <= self.class_ < logits.shape[1]:
            raise SpecError(f"class must be one of 0..{logits.shape[1] - 1}; got {self.class_}.")
        return torch.full((len(logits),), self.class_ % logits.shape[1], device=logits.device)


@dataclass(frozen=True, eq=False)
class _Pinned:
    """A class score whose target class no longer follows the output."""

    score: _ClassScore
    target: Int[Tensor, " n"]

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        logits = logits_of(output)
        return self.score.of_class(logits, held_by(self.target, len(logits)))

    @property
    def reading(self) -> Reading:
        """What the output is taken for."""
        return self.score.reading


def check_target(target: Any) -> None:
    """Raise `SpecError` for what is neither an index, a name, nor None."""
    if target is None or (isinstance(target, str | Integral) and not isinstance(target, bool)):
        return
    raise SpecError(
        f"a class must be one index or name, or None for the predicted one; got {target!r}. "
        "Of several clips with a class each: explain them one by one."
    )


def index_of(target: Target, classes: Sequence[str]) -> int | None:
    """The index of a class given by name or index; None stays None (the predicted class)."""
    if isinstance(target, int) and not -len(classes) <= target < len(classes):
        raise SpecError(f"class must be one of 0..{len(classes) - 1} ({', '.join(classes)}); got {target}.")
    if not isinstance(target, str):
        return target
    if target not in classes:
        raise SpecError(f"class must be one of {', '.join(classes)}; got {target!r}.")
    return list(classes).index(target)


def _pick(values: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    return values.gather(1, target[:, None])[:, 0]


@dataclass(frozen=True)
class Logit(_ClassScore):
    """The class's output before softmax: the default for explanation, because it does not saturate."""

    def of_class(self, logits: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """z_c."""
        return _pick(logits, target)


def _check_reading(of: str) -> None:
    if of not in ("logits", "probabilities"):
        raise SpecError(f"of must be 'logits' or 'probabilities', what the model returns; got {of!r}.")


@dataclass(frozen=True)
class Probability(_ClassScore):
    """The class's softmax probability (sigmoid for a single output), in [0, 1].

    `of='probabilities'`: the model's output is taken as it is, of one that ends in a softmax or sigmoid itself.
    """

    log: bool = False
    of: Reading = "logits"

    def __post_init__(self) -> None:
        """Refuse what names no single class, and an unknown reading."""
        check_target(self.class_)
        _check_reading(self.of)

    @property
    def reading(self) -> Reading:
        """What the output is taken for."""
        return self.of

    def of_class(self, logits: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """p_c, or log p_c."""
        if self.of == "probabilities":
            taken = _pick(logits, target)
            return taken.clamp(min=torch.finfo(taken.dtype).tiny).log() if self.log else taken
        if logits.shape[1] == 1:
            return F.logsigmoid(logits[:, 0]) if self.log else logits[:, 0].sigmoid()
        return _pick(logits.log_softmax(dim=1) if self.log else logits.softmax(dim=1), target)


@dataclass(frozen=True)
class Contrast(_ClassScore):
    """Why this class rather than that one: z_c - z_c', by default against the strongest other class."""

    flips_at: ClassVar[float] = 0.0  # below, the model says the other class

    against: Target = None

    def __post_init__(self) -> None:
        """Refuse what names no single class, and a class against itself."""
        check_target(self.class_)
        check_target(self.against)
        if self.class_ is not None and self.class_ == self.against:
            raise SpecError(
                f"a contrast needs two classes; got {self.class_!r} twice. Leave `against` out for the next."
            )

    def named(self, classes: Sequence[str]) -> Contrast:
        """Replace class names by their indices."""
        return replace(self, class_=index_of(self.class_, classes), against=index_of(self.against, classes))

    def pin(self, output: Any, x: Tensor) -> ScoreFunction:
        """Hold both classes."""
        logits = logits_of(output.detach() if isinstance(output, Tensor) else output)
        target = self._target(logits)
        return _PinnedContrast(target, self._rival(logits, target))

    def of_class(self, logits: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """z_c - z_c'."""
        return _pick(logits, target) - _pick(logits, self._rival(logits, target))

    def _rival(self, logits: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        if logits.shape[1] < 2:
            raise ShapeError(f"a contrast needs at least two classes; the model returned {logits.shape[1]}.")
        if self.against is not None:
            return Logit(self.against)._target(logits)
        return logits.detach().scatter(1, target[:, None], float("-inf")).argmax(dim=1)


@dataclass(frozen=True, eq=False)
class _PinnedContrast:
    flips_at: ClassVar[float] = 0.0
    reading: ClassVar[Reading] = "logits"

    target: Int[Tensor, " n"]
    rival: Int[Tensor, " n"]

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        return _Pinned(Logit(), self.target)(output, x) - _Pinned(Logit(), self.rival)(output, x)


@dataclass(frozen=True)
class Anomaly:
    """1 - P(normal): the probability of all classes that are not normal. `normal` are indices or names.

    `of='probabilities'`: the model's output is taken as it is, of one that ends in a softmax itself.
    """

    normal: tuple[Target, ...] = (0,)
    of: Reading = "logits"

    def __post_init__(self) -> None:
        """Refuse an unknown reading."""
        _check_reading(self.of)

    @property
    def reading(self) -> Reading:
        """What the output is taken for."""
        return self.of

    def named(self, classes: Sequence[str]) -> Anomaly:
        """Replace class names by their indices."""
        return replace(self, normal=tuple(index_of(target, classes) for target in self.normal))

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Score each clip, (n,) in [0, 1]."""
        logits = logits_of(output)
        if any(not isinstance(target, int) or not 0 <= target < logits.shape[1] for target in self.normal):
            raise SpecError(f"normal must list classes of 0..{logits.shape[1] - 1}; got {self.normal}.")
        shares = logits.softmax(dim=1) if self.of == "logits" else logits
        return 1 - shares[:, list(self.normal)].sum(dim=1)


@dataclass(frozen=True)
class Output:
    """A model's only output as it is: a scalar per clip."""

    reading: ClassVar[Reading] = "logits"

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " n"]:
        """Flatten (n,) or (n, 1) to (n,)."""
        logits = logits_of(output)
        if logits.shape[1] != 1:
            raise ShapeError(f"the score 'output' needs one value per clip; the model returned {logits.shape[1]}.")
        return logits[:, 0]


def probability_of(score: Any) -> ScoreFunction | None:
    """The probability of the class that a score is of, pinned where the score is; None for a score of no class."""
    if isinstance(score, _PinnedContrast):
        return _Pinned(Probability(), score.target)
    held = score.score if isinstance(score, _Pinned) else score
    if isinstance(held, Anomaly):
        return held
    if not isinstance(held, _ClassScore):
        return None
    asked = replace(held, log=False) if isinstance(held, Probability) else Probability(held.class_)
    return _Pinned(asked, score.target) if isinstance(score, _Pinned) else asked


def is_probability(score: Any) -> bool:
    """Whether a score lies in [0, 1]: a class's probability, or one minus that of the normal ones."""
    held = score.score if isinstance(score, _Pinned) else score
    return isinstance(held, Anomaly) or (isinstance(held, Probability) and not held.log)
