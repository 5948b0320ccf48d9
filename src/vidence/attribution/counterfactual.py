"""Counterfactual boxes: the smallest region without which there would be no alarm (after Ravi's thesis, 3.8.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vidence.attribution.box_search import (
    Boxes,
    Size,
    box_sums,
    grid_boxes,
    inside,
    promising,
    shrunk,
    sliding_boxes,
    volumes,
)
from vidence.attribution.explainer import Attributions, Explainer, Price
from vidence.attribution.perturb.boxes import Box
from vidence.attribution.perturb.fills import Fill, check_fill, filled_with
from vidence.attribution.subject import Subject
from vidence.errors import ExplainError, SpecError
from vidence.models.detector import Detector
from vidence.models.reconstruction import Reconstruction
from vidence.record.facts import Certificate
from vidence.scoring.operating import operating_threshold
from vidence.scoring.score import ScoreFunction, frames_of, has_frames, is_sum_over_pixels

_WORDS = {
    "reconstruction": "what the network expected",
    "mean": "the clip's mean colour",
    "median": "the clip's median over time",
    "blur": "a blur of itself",
    "noise": "noise",
}


@dataclass(frozen=True)
class CounterfactualBox(Explainer):
    """A box of the clip such that the score would have been another if it had looked like a reference.

    `normalise`, the default: the smallest box whose replacement brings the score below `threshold`. The replacement
    (`fill`) is what an autoencoder expected there, or 'mean', 'median', 'blur' or a value. Candidates are all boxes on
    a grid of `cells` an axis, ranked by what they hold of the score's density (of gradient x change for a score without
    places); `verify` of them are tried, then the best is shrunk side by side with up to `shrink` further trials.
    Without a `threshold` a detector's own is taken (`per='frame'`: the mean error of a frame), a contrast's is 0, and
    else it lies halfway between the clip's score and that of the whole clip replaced. No smaller box was found, which
    is not to say that there is none.

    `sensitise`, what the thesis describes: the box of one size (`box`: frames, rows, columns; by default a quarter of
    each) whose alteration, to the mean colour unless `fill` says otherwise ('noise' too), raises the score most. It
    answers where the model is easiest to upset, not what is anomalous, and its values are negative.

    The map is the box, filled with the drop of the score per pixel: it sums to the drop.
    """

    mode: Literal["normalise", "sensitise"] = "normalise"
    threshold: float | None = None
    per: Literal["clip", "frame"] = "clip"
    fill: Fill = "auto"
    box: Box | None = None
    cells: int = 8
    verify: int = 64
    shrink: int = 128
    chunk: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse modes, fills and budgets that do not exist."""
        if self.mode not in ("normalise", "sensitise") or self.per not in ("clip", "frame"):
            raise SpecError(
                f"mode must be 'normalise' or 'sensitise', per 'clip' or 'frame'; got {self.mode!r} and {self.per!r}."
            )
        if self.fill == "noise" and self.mode == "normalise":
            raise SpecError("noise is no picture of what is normal: take fill='mean', 'median' or 'reconstruction'.")
        if self.fill != "noise":
            check_fill(self.fill)
        for name, least in (("cells", 1), ("verify", 2), ("shrink", 0)):
            if getattr(self, name) < least:
                raise SpecError(f"{name} must be at least {least}; got {getattr(self, name)}.")
        if self.box is not None and (len(self.box) != 3 or min(self.box) < 1):
            raise SpecError(f"box must be three sizes of at least 1 (frames, rows, columns); got {self.box}.")
        if self.box is not None and self.mode == "normalise":
            raise SpecError("normalise finds the box's size itself: leave box out, or take mode='sensitise'.")

    @classmethod
    def quick(cls) -> Self:
        """Few boxes."""
        return cls(cells=4, verify=16, shrink=18)

    def price(self, t: int, h: int, w: int, channels: int = 0) -> Price:
        """The clip, each box, and the box that is chosen once more; the gradient where the score has no places."""
        if self.mode == "sensitise":
            return Price(2 + len(sliding_boxes((t, h, w), self._side((t, h, w)))))
        return Price(4 + self.verify + self.shrink, 1, at_most=True)

    def informed(self, detector: Detector, score: ScoreFunction) -> CounterfactualBox:
        """With the detector's threshold, where none was given and this is the score that it is of."""
        found = operating_threshold(detector, score)
        if self.threshold is not None or self.mode == "sensitise" or found is None:
            return self
        return replace(self, threshold=found.value, per=found.per)

    def explain_clip(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Attributions:
        """In `extra`: `boxes`, `score`, `counterfactual_score`, `threshold`, `flipped`, `sentence`, and for errors that
        have places how much of the drop lies inside the box (`direct`) and outside (`contextual`).
        """
        subject = Subject(model, x, score, chunk=self.chunk)
        search = _Search(subject, self._filled(subject))
        flags: tuple[str, ...] = ()
        if self.mode == "sensitise":
            boxes = sliding_boxes(search.size, self._side(search.size)).to(x.device)
            chosen, threshold = boxes[search.scores(boxes).argmax()], None
        else:
            threshold, flags = self._threshold(search)
            chosen = _smallest(search, threshold, self)
        return self._told(search, chosen, threshold, flags)

    def _filled(self, subject: Subject) -> Float[Tensor, "1 c t h w"]:
        if self.fill == "noise":
            drawn = torch.rand(subject.x.shape, generator=torch.Generator().manual_seed(self.seed))
            return drawn.to(subject.x)
        fill = "mean" if self.mode == "sensitise" and self.fill == "auto" else self.fill
        return filled_with(subject.x, fill, subject.output)

    def _threshold(self, search: _Search) -> tuple[float, tuple[str, ...]]:
        """What the score has to fall below, and warnings about it."""
        subject = search.subject
        flags: tuple[str, ...] = ()
        if getattr(subject.score, "mode", None) == "fixed":
            flags = ("the score compares with the original clip (mode='fixed'): it cannot see a box as replaced",)
        if self.threshold is not None:
            frames = 1
            if self.per == "frame":
                if not has_frames(subject.score):
                    raise ExplainError("per='frame' needs a score with a value per frame; this one has none.")
                frames = frames_of(subject.score, subject.output, subject.x).shape[1]
            return self.threshold * frames, flags
        known = getattr(subject.score, "flips_at", None)
        if known is not None:
            return float(known), flags
        empty = float(search.scores(search.everything))
        given = "no threshold was given: it lies halfway between the clip's score and that of the clip replaced"
        return (float(subject.whole) + empty) / 2, (*flags, given)

    def _side(self, size: Size) -> Size:
        given = self.box or (ceil(size[0] / 4), ceil(size[1] / 4), ceil(size[2] / 4))
        return min(given[0], size[0]), min(given[1], size[1]), min(given[2], size[2])

    def _told(
        self, search: _Search, chosen: Int[Tensor, " 6"], threshold: float | None, flags: tuple[str, ...]
    ) -> Attributions:
        """The chosen box, measured once more, as a map and in words."""
        subject, region = search.subject, inside(chosen[None], search.size)[0]
        after, split = search.measured(region)
        before = float(subject.whole)
        flipped = threshold is not None and after < threshold <= before
        if threshold is not None and not flipped:
            why = "no box brings" if before >= threshold else "the score was below the threshold before: no box brought"
            flags = (*flags, f"{why} it there, and the box is the one with the largest drop per pixel")
        values = region.float()[None] * ((before - after) / float(region.sum()))
        extra = {
            "boxes": [tuple(chosen.tolist())],
            "score": before,
            "counterfactual_score": after,
            "threshold": threshold,
            "flipped": flipped,
            "sentence": self._sentence(subject, before, after, threshold),
        }
        return Attributions(values, certificate=Certificate(flags=flags), extra=extra | split)

    def _sentence(self, subject: Subject, before: float, after: float, threshold: float | None) -> str:
        fill = self.fill
        if fill == "auto":
            reconstructs = self.mode == "normalise" and isinstance(subject.output, Reconstruction)
            fill = "reconstruction" if reconstructs else "mean"
        words = _WORDS.get(str(fill), f"the value {fill}")
        limit = "" if threshold is None else f" (threshold {threshold:.4g})"
        return (
            f"If the marked region had looked like {words}, the score would have been {after:.4g} instead of "
            f"{before:.4g}{limit}."
        )


@dataclass(frozen=True, eq=False)
class _Search:
    """What is asked of boxes: the scores of the clip with each of them replaced by `filled`."""

    subject: Subject
    filled: Float[Tensor, "1 c t h w"]

    @property
    def size(self) -> Size:
        """Frames, rows, columns."""
        t, h, w = self.subject.x.shape[2:]
        return t, h, w

    @property
    def everything(self) -> Boxes:
        """The box that is the clip."""
        t, h, w = self.size
        return torch.tensor([[0, t, 0, 0, h, w]], device=self.subject.x.device)

    def scores(self, boxes: Boxes) -> Float[Tensor, " v"]:
        """The score with each box replaced."""

        def rows(first: int, last: int) -> Tensor:
            return torch.where(inside(boxes[first:last], self.size)[:, None], self.filled, self.subject.x)

        return self.subject.scores(rows, len(boxes), label="boxes tried")

    def estimate(self) -> Float[Tensor, "t h w"]:
        """What replacing each pixel may take from the score: the score's own density there, or gradient x change."""
        subject = self.subject
        if is_sum_over_pixels(subject.score):
            with torch.no_grad():
                return subject.score.density(subject.output, subject.x)[0]
        _, _, gradient = next(subject.gradients(lambda first, last: subject.x, 1, label="gradient"))
        return (gradient * (subject.x - self.filled)).sum(dim=1)[0]

    def measured(self, region: Tensor) -> tuple[float, dict[str, float]]:
        """The score with a region replaced, and the drop inside and outside where the score has places."""
        subject = self.subject
        changed = torch.where(region, self.filled, subject.x)
        with torch.no_grad():
            output = subject.model(changed)
            after = float(subject.score(output, changed))
            if not is_sum_over_pixels(subject.score):
                return after, {}
            held = subject.score
            drop = (held.density(subject.output, subject.x) - held.density(output, changed))[0]
        return after, {"direct": float(drop[region].sum()), "contextual": float(drop[~region].sum())}


def _smallest(search: _Search, threshold: float, settings: CounterfactualBox) -> Int[Tensor, " 6"]:
    """The smallest box found below the threshold; where there is none, the one with the largest drop per pixel."""
    boxes = grid_boxes(search.size, settings.cells).to(search.subject.x.device)
    sums, sizes = box_sums(search.estimate(), boxes), volumes(boxes)
    first = promising(sums, sizes, settings.verify // 2 - 1)
    tried = torch.cat([boxes[first], search.everything])
    scores = search.scores(tried)
    whole = float(search.subject.whole)
    flips = scores < threshold if whole >= threshold else torch.zeros_like(scores, dtype=torch.bool)
    limit = int(volumes(tried)[flips].min()) if flips.any() else sizes.max() + 1
    open_ = sizes < limit
    open_[first] = False
    if open_.any():
        left = boxes[open_]
        again = left[promising(sums[open_], sizes[open_], settings.verify - settings.verify // 2)]
        found = search.scores(again)
        tried, scores = torch.cat([tried, again]), torch.cat([scores, found])
        flips = torch.cat([flips, found < threshold if whole >= threshold else torch.zeros_like(found).bool()])
    if not flips.any():
        return tried[((whole - scores) / volumes(tried)).argmax()]
    good = tried[flips]
    smallest = volumes(good) == volumes(good).min()
    best = good[smallest][scores[flips][smallest].argmin()]
    t, h, w = (ceil(length / min(settings.cells, length) / 2) for length in search.size)
    return shrunk(best, (t, h, w), settings.shrink, lambda boxes: search.scores(boxes) < threshold)
