"""The files beside a store, pictures and maps: are they there, and still what the records say?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidence.record.entries import Entry
from vidence.record.provenance import file_digest


@dataclass(frozen=True, slots=True)
class EvidenceCheck:
    """How many files the records list, and in words which are missing, altered or elsewhere."""

    count: int
    faults: tuple[str, ...]


def evidence_check(entries: Iterable[Entry], folder: Path) -> EvidenceCheck:
    """Hash every file that a readable record lists and that lies below `folder`, that of the store."""
    listed = {pair for entry in entries if entry.record is not None for pair in entry.record.files.items()}
    said = (_fault(folder, name, digest) for name, digest in sorted(listed))
    return EvidenceCheck(len(listed), tuple(each for each in said if each is not None))


def _fault(folder: Path, name: str, digest: str) -> str | None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"the file {name} lies outside the store's folder."
    try:
        held = file_digest(path)
    except OSError:
        return f"the file {name} is missing: it was moved, deleted, or cannot be read."
    return None if held == digest else f"the file {name} was altered after the decision was recorded."
