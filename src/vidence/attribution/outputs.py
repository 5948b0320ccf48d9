"""A model's output and its scores, row by row: outputs of any nesting are sliced, repeated and put end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vidence.errors import ShapeError
from vidence.scoring.score import Around, Pinnable, ScoreFunction

SHORT = (torch.float16, torch.bfloat16)
# what a model raises of a clip, or of many, that it cannot take
FOREIGN = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


def full(part: Tensor) -> Tensor:
    """A tensor in 32 bit at least, as our own sums and means need it."""
    return part.float() if part.dtype in SHORT else part


def score_rows(score: ScoreFunction, output: Any, x: Float[Tensor, "1 c t h w"]) -> Float[Tensor, " rows"]:
    """Score the rows of an output; a score that is not pinned is pinned on the first row, the clip as it is."""
    rows = rows_of(output)
    clips = x.expand(rows, -1, -1, -1, -1)
    if isinstance(score, Pinnable):
        first = mapped(output, lambda part: part[:1].detach())
        score = score.pin(first, x)
    return one_each(score(output, clips), rows)


def of_clip(score: ScoreFunction, place: int, n: int) -> ScoreFunction:
    """The score of one clip out of n. A score may have been pinned on all n, row-major: it is shown n equal blocks."""
    if n == 1 or isinstance(score, Pinnable):
        return score
    return _OfClip(score, place, n)


@dataclass(frozen=True, eq=False)
class _OfClip(Around):
    """`score` of the clip at `place` out of `n`."""

    place: int
    n: int

    def shown(self, output: Any, x: Tensor) -> tuple[Any, Tensor]:
        """`n` equal blocks of rows."""
        blocks = mapped(output, lambda part: part.repeat(self.n, *[1] * (part.ndim - 1)))
        return blocks, x.repeat(self.n, *[1] * (x.ndim - 1))

    def own(self, values: Tensor, rows: int) -> Tensor:
        """One block of them."""
        if values.shape[:1] != (self.n * rows,):
            raise ShapeError(f"a score must return one value a clip, {self.n * rows}; got {tuple(values.shape)}.")
        return values[self.place * rows :][:rows]


def one_each(values: Tensor, rows: int) -> Float[Tensor, " rows"]:
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
    return mapped(output, lambda part: part[:1])


def mapped(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(output, Tensor):
        return change(output) if output.ndim else output
    if isinstance(output, Mapping):
        return {key: mapped(value, change) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return _like(output, [mapped(value, change) for value in output])
    if is_dataclass(output) and not isinstance(output, type):
        return replace(output, **{part.name: mapped(getattr(output, part.name), change) for part in fields(output)})
    return output


def exchanged(value: Any, held: Mapping[int, Any]) -> Any:
    """What a call was given, with other tensors in place of those whose `id` is held."""
    if isinstance(value, Tensor):
        return held.get(id(value), value)
    if isinstance(value, Mapping):
        return {key: exchanged(part, held) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return _like(value, [exchanged(part, held) for part in value])
    return value


def _like(sequence: Any, values: list[Any]) -> Any:
    return type(sequence)(*values) if hasattr(sequence, "_fields") else type(sequence)(values)


def rows_of(output: Any) -> int:
    if isinstance(output, Tensor):
        return len(output) if output.ndim else 0
    if isinstance(output, Mapping):
        return rows_of(next(iter(output.values())))
    if isinstance(output, tuple | list):
        return rows_of(output[0])
    if is_dataclass(output) and not isinstance(output, type):
        return rows_of(getattr(output, fields(output)[0].name))
    raise ShapeError(
        f"a model must return tensors with the batch first; got {type(output).__name__}. "
        "Wrap it in Adapted(model, pick=...)."
    )
