"""Families of explainers that err in different ways: two that agree say more than one (methods.md E, line 19)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, islice
from typing import Literal, TypeAlias

from vidence import spec
from vidence.attribution import (
    COMBINE,
    EXPLAINERS,
    IGOS,
    LIME,
    RISE,
    AdaptiveOcclusion,
    CounterfactualBox,
    ExtremalPerturbation,
    FGVis,
    FrameOcclusion,
    IGOSPlusPlus,
    KernelSHAP,
    MaskingModel,
    MeaningfulPerturbation,
    Occlusion,
    Residual,
    TemporalInfluence,
    TemporalMask,
)
from vidence.attribution.explainer import Explainer

Kind: TypeAlias = Literal["looks inside", "hides and looks again", "compares with what was expected"]
HIDING = (
    *(AdaptiveOcclusion, CounterfactualBox, ExtremalPerturbation, FGVis, FrameOcclusion, IGOS, IGOSPlusPlus),
    *(KernelSHAP, LIME, MaskingModel, MeaningfulPerturbation, Occlusion, RISE, TemporalInfluence, TemporalMask),
)
FALLBACKS = ("occlusion", "gradient")  # of two families; any network answers them


def kind_of(explainer: Explainer) -> Kind | None:
    """The family of an explainer; of one that is made of others, theirs: None where these are of several."""
    parts: tuple[Explainer, ...] = getattr(explainer, "of", ())
    inner = getattr(explainer, "explainer", None)
    if isinstance(inner, Explainer):
        parts = (inner,)
    if parts:
        kinds = {kind_of(part) for part in parts}
        return kinds.pop() if len(kinds) == 1 else None
    if isinstance(explainer, Residual):
        return "compares with what was expected"
    return "hides and looks again" if isinstance(explainer, HIDING) else "looks inside"


def differ(first: Explainer, second: Explainer) -> bool:
    """Whether two explainers are of different families, so that their agreement says something."""
    kinds = kind_of(first), kind_of(second)
    return None not in kinds and kinds[0] != kinds[1]


def with_another_kind(lines: Sequence[str], own: str) -> tuple[str, ...]:
    """The spec lines of explainers; where all are of one family, one of another more: the detector's `own`, or one that
    asks least of a model.
    """
    made = [_made(line) for line in lines]
    if any(differ(first, second) for first, second in combinations(made, 2)):
        return tuple(lines)
    more = (line for line in (own, *FALLBACKS) if all(differ(_made(line), each) for each in made))
    return (*lines, *islice(more, 1))


def _made(line: str) -> Explainer:
    made: Explainer = spec.build(line, {**EXPLAINERS, **COMBINE})
    return made
