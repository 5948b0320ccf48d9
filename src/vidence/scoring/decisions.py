"""From a judgement to decision records: one per alarm, or one for a source without any, so that both can be audited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vidence.errors import SpecError
from vidence.frames.source import Source
from vidence.models.detector import Detector, weighed
from vidence.record.conditions import ModelFacts, Occasion, Outcome, Reading
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence
from vidence.record.facts import Detection
from vidence.record.provenance import digest
from vidence.scoring.cases import Case
from vidence.scoring.run import Judgement, own_rule
from vidence.scoring.scores import SCORES, Anomaly
from vidence.spec import line, parse
from vidence.version import __version__, commit

NO_THRESHOLD: dict[str, Any] = {"rule": "fixed", "origin": "set by the user", "warnings": []}


def threshold_of(detector: Detector, given: float | None) -> float:
    """The threshold in force: the user's, or the detector's own. Raises `SpecError` where there is neither."""
    if given is not None:
        if not math.isfinite(given):
            raise SpecError(f"a threshold must be a finite number; got {given}. Every score is compared with it.")
        return given
    if detector.threshold is None:
        raise SpecError("this detector was saved without a threshold. Pass one with --threshold, or train again.")
    return float(detector.threshold["value"])


def line_of_alarms(detector: Detector) -> str:
    """The line of what the detector's alarms are made from."""
    return line(Anomaly(detector.normal), SCORES) if detector.normal else getattr(detector, "score_line", "score")


def record(
    detector: Detector,
    source: Source,
    judged: Judgement,
    case: Case,
    *,
    evidence: tuple[Evidence, ...] = (),
    files: Mapping[str, str] | None = None,
) -> DecisionRecord:
    """The record of one case of a judgement."""
    known = NO_THRESHOLD | own_rule(detector, judged.threshold)
    return DecisionRecord(
        detection=Detection(
            case.peak.ref,
            detector.spec,
            detector.weights_digest,
            line_of_alarms(detector),
            case.value,
            judged.threshold,
        ),
        occasion=Occasion(clock=source.clock),
        reading=_reading(detector, source),
        model=_model(detector, known.get("data")),
        outcome=_outcome(detector, judged, case, known),
        events=() if case.event is None else (case.event,),
        evidence=evidence,
        files=files or {},
    )


def _reading(detector: Detector, source: Source) -> Reading:
    windows = detector.windows
    return Reading(
        length=windows.length,
        stride=windows.stride,
        rate=windows.rate,
        partial=windows.partial,
        fit=str(detector.fit),
        size=source.size,
        fps=source.fps,
        dropped=source.dropped,
        notes=tuple(source.notes),
    )


def _arithmetic(detector: Detector) -> dict[str, str]:
    """On which kind of device, and in which number format, the weights compute; without any the CPU, in float32.

    A detector that may autocast says the `precision` itself.
    """
    held = weighed(detector)
    weight = None if held is None else next(held.parameters(), None)
    device, precision = (
        ("cpu", "float32") if weight is None else (weight.device.type, str(weight.dtype)[len("torch.") :])
    )
    return {"device": device, "precision": getattr(detector, "precision", precision)}


def _model(detector: Detector, calibration: str | None) -> ModelFacts:
    facts = detector.facts
    return ModelFacts(
        name=parse(detector.spec).key,
        config=digest(detector.spec),
        code=f"vidence {__version__}",
        **_arithmetic(detector),
        classes=detector.classes,
        normal=detector.normal,
        training=facts.get("training_data"),
        commit=commit(),
        calibration=calibration,
        metrics=_flat(facts.get("metrics", {})),
        libraries={name: each.split("+")[0] for name, each in facts.get("versions", {}).items()},
        seed=facts.get("seed"),
    )


def _flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """`{"val": {"auc": .9}}` as `{"val auc": .9}`; figures that could not be computed are left out."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {inner}": each for inner, each in _flat(value).items()}
        elif isinstance(value, int | float):
            flat[name] = float(value)
    return flat


def _normalisation(detector: Detector) -> dict[str, float] | None:
    """What turned raw values into the score: it is 0 at `low` and 1 at `high`."""
    held = detector.facts.get("calibration")
    return None if held is None else {name: float(held[name]) for name in ("low", "high")}


def _outcome(detector: Detector, judged: Judgement, case: Case, known: Mapping[str, Any]) -> Outcome:
    shown = case.around(judged.curve.times)
    probabilities = case.peak.probabilities
    promised = None if known.get("low") is None else (float(known["low"]), float(known["high"]))
    return Outcome(
        rule=known["rule"],
        origin=known["origin"],
        times=tuple(judged.curve.times[shown].tolist()),
        values=tuple(judged.curve.values[shown].tolist()),
        false_alarms=promised,
        warnings=(*known.get("warnings", ()), *case.doubts),
        probabilities=dict(zip(detector.classes, probabilities, strict=True)) if probabilities else {},
        bounds=(0.0, 1.0) if probabilities else None,
        normalisation=_normalisation(detector),
        smoothing=detector.smoothing,
    )
