"""A decision as it is recorded, and a person's judgement of it: values whose id is the digest of their content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from vidence.errors import StoreError
from vidence.record.conditions import ModelFacts, Occasion, Outcome, Proposal, Reading
from vidence.record.evidence import Evidence
from vidence.record.facts import Detection, Event
from vidence.record.plain import LATER, plain, revive
from vidence.record.provenance import DIGEST, digest, source_name

SCHEMAS = (1, 2)  # 2: an explanation may hold its short check, `Evidence.trust`; a review what it `supersedes`
RESERVED = ("quality", "data_protection", "review")  # methods.md E, lines 14 to 16: null in schemas 1 and 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision on one source: the window that decided it, the events it covers, under which conditions, and why.

    `events` are the stretches above the threshold (none: no alarm), `evidence` one entry per explainer (none: not
    explained), `files` names written beside the store with their SHA-256, `corrects` the id of a record that this
    one replaces. The source is held by its digest and its bare name: `detection.clip.source` loses its folder here.
    """

    detection: Detection
    reading: Reading
    model: ModelFacts
    outcome: Outcome
    events: tuple[Event, ...] = ()
    occasion: Occasion = field(default_factory=Occasion)
    proposal: Proposal = field(default_factory=Proposal)
    evidence: tuple[Evidence, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    corrects: str | None = None

    def __post_init__(self) -> None:
        clip = self.detection.clip
        named = replace(self.detection, clip=replace(clip, source=source_name(clip.source)))
        object.__setattr__(self, "detection", named)
        _check_digest("detection.clip.digest", clip.digest)
        _check_digest("detection.weights", self.detection.weights)
        if self.corrects is not None:
            _check_digest("corrects", self.corrects)
        _check_files(self.files, [name for each in self.evidence for name in each.named])
        _check_pairs("outcome.values", self.outcome.values, self.outcome.times)
        for each in self.evidence:
            _check_pairs("evidence.profile", each.profile, each.profile_times)

    @property
    def id(self) -> str:
        """SHA-256 of the payload."""
        return digest(self.payload())

    @property
    def schema(self) -> int:
        """The earliest schema that can hold this record: what uses nothing new keeps the bytes and the id it had."""
        return 1 if all(each.trust is None for each in self.evidence) else 2

    @property
    def event(self) -> str | None:
        """The id of what happened: records of one event by several detectors or explainers share it. None: no alarm."""
        if not self.events:
            return None
        spans = [[event.first_s, event.last_s] for event in self.events]
        return digest({"source": self.detection.clip.digest, "events": spans})

    def payload(self) -> dict[str, Any]:
        """Plain values, without times of writing, folders or host names."""
        parts = {name: plain(getattr(self, name)) for name in _PARTS}
        derived = {
            "anomalous": self.detection.anomalous,
            "margin": self.detection.value - self.detection.threshold,
            "event": self.event,
        }
        reserved: dict[str, Any] = dict.fromkeys(RESERVED)
        facts = parts | reserved | {"derived": derived, "lineage": {"corrects": self.corrects}}
        return {"schema": self.schema, "facts": facts, "evidence": plain(self.evidence), "files": dict(self.files)}

    @classmethod
    def from_payload(cls, payload: Any) -> DecisionRecord:
        """Read a payload back. Raises `StoreError` for another schema or for fields that do not fit."""
        schema = _schema("record", payload)
        facts = dict(_object(payload, "facts"))
        lineage = dict(_object(facts, "lineage"))
        for name in (*RESERVED, "derived", "lineage"):
            facts.pop(name, None)
        held = facts | {"evidence": payload.get("evidence"), "files": payload.get("files")}
        made = revive(cls, held | {"corrects": lineage.get("corrects")})
        if made.schema != schema:
            raise StoreError(f"a record of schema {schema} must use what that brought; this one is of {made.schema}.")
        return made


_PARTS = ("detection", "events", "occasion", "reading", "model", "outcome", "proposal")

Verdict = Literal["confirm", "override", "unclear"]
VERDICTS = ("confirm", "override", "unclear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's judgement of a record. `reviewer` is a pseudonym, `opened_at` when the case was opened (ISO 8601; the
    time of deciding is the chain row's), `seen` what was looked at before judging, `second` the pseudonym of a second
    reviewer, `contest` the reference of a person's objection, `supersedes` the id of the judgement that was in force
    before, which `Store.review` fills in.
    """

    record: str
    reviewer: str
    verdict: Verdict
    reason: str
    opened_at: str | None = None
    seen: tuple[str, ...] = ()
    second: str | None = None
    contest: str | None = None
    supersedes: str | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        _check_digest("review.record", self.record)
        if self.supersedes is not None:
            _check_digest("review.supersedes", self.supersedes)
        if self.verdict not in VERDICTS:
            raise StoreError(f"a verdict must be one of {', '.join(VERDICTS)}; got {self.verdict!r}.")
        if not self.reviewer.strip():
            raise StoreError("a review must name its reviewer; got an empty name. A pseudonym will do.")
        if not self.reason.strip():
            raise StoreError("a review must give its reason; got none. Say in a sentence what was seen.")

    @property
    def id(self) -> str:
        """SHA-256 of the payload."""
        return digest(self.payload())

    def payload(self) -> dict[str, Any]:
        """Plain values."""
        return {"schema": 1 if self.supersedes is None else 2, "review": plain(self)}

    @classmethod
    def from_payload(cls, payload: Any) -> Review:
        """Read a payload back. Raises `StoreError` for another schema or for fields that do not fit."""
        _schema("review", payload)
        return revive(cls, payload.get("review"), "review")


def parsed(body: bytes) -> Any:
    """The values of a stored body. Raises `StoreError` when it is not JSON."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise StoreError(f"a stored payload must be JSON; {error}.") from error


def _schema(what: str, payload: Any) -> int:
    found = payload.get("schema") if isinstance(payload, Mapping) else None
    if found not in SCHEMAS:
        known = " or ".join(map(str, SCHEMAS))
        raise StoreError(f"a {what} must have schema {known}; got {found!r}. A newer vidence may have written it.")
    return int(found)


def _object(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    held = payload.get(name)
    if not isinstance(held, Mapping):
        raise StoreError(f"a record must have an object {name!r}; got {type(held).__name__}.")
    return held


def _check_digest(name: str, value: str) -> None:
    if not DIGEST.fullmatch(value):
        raise StoreError(f"{name} must be a SHA-256 (64 hexadecimal digits, lower case); got {value!r}.")


def _check_files(files: Mapping[str, str], named: list[str]) -> None:
    for name, value in files.items():
        _check_digest(f"the digest of file {name!r}", value)
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
            raise StoreError(f"a file's name must be relative to the store's folder, with '/'; got {name!r}.")
    for name in named:
        if name not in files:
            raise StoreError(
                f"evidence names the file {name!r}, which is not among the record's files. Add its digest."
            )


def _check_pairs(name: str, values: tuple[float, ...], times: tuple[float, ...]) -> None:
    if len(values) != len(times):
        raise StoreError(f"{name} must hold one value per time; got {len(values)} for {len(times)} times.")
