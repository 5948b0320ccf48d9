"""The whole way on one page: source -> clips -> score -> why -> picture -> record. Read this file first.

`explain` is the library's front door, for any model. The commands use the rest: a source is judged
(`scoring.run.judge`), `Reasons` explains its windows, `write_down` draws the pictures and makes a record of each alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
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
from vidence.attribution.own_evidence import OWN, Reading, check_own, explains_itself
from vidence.attribution.reasons import Reason
from vidence.beside import beside_files, beside_of
from vidence.errors import ExplainError, SpecError
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.models.detector import Detector, recommended_line
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence, Picture
from vidence.record.provenance import digest, file_digest
from vidence.record.trust import Trust
from vidence.render.annotate import Page
from vidence.render.evidence_files import CONTOURS, MAPS, MOVIE, PlacedMaps, draw, sheet_of
from vidence.render.nearest_examples import CAPTION, write_examples
from vidence.scoring.cases import Case, cases
from vidence.scoring.decisions import record
from vidence.scoring.run import Judgement, ScoredWindow
from vidence.scoring.scores import SCORES, ScoreFunction

# what is measured of the maps of one window: detector, clip, score, (explainer, map) by line -> short check by line
ShortCheck: TypeAlias = Callable[
    [Detector, Clip, ScoreFunction, Mapping[str, tuple[Explainer, Attributions]]], Mapping[str, Trust]
]
_CAPTIONS = {
    "counterfactual-box": "the box that would have to look otherwise, coloured and outlined",
    OWN: "where it moved as it never does, coloured and outlined",
    "residual": "where the picture differs from what was expected, coloured and outlined",
}


def explain(
    model: nn.Module | Detector,
    clip: Clip | Float[Tensor, "n c t h w"],
    *,
    explainer: Explainer | str | None = None,
    score: ScoreFunction | str | None = None,
    certify: bool = True,
) -> Attributions:
    """Explain what a model says of a clip.

    `model` is any video model of yours (wrap it in `Adapted` if it speaks another axis order or value range) or a
    detector; `clip` a `Clip`, or x (n, c, t, h, w) in [0, 1]. `explainer` and `score` are objects or spec lines; by
    default what `vidence recommend` found for the detector, else `when-where` for recurrent models, `grad-cam` for
    others, of the predicted class's logit; `residual` of the squared error (a detector's own score) where the network
    reconstructs. `certify` hides every frame once, to measure how the map agrees with that. Of a detector, an explainer
    is told what only that knows, such as its threshold. Raises `ExplainError` where the model has nothing to look into,
    or the pair makes no sense.
    """
    if not isinstance(clip, Tensor | Clip):
        raise no_clip(clip)
    if isinstance(clip, Clip) and explains_itself(model):
        check_own(model, explainer, score)
        return cast(Any, model).evidence(clip)
    network = _network(model)
    x = clip if isinstance(clip, Tensor) else _input(model, clip)
    asked = score_of(score, model)
    chosen = explainer_of(explainer if explainer is not None else _default(model, asked, given=score))
    if not isinstance(model, nn.Module):
        chosen = chosen.informed(model, asked)
    with getattr(model, "arithmetic", nullcontext)(x):
        return chosen.attribute(network, x, asked, certify=certify)


def default_line(detector: Detector, score: str | None = None) -> str:
    """The spec line of the explainer that a detector gets when none is asked for, of `score` or of its own."""
    if explains_itself(detector):
        return OWN
    chosen = _default(detector, score_of(score, detector), given=score)
    return chosen if isinstance(chosen, str) else spec.line(chosen, EXPLAINERS)


def _default(
    model: nn.Module | Detector, score: ScoreFunction, *, given: ScoreFunction | str | None
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


def score_of(given: ScoreFunction | str | None, model: Any) -> ScoreFunction:
    """A score from its line (class names are the model's), by default the model's own."""
    asked = default_score(model) if given is None else given
    score = _scaled(spec.build(asked, SCORES) if isinstance(asked, str) else asked, model)
    classes = getattr(model, "classes", None)
    named = getattr(score, "named", None)
    return named(classes) if classes and named else score


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
            frames = slice(*found.extra.get("scored", (None,)))  # a residual is silent of frames without a score
            reason.maps.add(clip.times[frames], found.values[0, frames].cpu().numpy())
            if "sentence" in found.extra:
                reason.counterfactuals[clip.ref.first] = found.extra["sentence"]
        if certify and self._check is not None and self._score is not None:
            for line, trust in self._check(self._detector, clip, self._score, told).items():
                self.by_line[line].trusts[clip.ref.first] = trust

    def evidence(self, source: Source, line: str, case: Case, scored: Float[np.ndarray, " s"]) -> Evidence | None:
        """What the explainer `line` says of one case; None where none of its windows was explained. `scored` are the
        times of all the source's frames.
        """
        mode = getattr(self._score, "mode", None)
        return self.by_line[line].evidence(
            self._detector, source, case, explainer=line, score=self.score_line, scored=scored, mode=mode
        )

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

    Files go below `out`/<source stem>-<digest8>/<explainer key>-<spec digest4>/; records name them with their digests.
    """
    explained = {window.ref.first for window in judged.windows if reasons.explained(window)}
    recorded = cases(judged, explained)
    shown = [case.among(explained) for case in recorded]
    told: list[list[Evidence]] = [[] for _ in recorded]
    files: dict[str, str] = {}
    for line, reason in reasons.by_line.items() if explained else ():
        folder = evidence_folder(out, source, line)
        placed = _placed(detector, source, reason)
        times, scores = judged.curve.times.tolist(), judged.curve.values.tolist()
        page = Page(
            Path(source.name).name, times, scores, placed.peak, judged.threshold, judged.events, signed=placed.signed
        )
        paths = draw(folder, source, placed, replace(page, evidence=line), shown)
        named = {path.name: path.relative_to(out).as_posix() for path in paths}
        files |= {named[path.name]: file_digest(path) for path in paths}
        for case, each in zip(shown, told, strict=True):
            found = reasons.evidence(source, line, case, judged.curve.times)
            if found is None:
                continue
            pictured = _with_files(found, named, sheet_of(case))
            reading = reason.reading(case)
            if reading is not None and reading.examples is not None:
                path = write_examples(folder / f"examples-{case.name}.png", reading.examples)
                name = path.relative_to(out).as_posix()
                files[name] = file_digest(path)
                pictured = replace(pictured, pictures=(*pictured.pictures, Picture(file=name, caption=CAPTION)))
            each.append(pictured)
    beside = source_folder(out, source)
    for path in beside_files(detector, source, judged, shown, beside):
        files[path.relative_to(out).as_posix()] = file_digest(path)
    told = [
        _with_beside(each, (beside / beside_of(case)).relative_to(out).as_posix(), files)
        for case, each in zip(shown, told, strict=True)
    ]
    return [
        record(detector, source, judged, case, evidence=tuple(each), files=files)
        for case, each in zip(recorded, told, strict=True)
    ]


def evidence_folder(out: Path, source: Source, line: str) -> Path:
    """Where the files of one explainer of one source go: names that other programs can rely on."""
    return source_folder(out, source) / f"{spec.parse(line).key}-{digest(line)[:4]}"


def source_folder(out: Path, source: Source) -> Path:
    """Where all files of one source go."""
    return out / f"{Path(source.name).stem}-{source.digest[:8]}"


def _placed(detector: Detector, source: Source, reason: Reason) -> PlacedMaps:
    values = reason.maps.values
    affine = detector.fit.to_source(source.size, values.shape[1:])
    return PlacedMaps(reason.maps.times, values, affine, source.size, tuple(sorted(reason.certificates)))


def _with_beside(told: list[Evidence], name: str, files: Mapping[str, str]) -> list[Evidence]:
    """The picture of what was expected goes with the first explanation of a case."""
    if not told or name not in files:
        return told
    caption = "each strongest frame beside what the network expected instead, and the difference between the two"
    first = replace(told[0], pictures=(*told[0].pictures, Picture(file=name, caption=caption)))
    return [first, *told[1:]]


def _with_files(found: Evidence, named: Mapping[str, str], sheet: str) -> Evidence:
    caption = _CAPTIONS.get(spec.parse(found.explainer).key, "where the model looked, coloured and outlined")
    return replace(
        found,
        map=named[MAPS],
        contours=named[CONTOURS],
        movie=named[MOVIE],
        pictures=(Picture(file=named[sheet], caption=caption),),
    )
