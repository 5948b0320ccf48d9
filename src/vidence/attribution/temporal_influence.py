"""Which input frame raises which frame's error: a matrix over time, for networks that reconstruct or predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.calls import GradientOn
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.families import NAMES, family_of
from vidence.attribution.perturb.fills import FILLS, Fill, check_fill, filled_with
from vidence.attribution.subject import Subject
from vidence.errors import ExplainError, SpecError
from vidence.models.reconstruction import scored_frames
from vidence.scoring.score import ScoreFunction, frames_of, has_frames, scored_by

HOW = ("hide", "gradient")


@dataclass(frozen=True)
class TemporalInfluence(Explainer):
    """Influence[i, j]: how much less frame i is wrong when input frame j is hidden.

    The values are its sums over i, one a frame: what hiding frame j takes from the whole score, exactly. Its diagonal
    is `direct` (a frame is part of its own error), the rest of each column `contextual` (it changes what is expected of
    others). What an error is compared with is the score's `mode`.

    `fill` is what a hidden frame shows: 'neighbour' (the mean of the frames beside it), 'auto' (what the network
    expected there, and the neighbours where it expects nothing), or any fill of occlusion. With `how='gradient'` the
    matrix is |d e_i / d x_j|, the L2 norm over the pixels: a size, of small changes.
    """

    how: Literal["hide", "gradient"] = "hide"
    fill: Fill = "auto"
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse fills and forms that do not exist."""
        if self.how not in HOW:
            raise SpecError(f"how must be 'hide' or 'gradient'; got {self.how!r}.")
        if self.fill != "neighbour":
            if isinstance(self.fill, str) and self.fill not in FILLS:
                raise SpecError(
                    f"fill must be 'neighbour', {', '.join(map(repr, FILLS))} or a value; got {self.fill!r}."
                )
            check_fill(self.fill)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip and each frame hidden, or one gradient a frame (of networks that score all of them)."""
        return Price(1 + t) if self.how == "hide" else Price(1 + t, t)

    def refusal(self, model: nn.Module, x: Float[Tensor, "n c t h w"], score: ScoreFunction) -> str | None:
        """It needs errors of single frames."""
        family = family_of(model)
        if family != "reconstruction":
            return (
                "temporal-influence compares the errors of an autoencoder's or a predictor's frames; this is "
                f"{NAMES[family]}. Take when-where or frame-occlusion."
            )
        return None

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """In `extra`: `influence` (1, t, t), rows without an error 0; `direct` and `contextual` (1, t).

        `errors` (first, last + 1) are the rows that have one: frames that the score counts.
        """
        subject = Subject(model, x, score, chunk=self.chunk)
        if not has_frames(subject.score):
            raise ExplainError(
                "temporal-influence needs a score with a value per frame, such as squared-error; this one has none. "
                "Take frame-occlusion."
            )
        first, last = scored_by(subject.score, subject.output)
        rows = self._hidden(subject) if self.how == "hide" else self._gradients(subject, last - first)
        t = x.shape[2]
        influence = F.pad(rows, (0, 0, first, t - last)).float()[None]  # (1, i, j)
        direct = influence.diagonal(dim1=1, dim2=2)
        summed = influence.sum(dim=1)
        return Attributions(
            summed[:, :, None, None],
            raw=influence,
            extra={
                "influence": influence,
                "direct": direct,
                "contextual": summed - direct,
                "errors": (first, last),  # the map has every frame that was seen, so these are not all it speaks of
            },
        )

    def _hidden(self, subject: Subject) -> Float[Tensor, "s t"]:
        """What each frame's error loses, one column a hidden frame."""
        t, filled = subject.x.shape[2], self._filled(subject)
        hidden = torch.eye(t, dtype=torch.bool, device=subject.x.device)[:, None, :, None, None]
        columns = []
        with torch.no_grad():
            before = frames_of(subject.score, subject.output, subject.x)
            for first, last in subject.chunks(t, label="frames"):
                rows = torch.where(hidden[first:last], filled, subject.x)
                columns.append(before - frames_of(subject.score, subject.model(rows), rows))
        return torch.cat(columns).T

    def _gradients(self, subject: Subject, count: int) -> Float[Tensor, "s t"]:
        """The size of each error's gradient in each input frame, one row an error."""
        found = []
        for first, last in subject.chunks(count, label="frames", weight=4):
            asked = subject.x.repeat(last - first, 1, 1, 1, 1).requires_grad_()
            with GradientOn():
                errors = frames_of(subject.score, subject.model(asked), asked)
            own = errors[:, first:last].diagonal().sum()
            gradient = torch.zeros_like(asked)
            if own.requires_grad:
                gradient = torch.autograd.grad(own, asked, materialize_grads=True)[0]
            found.append(gradient.square().sum(dim=(1, 3, 4)).sqrt())
        return torch.cat(found)

    def _filled(self, subject: Subject) -> Float[Tensor, "1 c t h w"]:
        x = subject.x
        if self.fill == "neighbour":
            return _beside(x)
        filled = filled_with(x, self.fill, subject.output)
        if self.fill != "auto":
            return filled
        first, last = scored_frames(subject.output)
        expected = torch.zeros(x.shape[2], dtype=torch.bool, device=x.device)
        expected[first:last] = True
        return filled if expected.all() else torch.where(expected[:, None, None], filled, _beside(x))


def _beside(x: Float[Tensor, "1 c t h w"]) -> Float[Tensor, "1 c t h w"]:
    """Each frame as the mean of the one before and the one after; at the ends, as the only one beside it."""
    if x.shape[2] < 2:
        raise ExplainError("fill='neighbour' needs a clip of two frames at least; got one. Take fill='reconstruction'.")
    before = torch.cat([x[:, :, 1:2], x[:, :, :-1]], dim=2)
    after = torch.cat([x[:, :, 1:], x[:, :, -2:-1]], dim=2)
    return (before + after) / 2
