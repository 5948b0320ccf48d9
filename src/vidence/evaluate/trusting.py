"""The short check of the maps of one window: does the score follow each map, does the map follow the model, do maps of
different families agree, and does each come out again? Plain words for the figures are in `review.short_check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import ExplainError, VidenceError
from vidence.evaluate.cells import first_of, ranking
from vidence.evaluate.comparison import at_size_of, clip_seed
from vidence.evaluate.explainer_kinds import differ
from vidence.evaluate.faithfulness import InsertionGain
from vidence.evaluate.marked import marked_share
from vidence.evaluate.measure import Case
from vidence.evaluate.pooled_maps import SIDE, pooled
from vidence.evaluate.sanity import class_agnostic, insensitive
from vidence.evaluate.similarity import similarity
from vidence.evaluate.stability import reseeded
from vidence.frames.clip import Clip
from vidence.models.detector import Detector
from vidence.models.evaluating import evaluating
from vidence.record.trust import Trust
from vidence.scoring.score import ScoreFunction, pinned
from vidence.scoring.scores import logits_of

SHARE = 0.1  # of the clip: the strongest part of a map, which counts as marked
DRAWS = 8  # random regions of that size
GAIN = InsertionGain(steps=16)
FAILURES = (VidenceError, RuntimeError)  # of one figure; the others are measured nevertheless
NOISE = 1 / 255  # standard deviation, of pixels in [0, 1]: one grey level
SETTINGS = {
    "marked": f"share={SHARE}, draws={DRAWS}, fill='auto'",
    "gain": ", ".join(f"{name}={value!r}" for name, value in GAIN.settings.items()),
    "sanity": "stages=1, how='spearman'",
    "agreement": f"share={SHARE}, grid={SIDE}",
    "rerun": f"grid={SIDE}, noise={NOISE:.4f}",
}
NO_FALL = "hiding the whole clip does not lower the score, so that no part of it can"
FLAT = "the map says the same of every place"


def short_checks(
    detector: Detector,
    clip: Clip,
    score: ScoreFunction,
    found: Mapping[str, tuple[Explainer, Attributions]],
    *,
    seed: int = 0,
) -> dict[str, Trust]:
    """Measure each explainer's map of one window. Everything random is drawn by `seed` and the clip.

    Raises `ExplainError` for a detector without a network.
    """
    network, x = checkable(detector), detector.prepare(clip)
    drawn = clip_seed(seed, clip.ref.digest, clip.ref.first)
    with detector.arithmetic(x):
        held, other = _classes(network, x, score) if detector.classes else (score, None)
        shared: dict[Any, Any] = {}
        cases = {
            line: Case(
                *(network, x, held, made.informed(detector, score), at_size_of(x, maps.values)),
                seed=drawn,
                shared=shared,
            )
            for line, (made, maps) in found.items()
        }
        return {line: _Check(case, cases, other).trust(clip.ref.first) for line, case in cases.items()}


def checkable(detector: Detector) -> nn.Module:
    """The network that is asked again. Raises `ExplainError` for a detector without one."""
    if detector.network is None:
        raise ExplainError(
            "the short check asks a network again and again; this detector has none, and its own evidence is its "
            "explanation. Use vidence explain."
        )
    return detector.network


def _classes(network: nn.Module, x: Tensor, score: ScoreFunction) -> tuple[ScoreFunction, ScoreFunction | None]:
    """The score with its class held, and that of the strongest other class; None where it is of no class."""
    with evaluating(network):
        output = network(x)
    held, logits = pinned(score, output, x), logits_of(output)[0]
    asked = getattr(score, "class_", None)
    if not hasattr(score, "class_") or len(logits) < 2:
        return held, None
    own = int(logits.argmax()) if asked is None else int(asked) % len(logits)
    other = max((k for k in range(len(logits)) if k != own), key=lambda k: float(logits[k]))
    return held, replace(score, class_=other)  # type: ignore[type-var]  # scores of a class are dataclasses


class _Unmeasured(Exception):
    """Why a figure says nothing of this map."""


@dataclass(frozen=True, eq=False)
class _Check:
    """One map among those of its window, by line; `other` is another class's score."""

    case: Case
    cases: Mapping[str, Case]
    other: ScoreFunction | None

    def trust(self, first: int) -> Trust:
        """Every figure that can be measured, and why the others cannot."""
        told: dict[str, Any] = {}
        missing: dict[str, str] = {} if self.other else {"class": "the score is of no class among several"}
        for name, measured in {
            "marked": self.marked,
            "gain": self.gain,
            "sanity": self.sanity,
            "agreement": self.agreement,
            "rerun": self.rerun,
        }.items():
            try:
                if np.ptp(self.case.values) == 0:
                    raise _Unmeasured(FLAT)
                told |= measured()
            except (_Unmeasured, *FAILURES) as reason:
                missing[name] = str(reason)
        return Trust(first=first, **told, unmeasured=missing, settings=SETTINGS, seed=self.case.seed)

    def marked(self) -> dict[str, Any]:
        """The score's share of the strongest places, of those that speak for it."""
        values = self.case.values
        if values.max() <= 0:
            raise _Unmeasured("no place of the map speaks for the score")
        region = _strongest(values, self.case.rng) & (values > 0)
        found = marked_share(self.case, region, draws=DRAWS)
        if found is None:
            raise _Unmeasured(NO_FALL)
        return {"region": found.size, "marked": found.marked, "chance": found.random}

    def gain(self) -> dict[str, Any]:
        """Insertion in the map's order over insertion in random ones."""
        found = GAIN(self.case)
        if found is None:
            raise _Unmeasured(NO_FALL)
        return {"gain": found}

    def sanity(self) -> dict[str, Any]:
        """Whether weights and class matter to the map."""
        if not any(True for _ in self.case.model.parameters()):
            raise _Unmeasured("the network has no weights")
        said = [insensitive(self.case), class_agnostic(self.case, self.other) if self.other else None]
        return {"sane": not any(said), "flags": tuple(flag for flag in said if flag)}

    def agreement(self) -> dict[str, Any]:
        """With the map of another family, of several the one that is least like this one."""
        others = {line: each for line, each in self.cases.items() if differ(each.explainer, self.case.explainer)}
        own = pooled(self.case.values)
        alike = {line: similarity(own, pooled(each.values)) for line, each in others.items()}
        held = {line: value for line, value in alike.items() if value is not None}
        if not held:
            raise _Unmeasured("no explainer of another family was asked" if not alike else FLAT)
        line = min(held, key=lambda each: held[each])
        theirs = pooled(self.cases[line].values)
        both = [_strongest(values, self.case.rng) for values in (own, theirs)]
        share = float(both[0].mean())
        common = float((both[0] & both[1]).sum() / both[0].sum())
        return {"other": line, "agreement": held[line], "overlap": common, "overlap_chance": share}

    def rerun(self) -> dict[str, Any]:
        """The same map under another seed, or where that changes nothing, under noise that nobody sees."""
        case, varied = self.case, "another seed"
        other = reseeded(case.explainer, 1)
        again = case.values if other == case.explainer else replace(case, explainer=other).again()
        if np.array_equal(again, case.values):
            drawn = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(case.seed)).to(case.x)
            again, varied = case.again(x=(case.x + NOISE * drawn).clamp(0, 1)), "a noise on the pixels that nobody sees"
        return {"rerun": similarity(pooled(case.values), pooled(again)), "varied": varied}


def _strongest(values: Float[np.ndarray, "t h w"], rng: np.random.Generator) -> Bool[np.ndarray, "t h w"]:
    """The strongest `SHARE` of the places; equal ones in random order."""
    count = np.array([max(1, round(SHARE * values.size))])
    return first_of(ranking(values.reshape(-1), rng), count).reshape(values.shape)
