"""What an explainer is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hooks import frozen, on_device
from vidence.errors import ShapeError
from vidence.record.facts import Certificate
from vidence.scoring.scores import Pinnable, Placed, ScoreFunction, has_places


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """A map per clip. `values` (n, t, i, j) float32 on the map's own grid, positive = towards the score;
    `raw` what the method computed before channels were reduced or frames interpolated; `gap` (n,) the completeness
    gap where the method promises completeness; `layer` the call site a feature map was taken from.
    """

    values: Float[Tensor, "n t i j"]
    raw: Tensor | None = None
    gap: Float[Tensor, " n"] | None = None
    layer: str | None = None
    certificate: Certificate = field(default_factory=Certificate)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Explainer(ABC):
    """A frozen dataclass of settings; the model comes at call time and is left as it was, also after an error."""

    @abstractmethod
    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """Explain one clip of a model that is in eval mode with gradients to its parameters off."""

    def attribute(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> Attributions:
        """Explain `score(model(x), x)` for each clip of the batch, clip by clip."""
        if x.ndim != 5 or 0 in x.shape or not x.is_floating_point():
            raise ShapeError(
                f"x must be float (n, c, t, h, w) with at least one clip; got {x.dtype} {tuple(x.shape)}. "
                "An image is a clip of one frame."
            )
        x = on_device(model, x).detach()
        with frozen(model), torch.inference_mode(False), torch.enable_grad():
            parts = [self.explain_clip(model, x[i : i + 1], of_clip(score, i, len(x))) for i in range(len(x))]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction
    ) -> Float[Tensor, "n t h w"]:
        """Return the map alone, resized to the clip's height and width."""
        values = self.attribute(model, x, score).values
        if values.shape[2:] == x.shape[3:]:
            return values
        return F.interpolate(values, size=x.shape[3:], mode="bilinear", align_corners=False)


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


def score_rows(score: ScoreFunction, output: Any, x: Float[Tensor, "1 c t h w"]) -> Float[Tensor, " rows"]:
    """Score the rows of an output; a score that is not pinned is pinned on the first row, the clip as it is."""
    rows = _rows(output)
    clips = x.expand(rows, -1, -1, -1, -1)
    if isinstance(score, Pinnable):
        first = _mapped(output, lambda part: part[:1].detach())
        score = score.pin(first, x)
    return _one_each(score(output, clips), rows)


def of_clip(score: ScoreFunction, place: int, n: int) -> ScoreFunction:
    """The score of one clip out of n. A score may have been pinned on all n, row-major: it is shown n equal blocks."""
    if n == 1 or isinstance(score, Pinnable):
        return score

    return _OfPlacedClip(score, place, n) if has_places(score) else _OfClip(score, place, n)


@dataclass(frozen=True, eq=False)
class _OfClip:
    score: ScoreFunction
    place: int
    n: int

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " rows"]:
        values = self.score(*_repeated(output, x, self.n))
        return _one_each(values, self.n * len(x))[self.place * len(x) :][: len(x)]


@dataclass(frozen=True, eq=False)
class _OfPlacedClip:
    score: Placed
    place: int
    n: int

    def __call__(self, output: Any, x: Tensor) -> Float[Tensor, " rows"]:
        return _OfClip(self.score, self.place, self.n)(output, x)

    @property
    def complete(self) -> bool:
        """Whether the density over pixels sums to the score."""
        return getattr(self.score, "complete", True)

    def density(self, output: Any, x: Tensor) -> Float[Tensor, "rows t h w"]:
        """The score per pixel."""
        return self.score.density(*_repeated(output, x, self.n))[self.place * len(x) :][: len(x)]


def _repeated(output: Any, x: Tensor, n: int) -> tuple[Any, Tensor]:
    """`n` equal blocks of rows."""
    return _mapped(output, lambda part: part.repeat(n, *[1] * (part.ndim - 1))), x.repeat(n, *[1] * (x.ndim - 1))


def _one_each(values: Tensor, rows: int) -> Float[Tensor, " rows"]:
    if values.shape != (rows,):
        raise ShapeError(f"a score must return one value a clip, ({rows},); got {tuple(values.shape)}.")
    return values


def joined_outputs(outputs: Sequence[Any]) -> Any:
    """Outputs of several chunks of a batch as one output: tensors are put end to end, whatever holds them."""
    head = outputs[0]
    if isinstance(head, Tensor):
        return torch.cat(list(outputs))
    if isinstance(head, Mapping):
        return {key: joined_outputs([output[key] for output in outputs]) for key in head}
    if isinstance(head, tuple | list):
        return _like(head, [joined_outputs(column) for column in zip(*outputs, strict=True)])
    if is_dataclass(head) and not isinstance(head, type):
        names = [part.name for part in fields(head)]
        return replace(head, **{name: joined_outputs([getattr(out, name) for out in outputs]) for name in names})
    return head


def first_row(output: Any) -> Any:
    """The output of the first clip of a batch."""
    return _mapped(output, lambda part: part[:1])


def _mapped(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(output, Tensor):
        return change(output) if output.ndim else output
    if isinstance(output, Mapping):
        return {key: _mapped(value, change) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return _like(output, [_mapped(value, change) for value in output])
    if is_dataclass(output) and not isinstance(output, type):
        return replace(output, **{part.name: _mapped(getattr(output, part.name), change) for part in fields(output)})
    return output


def _like(sequence: Any, values: list[Any]) -> Any:
    return type(sequence)(*values) if hasattr(sequence, "_fields") else type(sequence)(values)


def _rows(output: Any) -> int:
    if isinstance(output, Tensor):
        return len(output)
    if isinstance(output, Mapping):
        return _rows(next(iter(output.values())))
    if isinstance(output, tuple | list):
        return _rows(output[0])
    if is_dataclass(output) and not isinstance(output, type):
        return _rows(getattr(output, fields(output)[0].name))
    raise ShapeError(
        f"a model must return tensors with the batch first; got {type(output).__name__}. "
        "Wrap it in Adapted(model, pick=...)."
    )


def _joined(parts: list[Attributions]) -> Attributions:
    """One batch out of single clips; its certificate is the worst of theirs."""
    found = [part.certificate for part in parts]
    gaps = [item.gap for item in found if item.gap is not None]
    ranks = [item.deletion_rank for item in found if item.deletion_rank is not None]
    tops = [item.same_top_frame for item in found if item.same_top_frame is not None]
    certificate = replace(
        found[0],
        gap=max(gaps, key=abs, default=None),
        deletion_rank=min(ranks, default=None),
        same_top_frame=all(tops) if tops else None,
        flags=tuple(dict.fromkeys(flag for item in found for flag in item.flags)),
    )
    extra: dict[str, Any] = {}
    for key, value in parts[0].extra.items():
        together = [part.extra[key] for part in parts]
        extra[key] = torch.cat(together) if isinstance(value, Tensor) else together
    return Attributions(
        torch.cat([part.values for part in parts]),
        raw=None if parts[0].raw is None else torch.cat([part.raw for part in parts if part.raw is not None]),
        gap=None if parts[0].gap is None else torch.cat([part.gap for part in parts if part.gap is not None]),
        layer=parts[0].layer,
        certificate=certificate,
        extra=extra,
    )
