"""Does the map depend on what the network learnt, or on the picture alone? (Adebayo et al., NeurIPS 2018)"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self

import numpy as np
from torch import nn

from vidence.errors import DataError, SpecError
from vidence.evaluate.controls import FrameDifference
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.randomised import cascaded, singled
from vidence.evaluate.similarity import How, check_how, similarity
from vidence.models.detector import load_detector
from vidence.scoring.scores import ScoreFunction

SAME = 0.9  # rank correlation from which on two maps count as the same: our convention, the paper names no limit


@dataclass(frozen=True)
class _Randomisation(Measure):
    """Mean likeness over `stages` of the map to those of copies of the model whose weights are partly initialised anew.

    None for a constant map and for a model without parameters.
    """

    stages: int = 4
    how: How = "spearman"
    signed: bool = False
    aspect = "sanity"
    better = "lower"
    by_size = True

    def __post_init__(self) -> None:
        """Refuse settings that are none."""
        if self.stages < 1:
            raise SpecError(f"stages must be at least 1; got {self.stages!r}.")
        check_how(self.how)

    @classmethod
    def quick(cls) -> Self:
        """One stage."""
        return cls(stages=1)

    def of(self, case: Case) -> float | None:
        """One map a stage."""
        return _alike(case, self.copies(case), how=self.how, signed=self.signed)

    @abstractmethod
    def copies(self, case: Case) -> Iterable[nn.Module]:
        """A model a stage."""


@dataclass(frozen=True)
class CascadingRandomisation(_Randomisation):
    """How alike the map stays while modules are initialised anew from the output down: mean over `stages`.

    The stages are evenly spread over the network, and the last keeps no weight; 1 is that one alone. None for a
    constant map and for a model without parameters.
    """

    def copies(self, case: Case) -> Iterable[nn.Module]:
        """One copy that forgets more at each stage."""
        return cascaded(case.model, case.x, stages=self.stages, seed=case.seed)


@dataclass(frozen=True)
class IndependentRandomisation(_Randomisation):
    """How alike the map stays where one module is initialised anew and the others are as trained: mean over `stages`.

    The modules are evenly spread over the network, the input's one of them. None as of `cascading-randomisation`.
    """

    def copies(self, case: Case) -> Iterable[nn.Module]:
        """A copy a stage."""
        return singled(case.model, case.x, stages=self.stages, seed=case.seed)


@dataclass(frozen=True)
class LabelRandomisation(Measure):
    """How alike the map is to that of a detector of the same architecture that was trained on permuted labels.

    `detector` is its folder (`benchmarks/permuted_labels.py` writes the labels to train it on); None without one.
    """

    detector: str = ""
    how: How = "spearman"
    signed: bool = False
    aspect = "sanity"
    better = "lower"
    by_size = True

    def __post_init__(self) -> None:
        """Refuse settings that are none."""
        check_how(self.how)

    def of(self, case: Case) -> float | None:
        """One map of the other detector's network. Raises `WeightsError` where there is none."""
        if not self.detector:
            return None
        return _alike(case, [_network(self.detector)], how=self.how, signed=self.signed)


@dataclass(frozen=True)
class InputOnly(Measure):
    """How alike the map's sizes are to what the clip alone shows: its `edges` (of the grey picture) or its `motion`.

    A map may rightly lie on what moves; a value near 1 says that no network was needed to draw it.
    """

    shown: Literal["edges", "motion"] = "edges"
    how: How = "spearman"
    aspect = "sanity"
    better = None

    def __post_init__(self) -> None:
        """Refuse settings that are none."""
        check_how(self.how)
        if self.shown not in ("edges", "motion"):
            raise SpecError(f"shown must be 'edges' or 'motion'; got {self.shown!r}.")

    def of(self, case: Case) -> float | None:
        """The model is not asked."""
        shown = edges(case) if self.shown == "edges" else motion(case)
        return similarity(case.values, shown, how=self.how, signed=False)


def edges(case: Case) -> np.ndarray:
    """The size of the grey picture's gradient in each frame, by central differences, (t, h, w)."""
    grey = case.x[0].detach().float().mean(dim=0).cpu().numpy()  # (t, h, w)
    steps = [np.gradient(grey, axis=axis) if grey.shape[axis] > 1 else np.zeros_like(grey) for axis in (1, 2)]
    return np.hypot(*steps)


def motion(case: Case) -> np.ndarray:
    """The control `frame-difference`, (t, h, w)."""
    return FrameDifference().explain_clip(case.model, case.x, case.score).values[0].cpu().numpy()


def insensitive(case: Case) -> str | None:
    """Why the map says nothing of the network, in plain words; None where it changes with the weights.

    The sizes of the map are compared with those of the same method on a copy that keeps no weight; a rank correlation
    of `SAME` or more, or of -`SAME` or less, is too much: a map turned upside down depends on the weights as little.
    None also where that cannot be asked: a constant map, a model without parameters.
    """
    alike = CascadingRandomisation(stages=1)(case)
    if alike is None or abs(alike) < SAME:
        return None
    changes = "hardly changes" if alike > 0 else "is only turned upside down"
    return (
        f"this map {changes} when the network's weights are random (rank correlation {alike:.2f}): it shows the "
        "picture, not the network"
    )


def class_agnostic(case: Case, other: ScoreFunction) -> str | None:
    """Why the map does not say why this class, in plain words; None where `other`, another class's score, has another.

    Signed maps are compared; a rank correlation of `SAME` or more is too much. One of -1 is not: of two classes, what
    speaks for one speaks against the other. None also for a constant map.
    """
    alike = similarity(case.values, replace(case, score=other).again())
    if alike is None or alike < SAME:
        return None
    return (
        f"this map is nearly the same when another class is asked about (rank correlation {alike:.2f}): it does not "
        "say why this one"
    )


def _alike(case: Case, models: Iterable[nn.Module], *, how: How, signed: bool) -> float | None:
    """Mean similarity of the case's map to the maps of other models; None where there is none to compare."""
    if np.ptp(case.values) == 0:
        return None
    found = [similarity(case.values, case.again(model=model), how=how, signed=signed) for model in models]
    held = [value for value in found if value is not None]
    return float(np.mean(held)) if held else None


@lru_cache(maxsize=2)
def _network(folder: str) -> nn.Module:
    network = load_detector(folder).network
    if network is None:
        raise DataError(f"label randomisation needs a detector with a network; {folder} has none.")
    return network
