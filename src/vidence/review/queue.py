"""Which records are shown, and which of them wait for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vidence.record.decision import DecisionRecord
from vidence.record.entries import Entry


def current(entries: Sequence[Entry]) -> list[Entry]:
    """The readable ones, without records whose correction is there too; one per decision of a model on an event: where
    it is there with and without an explanation (scored, then explained), the explained one. What a person judged stays.
    """
    kept: dict[tuple[str, ...], Entry] = {}
    present = {entry.id for entry in entries}
    for entry in entries:
        if entry.record is None or (entry.corrected_by in present and not entry.reviews):
            continue
        record = entry.record
        about = record.event or record.detection.clip.digest
        decision = (about, record.detection.weights, str(record.detection.clip.first))
        same = (entry.id,) if entry.reviews else decision
        if same not in kept or len(record.evidence) >= len(kept[same].readable().evidence):
            kept[same] = entry
    return sorted(kept.values(), key=lambda entry: entry.position)


def waiting(entries: Iterable[Entry]) -> list[Entry]:
    """The alarms among `current` entries that nobody has confirmed or overridden, the strongest first."""
    open_ones = [entry for entry in entries if entry.readable().detection.anomalous and not _settled(entry)]
    return sorted(open_ones, key=lambda entry: -excess(entry.readable()))


def excess(record: DecisionRecord) -> float:
    """How far the score lies above the threshold."""
    return record.detection.value - record.detection.threshold


def _settled(entry: Entry) -> bool:
    return entry.corrected_by is not None or (entry.in_force is not None and entry.in_force.verdict != "unclear")
