"""The whole way on one page: source -> clips -> score -> why -> picture -> record. Read this file first.

`explain` is the library's front door, for any model. The commands use the rest: a source is judged
(`scoring.run.judge`), `Reasons` explains its windows, `write_down` draws what was explained and makes a record of each
case (`scoring.cases`): every alarm, or what there is without one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec
from vidence.attribution import COMBINE, EXPLAINERS, default_for
from vidence.attribution.entrance import check_layers, no_clip
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.hooks import on_device, uncompiled
from vidence.attribution.own_evidence import OWN, Reading, check_own, explains_itself
from vidence.attribution.reasons import Reason
from vidence.attribution.reference import absent
from vidence.beside import beside_files
from vidence.errors import ExplainError, SpecError
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.models.detector import Detector, recommended_line
from vidence.models.evaluating import evaluating
from vidence.models.reconstruction import ReconstructionNetwork
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
from vidence.scoring.scores import SCORES, Logit, ScoreFunction, pinned

# what is measured of the maps of one window: detector, clip, score, (explainer, map) by line -> short check by line
ShortCheck: TypeAlias = Callable[
    [Detector, Clip, ScoreFunction, Mapping[str, tuple[Explainer, Attributions]]], Mapping[str, Trust]
]


def explain(
    model: nn.Module | Detector,
    clip: Clip | Float[Tensor, "n c t h w"],
    *,
    explainer: Explainer | str | None = None,
    score: ScoreFunction | str | int | None = None,
    certify: bool = True,
) -> Attributions:
    """Explain what a model says of a clip.

    `model` is any video model of yours (wrap it in `Adapted` if it speaks another axis order or value range) or a
    detector; `clip` a `Clip`, or x (n, c, t, h, w) in [0, 1]. `explainer` and `score` are objects or spec lines; a
    score that is a class's index means its logit. By default it is what `vidence recommend` found for the detector,
    else `when-where` for recurrent models, `grad-cam` for others, of the predicted class's logit; `residual` of the
    squared error (a detector's own score) where the network reconstructs. `certify` hides every frame once, to measure
    how the map agrees with that. Of a detector, an explainer is told what only that knows, such as its threshold.
    Raises `ExplainError` where the model has nothing to look into, or the pair makes no sense.
    """
    if not isinstance(clip, Tensor | Clip):
        raise no_clip(clip)
    if isinstance(model, nn.Module):
        model = uncompiled(model)
    if isinstance(clip, Clip) and explains_itself(model):
        check_own(model, explainer, score)
        return cast(Any, model).evidence(clip)
    network = _network(model)
    x = clip if isinstance(clip, Tensor) else _input(model, clip)
    asked = score_of(score, model)
    chosen = explainer_of(explainer if explainer is not None else _default(model, asked, given=score))
    if isinstance(model, nn.Module):
        return chosen.attribute(network, x, asked, certify=certify)
    chosen = chosen.informed(model, asked)
    with model.arithmetic(x):
        return chosen.attribute(network, x, asked, certify=certify)


def default_line(detector: Detector, score: str | None = None) -> str:
    """The spec line of the explainer that a detector gets when none is asked for, of `score` or of its own."""
    if explains_itself(detector):
        return OWN
    chosen = _default(detector, score_of(score, detector), given=score)
    return chosen if isinstance(chosen, str) else spec.line(chosen, EXPLAINERS)


def _default(
    model: nn.Module | Detector, score: ScoreFunction, *, given: ScoreFunction | str | int | None
) -> Explainer | str:
    """The detector's recommended explainer where it was found for this score, else that of the network's kind."""
    line = None
    if not isinstance(model, nn.Module) and (given is None or isinstance(given, str)):
        line = recommended_line(model, given)
    return line or default_for(_network(model), score)


def default_score(model: nn.Module | Detector) -> str:
    """The line of what is explained when nothing is asked for: what a detector says its alarms are made of, the squared
    error of a network that reconstructs, a classifier's logit of the predicted class.
    """
    network = model if isinstance(model, nn.Module) else getattr(model, "network", None)
    reconstructs = isinstance(network, ReconstructionNetwork)
    return getattr(model, "score_line", "squared-error" if reconstructs else "logit")


def _network(model: nn.Module | Detector) -> nn.Module:
    network = model if isinstance(model, nn.Module) else getattr(model, "network", None)
    if network is None:
        raise ExplainError(
            f"explain looks into a torch.nn.Module, or a detector's network; {type(model).__name__} has none. Call "
            "a function in the forward of a module, open a folder with load_detector, or use a detector's own evidence."
        )
    return network


def _input(model: nn.Module | Detector, clip: Clip) -> Float[Tensor, "1 c t h w"]:
    if isinstance(model, nn.Module):
        return rearrange(torch.from_numpy(clip.pixels), "t h w c -> 1 c t h w").float() / 255
    return model.prepare(clip)


def explainer_of(given: Explainer | str) -> Explainer:
    """An explainer from its line, or itself. Raises `SpecError` for anything else."""
    if isinstance(given, str):
        given = spec.build(given, {**EXPLAINERS, **COMBINE})
    if not isinstance(given, Explainer):
        said = f"the class {given.__name__}; write {given.__name__}()" if isinstance(given, type) else repr(given)
        raise SpecError(f"an explainer is an object with its settings, or a line such as 'grad-cam'; got {said}.")
    return given


def score_of(given: ScoreFunction | str | int | None, model: Any) -> ScoreFunction:
    """A score from its line (class names are the model's) or of a class's index, by default the model's own."""
    asked = default_score(model) if given is None else _of_index(given)
    score = _scaled(spec.build(asked, SCORES) if isinstance(asked, str) else asked, model)
    classes = getattr(model, "classes", None)
    named = getattr(score, "named", None)
    return named(classes) if classes and named else score


def _of_index(given: Any) -> Any:
    """The logit of a class's index, also of NumPy's and torch's `logits.argmax()`; anything else as it is."""
    if isinstance(given, Tensor) and given.ndim == 0 and not given.is_floating_point():
        given = given.item()
    if isinstance(given, Integral) and not isinstance(given, bool):
        given = int(given)
    return Logit(given) if isinstance(given, int) else given


def _scaled(score: ScoreFunction, model: Any) -> ScoreFunction:
    """A score on the detector's own scale, where it has to have one."""
    calibrated = getattr(score, "calibrated", None)
    return calibrated(getattr(model, "facts", {}).get("calibration")) if calibrated else score


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
        asked = _scaled(spec.build(score or default_score(detector), SCORES), detector)
        self.score_line = spec.line(asked, SCORES)  # with the scale and the digests that belong to it
        self._score = score_of(asked, detector)
        for line in explainers:
            self._explainers[line] = explainer = explainer_of(line)
            check_layers(explainer, _network(detector))  # before any clip is read
        if explainers:
            self._check_pairs(self._score)

    def _check_pairs(self, score: ScoreFunction) -> None:
        """Raise where the network's answer to an empty clip has no such score, or an explainer refuses the two."""
        network, size = _network(self._detector), self._detector.fit.size
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
