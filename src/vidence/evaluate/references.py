"""What a clip shows where it is hidden, and what the score is then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vidence.attribution.hooks import frozen
from vidence.attribution.perturb.fills import FILLS, Fill, filled_with, shown_through
from vidence.attribution.subject import Rows, Subject
from vidence.errors import SpecError
from vidence.evaluate.imputation import Imputation
from vidence.evaluate.measure import Case
from vidence.scoring.scores import is_probability, probability_of

Scale: TypeAlias = Literal["auto", "score", "probability"]
LEAST = 0.05  # fall of a score, as a share of its sizes: shares of a smaller one would be mostly noise
LEAST_PROBABILITY = 0.1
RESOLVED = 1e-6  # of a score's size: smaller changes are a float32 model's rounding
Masks: TypeAlias = Callable[[int, int], Bool[np.ndarray, "v t h w"]]  # (first, last) -> what each variant hides
IMPUTED = ("road", "road-frames")
REFERENCES = (*FILLS, "frozen", *IMPUTED)


def check_reference(fill: Fill, scale: str) -> None:
    """Raise `SpecError` for a reference or a scale that does not exist."""
    if isinstance(fill, str) and fill not in REFERENCES:
        raise SpecError(f"fill must be {', '.join(map(repr, REFERENCES))} or a value; got {fill!r}.")
    if scale not in get_args(Scale):
        raise SpecError(f"scale must be {', '.join(map(repr, get_args(Scale)))}; got {scale!r}.")


def subject_of(case: Case, scale: Scale) -> Subject:
    """The model under the score that was explained, or under the probability of that score's class; 'auto': the latter
    where there is one. A logit has no place where it ends, so that one clip may outweigh all others.

    Raises `SpecError` where a probability is asked for, and the score is of no class.
    """
    score = None if scale == "score" else probability_of(case.score)
    if score is None and scale != "probability":
        with frozen(case.model):
            return case.subject
    if score is None:
        raise SpecError(
            f"scale='probability' needs the score of a class; got {type(case.score).__name__}. Take scale='score'."
        )
    with frozen(case.model):
        return Subject(case.model, case.x, score, chunk=case.chunk)


def concealed_of(case: Case, fill: Fill, scale: Scale) -> Concealed:
    """The clip of a case behind a reference: one for all maps and measures of it, so that what it keeps is asked once.

    Raises `SpecError` as `subject_of` does.
    """
    key = (id(case.model), id(case.x), id(case.score), case.seed, fill, scale)
    if key not in case.shared:  # with the score, whose number must not come again while the key stands
        case.shared[key] = case.score, Concealed(subject_of(case, scale), fill, case.seed)
    found: Concealed = case.shared[key][1]
    return found


def asked(subject: Subject, rows: Rows, count: int, *, label: str) -> Float[np.ndarray, " v"]:
    """The scores of `count` variants of a clip, of a model that is left as it was; float64."""
    with frozen(subject.model):
        return subject.scores(rows, count, label=label).cpu().numpy().astype(np.float64)


@dataclass(eq=False)
class Concealed:
    """A clip of which any pixels can be hidden behind `fill`: a key of `REFERENCES`, or a value.

    'frozen' is the first frame throughout, 'road' noisy linear imputation through time and 'road-frames' within each
    frame; the others are those of `attribution.perturb.fills`. Noise is drawn by `seed`.
    """

    subject: Subject
    fill: Fill
    seed: int

    @property
    def whole(self) -> float:
        """The score of the clip as it is."""
        return float(self.subject.whole)

    @cached_property
    def empty(self) -> float:
        """The score of the clip with everything hidden: one forward pass at the first use."""
        everything = np.ones((1, *self.subject.x.shape[2:]), dtype=bool)
        return float(self.scores(lambda a, b: everything, 1, label="everything hidden")[0])

    @property
    def fall(self) -> float | None:
        """What hiding everything takes from the score; None where that is next to nothing, or where the score rises.

        It depends on the clip and the reference, not on the map: all maps of a clip are measured, or none.
        """
        whole, empty = self.whole, self.empty
        least = LEAST_PROBABILITY if is_probability(self.subject.score) else LEAST * (abs(whole) + abs(empty))
        return whole - empty if whole - empty > least else None

    def scores(self, masks: Masks, count: int, *, label: str) -> Float[np.ndarray, " v"]:
        """The scores of `count` variants of the clip, chunk by chunk."""
        return asked(self.subject, lambda a, b: self._shown(masks(a, b)), count, label=label)

    def _shown(self, hidden: Bool[np.ndarray, "v t h w"]) -> Float[Tensor, "v c t h w"]:
        x = self.subject.x
        if self.fill in IMPUTED:
            return torch.from_numpy(np.stack([self._imputation(each) for each in hidden])).to(x)
        return shown_through(x, self._filled, torch.from_numpy(~hidden).to(x))

    @cached_property
    def _filled(self) -> Float[Tensor, "1 c t h w"]:
        x = self.subject.x
        return x[:, :, :1].expand_as(x) if self.fill == "frozen" else filled_with(x, self.fill, self.subject.output)

    @cached_property
    def _imputation(self) -> Imputation:
        x = self.subject.x[0].detach().float().cpu().numpy()
        return Imputation(x, np.random.default_rng(self.seed), through_time=self.fill == "road")
