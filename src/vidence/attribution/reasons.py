"""Maps of one source -> the evidence that a record keeps of an alarm: sentence, hidden score, segments, profile."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vidence.attribution.frame_maps import FrameMaps
from vidence.attribution.hiding import distinct, hidden_score
from vidence.attribution.summary import carrying, place, profile, segments
from vidence.frames.clip import Clip
from vidence.frames.source import Source
from vidence.frames.transforms import resize_map
from vidence.models.detector import Detector
from vidence.record.evidence import Evidence, HiddenScore, Segment
from vidence.record.facts import Certificate, ClipRef
from vidence.record.timecode import timecode
from vidence.spec import parse

_SAYING = {
    "counterfactual-box": "What would have to look otherwise is shown",
    "input-attention": "The model let most in",
    "residual": "The picture differs most from what was expected",
}


def evidence(
    detector: Detector,
    source: Source,
    maps: FrameMaps,
    *,
    span: tuple[float, float],
    peak: ClipRef,
    explainer: str,
    score: str,
    certificate: Certificate,
    scored: Float[np.ndarray, " s"],
    mode: str | None = None,
    counterfactual: str | None = None,
    warnings: Sequence[str] = (),
    hiding: bool = True,
) -> Evidence:
    """What one explainer says of a stretch of time (`span`, seconds). `peak` is the window that decided, `scored` are
    the times of all the source's frames, `mode` the sub-mode of an autoencoder's score, `counterfactual` what would have changed it, in words; `warnings` are added to
    the certificate's; `hiding` measures the score without the marked region. Pictures and files are added by whoever
    writes them.
    """
    times, values = maps.times, maps.values
    inside = (times >= span[0]) & (times <= span[1])
    strongest = segments(times[inside], values[inside], scored=scored)
    saying = _SAYING.get(parse(explainer).key, "The model looked most")
    return Evidence(
        explainer=explainer,
        score=score,
        sentence=_sentence(times[inside], values[inside], strongest, saying),
        certificate=replace(certificate, flags=(*certificate.flags, *warnings)),
        mode=mode,
        counterfactual=counterfactual,
        hidden_score=_hidden(detector, source, maps, peak) if hiding else None,
        segments=strongest,
        profile_times=tuple(times[inside].tolist()),
        profile=tuple(profile(values[inside]).tolist()),
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
