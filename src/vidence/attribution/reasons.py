"""Maps of one source -> the evidence that a record keeps of an alarm: sentence, hidden score, segments, profile."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from vidence.attribution.frame_maps import FrameMaps
from vidence.attribution.hiding import distinct, hidden_score
from vidence.attribution.own_evidence import OWN, Reading
from vidence.attribution.summary import carrying, place, profile, segments
from vidence.attribution.track_record import cautions
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.frames.transforms import resize_map
from vidence.models.detector import Detector
from vidence.record.evidence import Evidence, HiddenScore, Segment
from vidence.record.facts import Certificate, ClipRef
from vidence.record.timecode import timecode
from vidence.record.trust import Trust
from vidence.scoring.cases import Case
from vidence.spec import parse

_SAYING = {
    "counterfactual-box": "What would have to look otherwise is shown",
    "input-attention": "The model let most in",
    "residual": "The picture differs most from what was expected",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One explainer's maps of one source: averaged per frame; and by a window's first sample its certificate, its short
    check where one was made, what "absent" meant, what would have changed its score, from explainers that say so, and
    what a detector's own evidence says.
    """

    maps: FrameMaps = field(default_factory=FrameMaps)
    certificates: dict[int, Certificate] = field(default_factory=dict)
    trusts: dict[int, Trust] = field(default_factory=dict)
    references: dict[int, str | None] = field(default_factory=dict)
    counterfactuals: dict[int, str] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)

    def reading(self, case: Case) -> Reading | None:
        """What a detector's own evidence says of a case's highest window; None of what an explainer explained."""
        told = case.among(self.readings)
        return self.readings[told.peak.ref.first] if told.windows else None

    def evidence(
        self,
        detector: Detector,
        source: Source,
        case: Case,
        *,
        explainer: str,
        score: str,
        scored: Float[np.ndarray, " s"],
        mode: str | None = None,
    ) -> Evidence | None:
        """What the maps say of a case in numbers and words; None where none of its windows was explained.

        `explainer` and `score` are spec lines, `scored` the times of all the source's frames, `mode` is the sub-mode of
        an autoencoder's score. Pictures and files are added by whoever writes them.
        """
        case = case.among(self.certificates)
        if not case.windows:
            return None
        peak, own, key = case.peak.ref, explainer == OWN, parse(explainer).key
        inside = case.holds(self.maps.times)
        times, values = self.maps.times[inside], self.maps.values[inside]
        strongest, reading = segments(times, values, scored=scored), self.reading(case)
        if reading is None:
            sentence = _sentence(times, values, strongest, _SAYING.get(key, "The model looked most"))
        else:
            sentence = reading.quiet if case.event is None else reading.alarm
        certificate, warnings = self.certificates[peak.first], () if own else cautions(key)
        return Evidence(
            explainer=explainer,
            score=score,
            sentence=sentence,
            certificate=replace(certificate, flags=(*certificate.flags, *warnings)),
            reference=self.references.get(peak.first),
            mode=mode,
            counterfactual=self.counterfactuals.get(peak.first),
            # what appears and vanishes moves: hiding would be an anomaly of its own evidence
            hidden_score=None if own else _hidden(detector, source, self.maps, peak),
            segments=strongest,
            profile_times=tuple(times.tolist()),
            profile=tuple(profile(values).tolist()),
            trust=self.trusts.get(peak.first),
        )


def _hidden(detector: Detector, source: Source, maps: FrameMaps, peak: ClipRef) -> HiddenScore | None:
    """Measured on the window that decided, after those that its score depends on, in the source's own pixels; a frame
    without a map has nothing to hide.
    """
    clips = _windows_until(detector, source, peak.first)
    held = dict(zip(maps.times.tolist(), maps.values, strict=True))
    empty = np.zeros_like(maps.values[0])
    values = np.stack([held.get(time, empty) for time in distinct(clips)])
    size = clips[-1].pixels.shape[1:3]
    affine = detector.fit.to_source((size[0], size[1]), (values.shape[1], values.shape[2]))
    return hidden_score(detector, clips, carrying(resize_map(values, affine, (size[0], size[1]))))


def _windows_until(detector: Detector, source: Source, first: int) -> list[Clip]:
    """The window that starts at sample `first`, after those that its live scores depend on."""
    held: deque[Clip] = deque(maxlen=1 + getattr(detector, "memory", 0))
    for clip in detector.windows.cut(source):
        held.append(clip)
        if clip.ref.first == first:
            return list(held)
    return [detector.windows.at(source, first)]  # which says that there is no such window


def _sentence(
    times: Float[np.ndarray, " t"], values: Float[np.ndarray, "t h w"], found: Sequence[Segment], saying: str
) -> str:
    """When and where the evidence is strongest, in one sentence, of the strongest of its segments."""
    if not found:
        return "The map shows no evidence towards this score."
    strongest = found[0]
    weights = np.where((times >= strongest.first_s) & (times <= strongest.last_s), profile(values), -np.inf)
    top = timecode(float(times[int(weights.argmax())]))
    span = f"at {timecode(strongest.first_s)}"
    if strongest.last_s > strongest.first_s:
        span = f"from {timecode(strongest.first_s)} to {timecode(strongest.last_s)}, most at {top}"
    where = "" if strongest.box is None else f", {place(strongest.box)}"
    return f"{saying} {span}{where}."
