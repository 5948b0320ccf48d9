"""What a report's page shows, worked out before any HTML is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidence.record.decision import DecisionRecord
from vidence.record.entries import Entry
from vidence.record.evidence import Evidence
from vidence.record.facts import Event
from vidence.record.provenance import canonical
from vidence.record.timecode import timecode
from vidence.record.verification import Verification
from vidence.review import short_check, wording
from vidence.review.drawing import Bar, Chart, bars, curve, profile, scale
from vidence.review.pictures import Embedded, embedded
from vidence.review.queue import current, excess, waiting


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with its words. `alt` is what is read to those who cannot see it."""

    picture: Embedded
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Why:
    """One explanation of one case; `verdict` and `measured` are of its short check, if one was made."""

    evidence: Evidence
    pictures: tuple[Shown, ...]
    profile: Chart | None
    bars: tuple[Bar, ...]
    change: str
    checks: tuple[wording.Check, ...]
    verdict: str | None
    measured: tuple[short_check.Line, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One decision, ready to be shown: `anchor` names it in the page, `title` in words, `when` its stretches."""

    entry: Entry
    record: DecisionRecord
    anchor: str
    title: str
    when: str
    bar: Bar
    ends: tuple[str, str]
    curve: Chart | None
    certainty: str
    caution: str
    shares: tuple[tuple[str, str], ...]
    whys: tuple[Why, ...]
    payload: str


@dataclass(frozen=True, slots=True)
class Page:
    """All of a report. `alarms` and `others` (explained without an alarm) are shown in full, `quiet` and `left` (more
    alarms than fit) in a line each; `gone` are records that were erased or altered; `waiting` counts the alarms that
    nobody has judged, `until` is when the last record or judgement was written.
    """

    summary: str
    sources: int
    alarms: tuple[Case, ...]
    others: tuple[Case, ...]
    quiet: tuple[Case, ...]
    left: tuple[Case, ...]
    gone: tuple[Entry, ...]
    waiting: int
    models: tuple[DecisionRecord, ...]
    checked: Verification
    until: str | None


def page(entries: Sequence[Entry], checked: Verification, *, folder: Path, most: int) -> Page:
    """Sort entries into what is shown in full and what in a line; pictures are read from `folder`."""
    told = current(entries)
    alarms = [entry for entry in told if entry.readable().detection.anomalous]
    calm = [entry for entry in told if not entry.readable().detection.anomalous]
    strongest = sorted(alarms, key=lambda entry: -excess(entry.readable()))[:most]
    full = {entry.id for entry in strongest} | {entry.id for entry in calm if entry.readable().evidence}
    cases = {entry.id: case(entry, folder=folder if entry.id in full else None) for entry in told}
    sources = len({entry.readable().detection.clip.digest for entry in told})
    return Page(
        summary=_summary(sources, len(alarms)),
        sources=sources,
        alarms=tuple(cases[entry.id] for entry in alarms if entry.id in full),
        others=tuple(cases[entry.id] for entry in calm if entry.id in full),
        quiet=tuple(cases[entry.id] for entry in calm if entry.id not in full),
        left=tuple(cases[entry.id] for entry in alarms if entry.id not in full),
        gone=tuple(entry for entry in entries if entry.record is None),
        waiting=len(waiting(told)),
        models=_models(told),
        checked=checked,
        until=max((moment for entry in entries for moment in _written(entry)), default=None),
    )


def case(entry: Entry, *, folder: Path | None) -> Case:
    """One entry's page; without a `folder` no explanation is drawn."""
    record = entry.readable()
    ends = scale(record)
    return Case(
        entry=entry,
        record=record,
        anchor=f"r-{entry.id[:12]}",
        title=wording.title(record),
        when=", ".join(wording.span(event.first_s, event.last_s) for event in _stretches(record)),
        bar=bars(record)[0],
        ends=(wording.number(ends[0]), wording.number(ends[1])),
        curve=curve(record),
        certainty=wording.certainty(record),
        caution=wording.caution(record),
        shares=tuple(wording.probabilities(record.outcome.probabilities)),
        whys=() if folder is None else tuple(_why(record, each, folder) for each in record.evidence),
        payload=canonical(record.payload()).decode(),
    )


def _why(record: DecisionRecord, evidence: Evidence, folder: Path) -> Why:
    shown = []
    for picture in evidence.pictures:
        when = "" if picture.time is None else f", {timecode(picture.time)}"
        words = f"{picture.caption[:1].upper()}{picture.caption[1:]}{when}"
        alt = f"{words}. {evidence.sentence}"
        shown.append(Shown(embedded(folder, picture.file, record.files[picture.file]), words, alt))
    trust = evidence.trust
    return Why(
        evidence=evidence,
        pictures=tuple(shown),
        profile=profile(evidence),
        bars=tuple(bars(record, evidence)) if evidence.hidden_score else (),
        change=wording.hidden_change(record, evidence),
        checks=tuple(wording.checks(record, evidence)),
        verdict=None if trust is None else short_check.verdict(record, trust),
        measured=() if trust is None else tuple(short_check.statements(trust)),
    )


def _models(entries: Iterable[Entry]) -> tuple[DecisionRecord, ...]:
    """One record for each model in force with its threshold."""
    held: dict[tuple[str, float], DecisionRecord] = {}
    for entry in entries:
        record = entry.readable()
        held.setdefault((record.detection.weights, record.detection.threshold), record)
    return tuple(held.values())


def _written(entry: Entry) -> list[str]:
    """When a record and the judgements of it were written."""
    return [entry.made_at, *(each.made_at for each in entry.reviews)]


def _stretches(record: DecisionRecord) -> tuple[Event, ...]:
    times = record.detection.clip.times
    return record.events or (Event(times[0], times[-1], record.detection.value),)


def _summary(sources: int, alarms: int) -> str:
    looked = f"{wording.count(sources, 'source')} {'was' if sources == 1 else 'were'} examined"
    raised = (
        f"{wording.count(alarms, 'alarm')} {'was' if alarms == 1 else 'were'} raised"
        if alarms
        else "no alarm was raised"
    )
    return f"{looked}; {raised}."
