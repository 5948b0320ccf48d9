"""Explainers beside the controls on clips of known truth: every map is drawn once and measured by every measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec
from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import DataError, ExplainError, VidenceError
from vidence.evaluate.controls import controls
from vidence.evaluate.drawn_maps import DrawnMaps
from vidence.evaluate.explained_clips import KnownClip
from vidence.evaluate.localisation import Map
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.measured_rows import FAILED, Measured, MeasuredRows
from vidence.evaluate.pooled_maps import PooledMaps
from vidence.models.detector import Detector
from vidence.models.evaluating import evaluating
from vidence.scoring.score import ScoreFunction, pinned
from vidence.scoring.scores import SCORES, Logit, logits_of


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared, by lines. `score` is (line, score); None: the logit of each clip's own class, right or wrong,
    and in clips where nothing happens that of the strongest class that is not normal. `seed` is of noise and draws.
    """

    detector: Detector
    explainers: Mapping[str, Explainer]
    measures: Mapping[str, Measure]
    score: tuple[str, ScoreFunction] | None
    seed: int = 0

    @property
    def network(self) -> nn.Module:
        """The network that is explained. Raises `ExplainError` for a detector without one."""
        if self.detector.network is None:
            raise ExplainError(
                f"explainers are compared on a detector's network; {spec.parse(self.detector.spec).key!r} has none. "
                "Its own evidence is its explanation."
            )
        return self.detector.network

    def target(self, known: KnownClip) -> tuple[str, ScoreFunction]:
        """The line and the score of what is explained of a clip; of a classifier, with its class held.

        Raises `DataError` for a label that the classifier does not know.
        """
        if not self.detector.classes:
            if self.score is None:
                raise DataError("a detector without classes has no class to explain; name a score.")
            return self.score
        with evaluating(self.network):
            output = self.network(known.x)
        if self.score is not None:
            return self.score[0], pinned(self.score[1], output, known.x)
        classes, normal = self.detector.classes, self.detector.normal
        named = Logit(known.label if known.event else strongest_anomalous(output, classes, normal))
        return spec.line(named, SCORES), named.named(classes)


def compare(
    asked: Comparison,
    clips: Iterable[KnownClip],
    rows: MeasuredRows,
    maps: PooledMaps,
    *,
    on_map: Callable[[KnownClip, str, Map], None] = lambda known, line, values: None,
) -> dict[tuple[str, int], str]:
    """Measure what `rows` do not hold yet, clip by clip, and keep each map, pooled, in `maps`.

    Returns the line of what is explained of each clip, by its window. An explainer that refuses, or fails in whatever
    way, leaves rows with the reason, and the others go on; only a lack of memory stops all. `on_map` is told every map
    that is drawn, at the size of x.
    """
    targets = {}
    for known in clips:
        work = _Clip(asked, known, rows, maps)
        made = controls(work.score, seed=work.seed)
        for line, explainer in {**asked.explainers, **made}.items():
            work.measure(line, explainer, control=line in made, on_map=on_map)
        targets[known.clip.ref.digest, known.clip.ref.first] = work.line
    return targets


class _Clip:
    """One clip and what is explained of it."""

    def __init__(self, asked: Comparison, known: KnownClip, rows: MeasuredRows, maps: PooledMaps) -> None:
        self._asked, self._known, self._rows, self._maps = asked, known, rows, maps
        ref = known.clip.ref
        self.line, self.score = asked.target(known)
        self.seed = clip_seed(asked.seed, ref.digest, ref.first)
        self._shared: dict[Any, Any] = {}
        self._drawn = DrawnMaps(asked.network, known.x, self.score)

    def measure(
        self, line: str, explainer: Explainer, *, control: bool, on_map: Callable[[KnownClip, str, Map], None]
    ) -> None:
        """All of one explainer's rows that are missing; nothing where none is."""
        blank = {name: self._blank(line, name, each, control) for name, each in self._asked.measures.items()}
        missing = {name: row for name, row in blank.items() if row.key not in self._rows}
        if not missing and self._maps.has(self._known.clip.ref, line, self.line):
            return
        try:
            case, facts = self._explained(explainer)
        except MemoryError:
            raise
        except Exception as error:
            self._rows.add([replace(row, refused=reason(error)) for row in missing.values()])
            self._maps.keep(self._known.clip.ref, line, self.line, None)
            return
        self._rows.add([replace(row, **facts, **self._measured(case, name)) for name, row in missing.items()])
        self._maps.keep(self._known.clip.ref, line, self.line, case.values)
        on_map(self._known, line, case.values)

    def _explained(self, explainer: Explainer) -> tuple[Case, dict[str, Any]]:
        """The map, ready to be measured, and what its rows say of it."""
        known, network = self._known, self._asked.network
        explainer = explainer.informed(self._asked.detector, self.score)
        with self._asked.detector.arithmetic(known.x):
            found, seconds = self._drawn.attributed(explainer)
        values = at_size_of(known.x, found.values)
        case = Case(
            network, known.x, self.score, explainer, values, mask=known.mask, seed=self.seed, shared=self._shared
        )
        return case, self._facts(found, explainer, seconds)

    def _measured(self, case: Case, name: str) -> dict[str, Any]:
        try:
            with self._asked.detector.arithmetic(case.x):
                return {"value": self._asked.measures[name](case)}
        except MemoryError:
            raise
        except Exception as error:
            return {"refused": reason(error)}

    def _facts(self, found: Attributions, explainer: Explainer, seconds: float) -> dict[str, Any]:
        price = explainer.price(*self._known.x.shape[2:])
        return {
            "layer": found.certificate.layer or "",
            "gap": found.certificate.gap,
            "seconds": seconds,
            "forwards": price.forwards,
            "gradients": price.gradients,
        }

    def _blank(self, line: str, name: str, measure: Measure, control: bool) -> Measured:
        known = self._known
        return Measured(
            clip=known.clip.ref.digest,
            first=known.clip.ref.first,
            source=known.clip.ref.source.rpartition("/")[2],
            label=known.label,
            event=known.event,
            known=known.known,
            explainer=line,
            control=control,
            measure=name,
            settings=json.dumps(measure.settings, default=str),
            score=self.line,
            seed=self.seed,
            weights=self._asked.detector.weights_digest,
        )


def reason(error: Exception) -> str:
    """Why there is no number: what an error of ours says, and of any other that it is a failure, and of which kind."""
    return str(error) if isinstance(error, VidenceError) else f"{FAILED} {type(error).__name__}: {error}"


def clip_seed(seed: int, digest: str, first: int) -> int:
    """The seed of all draws about one clip, whichever other clips are in the sample."""
    return int.from_bytes(hashlib.sha256(f"{seed} {digest} {first}".encode()).digest()[:4], "big")


def at_size_of(x: Float[Tensor, "1 c t h w"], values: Float[Tensor, "1 t i j"]) -> Map:
    """A map on its own grid, brought to the clip's height and width."""
    sized = F.interpolate(values.float(), size=x.shape[3:], mode="bilinear", align_corners=False)
    return sized[0].detach().cpu().numpy()


def strongest_anomalous(output: Any, classes: Sequence[str], normal: Sequence[str]) -> str:
    """The class with the highest logit of one clip among those that are not normal."""
    logits = logits_of(output)[0]
    return max((name for name in classes if name not in normal), key=lambda name: float(logits[classes.index(name)]))


def not_refused(asked: Comparison, known: KnownClip) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Of the explainers, those that do not refuse this detector, and why the others do: by what can be said before
    anything is computed.
    """
    _, score = asked.target(known)
    said = {line: each.refusal(asked.network, known.x, score) for line, each in asked.explainers.items()}
    refused = {line: reason for line, reason in said.items() if reason is not None}
    return {line: each for line, each in asked.explainers.items() if line not in refused}, refused
