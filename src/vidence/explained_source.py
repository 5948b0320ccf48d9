"""One source explained: its windows by every explainer asked for, then the pictures and a record of each case."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float

from vidence import spec
from vidence.attribution.entrance import check_layers
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.hooks import on_device
from vidence.attribution.own_evidence import Reading, check_own, explains_itself
from vidence.attribution.reasons import Reason
from vidence.attribution.reference import absent
from vidence.beside import beside_files
from vidence.errors import ExplainError
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.models.evaluating import evaluating
from vidence.pipeline import default_score, explain, explainer_of, network_of, scaled, score_of
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence
from vidence.record.trust import Trust
from vidence.render.annotate import Page
from vidence.render.decision_files import DecisionFiles, folder_of, kept
from vidence.render.evidence_files import PlacedMaps, draw
from vidence.render.nearest_examples import examples_of, write_examples
from vidence.scoring.cases import Case, cases
from vidence.scoring.decisions import record
from vidence.scoring.run import Judgement, ScoredWindow
from vidence.scoring.scores import SCORES, ScoreFunction, pinned

# what is measured of the maps of one window: detector, clip, score, (explainer, map) by line -> short check by line
ShortCheck: TypeAlias = Callable[
    [Detector, Clip, ScoreFunction, Mapping[str, tuple[Explainer, Attributions]]], Mapping[str, Trust]
]


class Reasons:
    """Explains windows of one source as they come, with every explainer asked for.

    `explainers` are spec lines, `score` the line of what is explained, by default the detector's own; `check` measures
    the maps of windows that are certified.
    """

    def __init__(
        self,
        detector: Detector,
        explainers: Sequence[str],
        score: str | None = None,
        *,
        check: ShortCheck | None = None,
    ) -> None:
        self._detector, self._check = detector, check
        self.by_line = {line: Reason() for line in explainers}
        self._explainers: dict[str, Explainer | str] = {line: line for line in explainers}
        self._score: ScoreFunction | None = None
        self.score_line = default_score(detector)
        if explains_itself(detector):
            for line in explainers:
                check_own(detector, line, score)
            return
        asked = scaled(spec.build(score or default_score(detector), SCORES), detector)
        self.score_line = spec.line(asked, SCORES)  # with the scale and the digests that belong to it
        self._score = score_of(asked, detector)
        for line in explainers:
            self._explainers[line] = explainer = explainer_of(line)
            check_layers(explainer, network_of(detector))  # before any clip is read
        if explainers:
            self._check_pairs(self._score)

    def _check_pairs(self, score: ScoreFunction) -> None:
        """Raise where the network's answer to an empty clip has no such score, or an explainer refuses the two."""
        network, size = network_of(self._detector), self._detector.fit.size
        x = on_device(network, torch.zeros(1, 3, self._detector.windows.length, size, size))
        with self._detector.arithmetic(x), evaluating(network):
            output = network(x)
            pinned(score, output, x)(output, x)
        for explainer in self._explainers.values():
            refused = cast(Explainer, explainer).informed(self._detector, score).refusal(network, x, score)
            if refused:
                raise ExplainError(refused)

    def __len__(self) -> int:
        """How many windows were explained."""
        return max((len(reason.certificates) for reason in self.by_line.values()), default=0)

    def explained(self, window: ScoredWindow) -> bool:
        """Whether a window was explained."""
        return any(window.ref.first in reason.certificates for reason in self.by_line.values())

    def add(self, clip: Clip, *, certify: bool = True) -> None:
        """Explain one window."""
        told: dict[str, tuple[Explainer, Attributions]] = {}
        for line, explainer in self._explainers.items():
            found = explain(self._detector, clip, explainer=explainer, score=self._score, certify=certify)
            reason = self.by_line[line]
            reason.certificates[clip.ref.first] = found.certificate
            if not isinstance(explainer, Explainer):
                reason.maps.add(found.extra["times"], found.values[0].numpy())
                reason.readings[clip.ref.first] = Reading.of(found.extra)
                continue
            told[line] = (explainer, found)
            reason.references[clip.ref.first] = absent(explainer, found.extra)
            frames = slice(*found.extra.get("scored", (None,)))  # a residual is silent of frames without a score
            reason.maps.add(clip.times[frames], found.values[0, frames].cpu().numpy())
            if "sentence" in found.extra:
                reason.counterfactuals[clip.ref.first] = found.extra["sentence"]
        if certify and self._check is not None and self._score is not None:
            for line, trust in self._check(self._detector, clip, self._score, told).items():
                self.by_line[line].trusts[clip.ref.first] = trust

    def evidence(self, source: Source, case: Case, scored: Float[np.ndarray, " s"]) -> list[Evidence]:
        """What each explainer says of a case of which windows were explained; `scored` are the times of all the
        source's frames.
        """
        mode = getattr(self._score, "mode", None)
        told = (
            reason.evidence(
                self._detector, source, case, explainer=line, score=self.score_line, scored=scored, mode=mode
            )
            for line, reason in self.by_line.items()
        )
        return [each for each in told if each is not None]

    def add_all(
        self,
        source: Source,
        chosen: Iterable[ScoredWindow],
        *,
        certified: Container[int] = (),
        step: Callable[[], None] = lambda: None,
    ) -> None:
        """Decode the source once more and explain the chosen windows; `step` is called after each. The certificates of
        those that begin at a frame of `certified` say how the map agrees with hiding frames, at a pass a frame; the
        short check, where there is one, is made of them too.
        """
        wanted = {window.ref.first for window in chosen}
        for clip in self._detector.windows.cut(source) if wanted else ():
            if clip.ref.first in wanted:
                self.add(clip, certify=clip.ref.first in certified)
                step()
                wanted.remove(clip.ref.first)
            if not wanted:
                break


def write_down(
    detector: Detector, source: Source, judged: Judgement, reasons: Reasons, *, out: Path
) -> list[DecisionRecord]:
    """Draw the evidence of one source and make its records: one per alarm, or one where there is none, and one for
    windows that were explained besides.

    Records name the files with their digests; they lie below `out`, where no other record's files replace them.
    """
    explained = {window.ref.first for window in judged.windows if reasons.explained(window)}
    recorded = cases(judged, explained)
    shown = [case.among(explained) for case in recorded]
    told = [reasons.evidence(source, case, judged.curve.times) for case in shown]
    files = _drawn(detector, source, judged, reasons, shown, out) if explained else DecisionFiles()
    return [
        record(detector, source, judged, case, evidence=files.shown(case, each), files=files.digests)
        for case, each in zip(recorded, told, strict=True)
    ]


def _drawn(
    detector: Detector, source: Source, judged: Judgement, reasons: Reasons, shown: Sequence[Case], out: Path
) -> DecisionFiles:
    """Draw what was explained aside, then give it its place below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    title, times, scores = Path(source.name).name, judged.curve.times.tolist(), judged.curve.values.tolist()
    with TemporaryDirectory(dir=out, prefix=".") as name:
        aside = Path(name)
        for line, reason in reasons.by_line.items():
            values = reason.maps.values
            affine = detector.fit.to_source(source.size, values.shape[1:])
            placed = PlacedMaps(reason.maps.times, values, affine, source.size, tuple(sorted(reason.certificates)))
            page = Page(
                title, times, scores, placed.peak, judged.threshold, judged.events, signed=placed.signed, evidence=line
            )
            draw(aside / folder_of(line), source, placed, page, shown)
            for case in shown:
                reading = reason.reading(case)
                if reading is not None and reading.examples is not None:
                    write_examples(aside / folder_of(line) / examples_of(case), reading.examples)
        beside_files(detector, source, judged, shown, aside)
        return kept(aside, out, source)
