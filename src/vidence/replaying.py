"""Recompute a recorded decision from its source: the same window, the same detector, the same explainers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from vidence.errors import StoreError
from vidence.explained_source import Reasons, ShortCheck
from vidence.frames.source import Source
from vidence.models.detector import Detector
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence
from vidence.record.plain import plain
from vidence.record.provenance import file_digest
from vidence.record.trust import Trust
from vidence.scoring.cases import Case
from vidence.scoring.run import ScoredWindow, scored

WORDS = ("flags", "unmeasured")  # of a short check: reasons, which may hold rounded figures


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared, and the greatest difference: of scores and of a short check's figures as they are, infinite
    where one was not measured again; of maps as a share of their peak.
    """

    what: str
    difference: float


def replayed(
    record: DecisionRecord, detector: Detector, source: Source, *, folder: Path, check: ShortCheck | None = None
) -> list[Check]:
    """Compare score, maps and, with `check`, short checks with the record; maps are read from beside the store, in
    `folder`. The detector is set to the recorded precision, where it has one.

    Raises `StoreError` where source, weights or a map file is not the recorded one: then nothing can be compared.
    """
    clip = record.detection.clip
    _same("source", source.digest, clip.digest)
    _same("weights", detector.weights_digest, record.detection.weights)
    if detector.spec != record.detection.detector:
        raise StoreError(f"the record is of the detector {record.detection.detector}; this one is {detector.spec}.")
    if hasattr(detector, "precision"):
        detector.precision = record.model.precision
    windows = [window for _, window in scored(detector, source)]
    decided = next((window for window in windows if window.ref.first == clip.first), None)
    if decided is None:
        raise StoreError(f"the record's window starts at sample {clip.first}; the source has no such window now.")
    value = Case((decided,), next(iter(record.events), None)).value
    checks = [Check("score", abs(value - record.detection.value))]
    checks += [_map(each, record, detector, source, windows, folder) for each in record.evidence if each.map]
    return checks if check is None else checks + _trusts(record.evidence, detector, source, check)


def _same(what: str, found: str, recorded: str) -> None:
    if found != recorded:
        raise StoreError(f"the {what} must have the recorded SHA-256 {recorded[:12]}...; it has {found[:12]}....")


def _map(
    told: Evidence,
    record: DecisionRecord,
    detector: Detector,
    source: Source,
    windows: list[ScoredWindow],
    folder: Path,
) -> Check:
    """Explain again the windows that the stored map was made of."""
    path = folder / str(told.map)
    _same(f"map {told.map}", file_digest(path) if path.is_file() else "missing", record.files[str(told.map)])
    with np.load(path, allow_pickle=False) as held:
        times, values, explained = held["times"], held["values"], set(held["windows"].tolist())
    reasons = Reasons(detector, (told.explainer,), told.score)
    reasons.add_all(source, [window for window in windows if window.ref.first in explained])
    maps = reasons.by_line[told.explainer].maps
    if len(maps) != len(times) or not np.array_equal(maps.times, times):
        raise StoreError(f"the map {told.map} covers other frames than the source now gives.")
    difference = float(np.abs(maps.values - values).max()) / max(float(np.abs(values).max()), 1e-12)
    return Check(f"map of {told.explainer}", difference)


def _trusts(told: Sequence[Evidence], detector: Detector, source: Source, check: ShortCheck) -> list[Check]:
    """Make the short checks again: of all explainers of a window at once, since they are compared with each other."""
    checked = {each.explainer: each.trust for each in told if each.trust is not None}
    if not checked:
        return []
    reasons = Reasons(detector, tuple(checked), told[0].score, check=check)
    for first in {trust.first for trust in checked.values()}:
        reasons.add(detector.windows.at(source, first))
    again = {line: reasons.by_line[line].trusts[trust.first] for line, trust in checked.items()}
    return [Check(f"short check of {line}", _apart(trust, again[line])) for line, trust in checked.items()]


def _apart(one: Trust, other: Trust) -> float:
    """The greatest difference of two checks' figures; infinite where anything else differs but words."""
    held, now = ({name: each for name, each in plain(trust).items() if name not in WORDS} for trust in (one, other))
    figures = [name for name, each in held.items() if isinstance(each, float) and isinstance(now[name], float)]
    if any(held[name] != now[name] for name in held if name not in figures):
        return inf
    return max((abs(held[name] - now[name]) for name in figures), default=0.0)
