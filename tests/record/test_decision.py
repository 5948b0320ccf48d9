"""A record's id depends on the work alone; what it holds survives writing and reading; bad values are refused."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from vidence.errors import StoreError
from vidence.record.decision import RESERVED, DecisionRecord, Review
from vidence.record.evidence import Evidence, Picture
from vidence.record.facts import ClipRef, Event
from vidence.record.provenance import canonical

DOCS = Path(__file__).resolve().parents[2] / "docs" / "records.md"
Make = Callable[..., DecisionRecord]


def test_the_id_is_the_same_on_every_machine(decision: Make, full_record: DecisionRecord) -> None:
    # written down once: a change here breaks every store that exists, and needs a new schema number
    assert decision().id == "d23104a83867ba46314b8440ce7e015611136de7e0284e05cf19abb95ddb12d4"
    assert unchecked(full_record).id == "ed2c81cd87bc79ea910ccb4aa22fe38be0cab4c4a88173c1fde621324c1d52fa"
    assert full_record.id == "a1f45e38191bd7649209991f6875bf5717cd7ad0b64635c28c7aae702f25052b"


def unchecked(record: DecisionRecord) -> DecisionRecord:
    """The record without the short check, which came with schema 2."""
    return replace(record, evidence=tuple(replace(each, trust=None) for each in record.evidence))


def test_what_uses_nothing_new_is_written_as_before(decision: Make, full_record: DecisionRecord) -> None:
    assert (decision().schema, unchecked(full_record).schema, full_record.schema) == (1, 1, 2)
    assert "trust" not in unchecked(full_record).payload()["evidence"][0]


@pytest.mark.parametrize("checked", [True, False])
def test_a_record_of_one_schema_does_not_pass_for_the_other(full_record: DecisionRecord, checked: bool) -> None:
    held = full_record if checked else unchecked(full_record)
    payload = json.loads(canonical(held.payload()))
    payload["schema"] = 3 - held.schema
    with pytest.raises(StoreError, match=f"this one is of {held.schema}"):
        DecisionRecord.from_payload(payload)


def test_the_folder_a_source_lies_in_does_not_matter(decision: Make) -> None:
    assert decision("/home/anna/walk.mp4").id == decision("D:\\x\\walk.mp4").id == decision("walk.mp4").id
    assert decision("other.mp4").id != decision("walk.mp4").id
    assert "anna" not in canonical(decision("/home/anna/walk.mp4").payload()).decode()


def test_writing_and_reading_back(decision: Make, full_record: DecisionRecord) -> None:
    for record in (decision(), unchecked(full_record), full_record):
        back = DecisionRecord.from_payload(json.loads(canonical(record.payload())))
        assert back == record
        assert back.id == record.id


def test_the_payload_has_the_houses_four_parts(full_record: DecisionRecord) -> None:
    payload = full_record.payload()
    assert set(payload) == {"schema", "facts", "evidence", "files"}
    assert [payload["facts"][name] for name in RESERVED] == [None, None, None]
    assert payload["facts"]["derived"]["anomalous"] is True
    assert payload["facts"]["derived"]["margin"] == pytest.approx(0.4)


def test_records_of_one_event_share_its_id(decision: Make) -> None:
    event = (Event(0.5, 0.54, 0.9),)
    one, two = decision(events=event), decision(events=event, value=0.8)
    assert one.event == two.event is not None
    assert decision(events=(Event(0.5, 0.6, 0.9),)).event != one.event
    assert decision().event is None


def every_field(value: Any) -> list[str]:
    """Names of all fields of nested dataclasses, as `class.field`."""
    if isinstance(value, tuple):
        return [name for item in value for name in every_field(item)]
    if not is_dataclass(value):
        return []
    own = [f"{type(value).__name__}.{field.name}" for field in fields(value)]
    return own + [name for field in fields(value) for name in every_field(getattr(value, field.name))]


def test_every_field_is_explained_in_the_docs(full_record: DecisionRecord) -> None:
    text = DOCS.read_text()
    missing = [name for name in every_field(full_record) if f"`{name}`" not in text]
    assert not missing


def test_the_full_record_leaves_nothing_empty(full_record: DecisionRecord) -> None:
    """So that the tests above see every field, also those added later."""
    held = canonical(replace(full_record, corrects="a" * 64).payload()).decode()
    assert held.count("null") == len(RESERVED)
    assert "[]" not in held
    assert "{}" not in held


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"../secret": "a" * 64}}, "relative"),
        ({"files": {"/etc/x": "a" * 64}}, "relative"),
        ({"files": {"c:x": "a" * 64}}, "relative"),
        ({"files": {"a.png": "A" * 64}}, "SHA-256"),
        ({"corrects": "abc"}, "corrects must be a SHA-256"),
        ({"evidence": (Evidence(explainer="e", score="s", sentence="", map="m.npz"),)}, "'m.npz', which is not among"),
        ({"evidence": (Evidence(explainer="e", score="s", sentence="", profile=(1.0,)),)}, "one value per time"),
    ],
)
def test_bad_values_are_refused(decision: Make, change: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        decision(**change)


def test_a_picture_must_be_among_the_files(decision: Make) -> None:
    shown = Evidence(explainer="e", score="s", sentence="", pictures=(Picture(file="p.png", caption="c"),))
    with pytest.raises(StoreError, match=r"p\.png"):
        decision(evidence=(shown,))
    assert decision(evidence=(shown,), files={"p.png": "a" * 64}).files


def test_a_digest_must_be_one(decision: Make) -> None:
    bad = replace(decision().detection, clip=ClipRef("x", "123", 0, (0.0,)))
    with pytest.raises(StoreError, match=r"detection.clip.digest must be a SHA-256"):
        decision(detection=bad)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda payload: payload.update(schema=3), "schema 1 or 2; got 3"),
        (lambda payload: payload["facts"].pop("model"), "missing or unknown: model"),
        (lambda payload: payload["facts"]["model"].pop("seed"), "ModelFacts; missing or unknown: seed"),
        (lambda payload: payload["facts"].update(reading=3), r"record.reading must be an object"),
        (lambda payload: payload["facts"]["reading"].update(length="16"), r"record.reading.length must be"),
        (lambda payload: payload["facts"]["reading"].update(size=[1, 2, 3]), r"record.reading.size must be"),
        (lambda payload: payload.update(facts=[]), "object 'facts'"),
        (lambda payload: payload["facts"].update(lineage=None), "object 'lineage'"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(
    decision: Make, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    payload = json.loads(canonical(decision().payload()))
    change(payload)
    with pytest.raises(StoreError, match=said):
        DecisionRecord.from_payload(payload)


@pytest.mark.parametrize("payload", [None, [], "x"])
def test_a_payload_must_be_an_object(payload: Any) -> None:
    with pytest.raises(StoreError):
        DecisionRecord.from_payload(payload)
    with pytest.raises(StoreError):
        Review.from_payload(payload)


def test_a_review_is_a_value_with_an_id() -> None:
    review = Review(record="a" * 64, reviewer="r7", verdict="override", reason="a shadow", seen=("movie",))
    assert Review.from_payload(json.loads(canonical(review.payload()))) == review
    assert review.id != replace(review, verdict="confirm").id
    later = replace(review, supersedes="b" * 64)
    assert Review.from_payload(json.loads(canonical(later.payload()))) == later
    assert (review.payload()["schema"], later.payload()["schema"]) == (1, 2)
    assert "supersedes" not in review.payload()["review"]  # written as before, with the id it had
    with pytest.raises(StoreError, match="newer vidence"):
        Review.from_payload(later.payload() | {"schema": 3})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "yes"}, "confirm, override, unclear"),
        ({"reason": " "}, "reason"),
        ({"record": "a"}, "SHA-256"),
        ({"reviewer": ""}, "name"),
        ({"supersedes": "a"}, "SHA"),
    ],
)
def test_a_bad_review_is_refused(change: dict[str, Any], said: str) -> None:
    good = {"record": "a" * 64, "reviewer": "r7", "verdict": "confirm", "reason": "seen"}
    with pytest.raises(StoreError, match=said):
        Review(**(good | change))
