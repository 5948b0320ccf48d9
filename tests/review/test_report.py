"""The report as text: everything a reader needs is there, nothing hostile gets through, nothing altered is shown."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vidence.errors import StoreError
from vidence.record import store as store_module
from vidence.record.decision import DecisionRecord, Review
from vidence.record.evidence import Picture
from vidence.record.facts import Certificate
from vidence.record.store import Store
from vidence.review.pictures import embedded
from vidence.review.report import write_report

Make = Callable[..., DecisionRecord]
EMPTY = {"meta", "img", "br", "rect", "line", "polyline", "polygon", "text"}


class Tags(HTMLParser):
    """Collects tags, attributes and the text that is seen; refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def read(path: Path) -> tuple[Tags, str]:
    """The page's tags, and its words with single spaces."""
    parser = Tags()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.open == []
    return parser, " ".join(" ".join(parser.words).split())


def report(store: Store, **options: Any) -> tuple[Tags, str]:
    return read(write_report(store, store.path.parent / "report.html", **options))


def test_a_reader_finds_what_was_found_when_how_sure_and_why(store: Store) -> None:
    _, words = report(store)
    for said in (
        "3 sources were examined; 2 alarms were raised.",
        "Looks like “fall”",
        "walkway_03.mp4",
        "00:04.2 to 00:07.8 (3.6 s)",
        "The score is far above the alarm threshold: 0.93, where an alarm starts above 0.5.",
        "The score is only just above the alarm threshold: 0.56",
        "The model looked most from 00:04.4 to 00:07.2, in the lower left of the picture.",
        "With the marked region hidden, the score goes from 0.93 to 0.21: no alarm would have been raised.",
        "The map shows what the model uses, not what is there.",
        "2 alarms in 118.0 minutes of normal footage, budget 1 per hour",
        "Expect between 0.12 and 3.7 false alarms in an hour",
        "too little to assure",
        "test accuracy 0.962 share of clips judged right",
        "d" * 64,
        "a person must look before anything is done.",
        "not legal advice",
        "Looked at, no alarm",
        "gate_01.mp4",
        store.head()[1],
        "Records unaltered: 3 rows checked",
    ):
        assert said in words, said


def test_every_picture_has_words_for_those_who_cannot_see_it(store: Store) -> None:
    tags, _ = report(store)
    pictures = [held for tag, held in tags.tags if tag == "img"]
    assert len(pictures) == 6
    assert all("Where the model looked" in str(held["alt"]) and len(str(held["alt"])) > 40 for held in pictures)
    charts = [held for tag, held in tags.tags if tag == "svg" and held.get("aria-hidden") != "true"]
    assert all(held.get("role") == "img" and held.get("aria-label") for held in charts)


def test_the_file_needs_nothing_else_and_allows_itself_nothing(store: Store) -> None:
    tags, _ = report(store)
    text = (store.path.parent / "report.html").read_text()
    names = {tag for tag, _ in tags.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    held = [value for _, attributes in tags.tags for value in attributes.items()]
    assert not [name for name, _ in held if name.startswith("on") or name == "style"]
    assert all(str(value).startswith(("#", "data:image/")) for name, value in held if name in ("src", "href"))
    assert "default-src 'none'" in text
    assert "unsafe" not in text
    assert "http" not in re.sub(r"data:[^\"]+", "", text).replace("http-equiv", "")


HOSTILE = "<script>alert(1)<\\script><img src=x onerror=alert(2)>\"'&{{7*7}}"


def hostile(record: DecisionRecord) -> DecisionRecord:
    """Every text field that comes from outside says something nasty."""
    evidence = replace(
        record.evidence[0],
        sentence=HOSTILE,
        explainer=HOSTILE,
        counterfactual=HOSTILE,
        certificate=Certificate(flags=(HOSTILE,), layer=HOSTILE),
        pictures=tuple(replace(each, caption=HOSTILE) for each in record.evidence[0].pictures),
    )
    clip = replace(record.detection.clip, source=HOSTILE.replace("\\", ""))
    return replace(
        record,
        detection=replace(record.detection, clip=clip, detector=HOSTILE, score=HOSTILE),
        evidence=(evidence, evidence),
        occasion=replace(record.occasion, site=HOSTILE, utc_first=HOSTILE),
        reading=replace(record.reading, notes=(HOSTILE,), fit=HOSTILE),
        model=replace(
            record.model, name=HOSTILE, classes=(HOSTILE,), normal=(HOSTILE,), metrics={HOSTILE: 1.0}, code=HOSTILE,
            libraries={HOSTILE: HOSTILE}, device=HOSTILE,
        ),
        outcome=replace(
            record.outcome, rule=HOSTILE, origin=HOSTILE, warnings=(HOSTILE,), probabilities={HOSTILE: 1.0, "a": 0.5}
        ),
        proposal=replace(record.proposal, action=HOSTILE),
    )  # fmt: skip


def test_hostile_text_stays_text(store: Store, make_alarm: Make) -> None:
    plain, _ = report(store, records=[store.get(make_alarm().id).id])
    made = store.append(hostile(make_alarm()))
    store.review(Review(record=made, reviewer=HOSTILE, verdict="unclear", reason=HOSTILE, second=HOSTILE))
    tags, words = report(store, records=[made])
    assert {tag for tag, _ in tags.tags} <= {tag for tag, _ in plain.tags} | {"h3", "span"}
    assert not [held for tag, held in tags.tags if tag == "img" and not str(held["src"]).startswith("data:")]
    assert "onerror=alert(2)>" in words
    assert "{{7*7}}" in words
    assert "49" not in {word.strip(".,:\"'&") for word in words.split()}


def test_an_altered_a_missing_and_a_foreign_picture_are_not_shown(store: Store, make_alarm: Make) -> None:
    record = make_alarm()
    altered, missing, _ = sorted(record.files)
    folder = store.path.parent
    (folder / altered).write_bytes((folder / altered).read_bytes() + b"\0")
    (folder / missing).unlink()
    tags, words = report(store, records=[record.id])
    assert len([tag for tag, _ in tags.tags if tag == "img"]) == 1
    assert "The picture was altered after the decision was recorded." in words
    assert "The picture is missing" in words


def test_only_pictures_from_below_the_folder_are_embedded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "text.png").write_text("<svg onload=alert(1)>")
    assert "outside" in str(embedded(tmp_path / "in", "link.png", "0" * 64).fault)
    digest = "8e3d3dee4f4f37b4d2e1b5ad1d7e0ab3a0b4a6f7f5ea58bd1b8a7d40b0ee1a32"
    assert "altered" in str(embedded(tmp_path / "in", "text.png", digest).fault)
    from vidence.record.provenance import file_digest

    right = file_digest(tmp_path / "in" / "text.png")
    assert "not a PNG or JPEG" in str(embedded(tmp_path / "in", "text.png", right).fault)


def test_pictures_may_lie_elsewhere(store: Store, tmp_path: Path, make_alarm: Make) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in {name.split("/")[0] for name in make_alarm().files}:
        (tmp_path / folder).rename(elsewhere / folder)
    tags, _ = report(store, records=[make_alarm().id], pictures=elsewhere)
    assert len([tag for tag, _ in tags.tags if tag == "img"]) == 3


def test_only_the_records_asked_for(store: Store, make_alarm: Make) -> None:
    _, words = report(store, records=[make_alarm().id[:10]])
    assert "1 source was examined; 1 alarm was raised." in words
    assert "station_11" not in words
    with pytest.raises(StoreError, match="found: none"):
        report(store, records=["0" * 20])


def test_an_empty_store(tmp_path: Path) -> None:
    _, words = report(Store.open(tmp_path / "records.db", create=True))
    assert "0 sources were examined; no alarm was raised." in words


def test_a_store_that_is_missing_leaves_no_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no record store"):
        write_report(tmp_path / "records.db", tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_an_altered_store_is_said_first(store: Store) -> None:
    import sqlite3

    connection = sqlite3.connect(store.path)
    connection.execute("DROP TRIGGER chain_keeps_words")
    connection.execute("UPDATE chain SET made_at = '2020-01-01T00:00:00.000Z' WHERE position = 1")
    connection.commit()
    connection.close()
    _, words = report(store)
    assert words.index("Records were altered: do not rely on this report") < words.index("At a glance")
    assert "row 1 (record" in words


def test_a_head_that_is_gone_is_said(store: Store) -> None:
    _, words = report(store, head="f" * 64)
    assert "not in this store's history" in words
    assert "The head noted earlier is in the chain; 0 rows came after it." in report(store, head=store.head()[1])[1]


def test_erased_records_are_named_with_their_reason(store: Store, make_alarm: Make) -> None:
    store.erase(make_alarm().id, "asked by the person shown")
    _, words = report(store)
    assert "was erased. Reason given: asked by the person shown" in words
    assert "walkway_03" not in words
    assert "2 sources were examined; 1 alarm was raised." in words


def test_a_corrected_record_gives_way_to_its_correction(store: Store, make_alarm: Make) -> None:
    old = make_alarm()
    store.append(replace(old, corrects=old.id, occasion=replace(old.occasion, site="gate 3")))
    _, words = report(store)
    assert "2 alarms were raised" in words
    assert f"corrects an earlier one, {old.id[:12]}" in words
    _, words = report(store, records=[old.id])
    assert "no alarm was raised" not in words
    assert "corrects this one" in words


def test_scoring_and_then_explaining_is_one_alarm(store: Store, make_alarm: Make) -> None:
    store.append(make_alarm(evidence=(), files={}))
    tags, words = report(store)
    assert "2 alarms were raised" in words
    assert len([tag for tag, _ in tags.tags if tag == "img"]) == 6


def test_an_alarm_without_explanation_says_so(store: Store, make_alarm: Make) -> None:
    store.append(make_alarm("other.mp4", seed=5, evidence=(), files={}))
    assert "No explanation was made of this decision." in report(store)[1]


def test_many_alarms_are_cut_to_the_strongest(store: Store) -> None:
    tags, words = report(store, most=1)
    assert "2 alarms were raised" in words
    assert "1 further alarm" in words
    assert len([tag for tag, _ in tags.tags if tag == "img"]) == 3
    assert "far above" in words
    assert "only just above" not in words


def test_no_alarm_explained_on_request(store: Store, make_quiet: Make, make_alarm: Make) -> None:
    shown = make_alarm()
    store.append(make_quiet(evidence=shown.evidence, files=shown.files))
    _, words = report(store)
    assert "No alarm, explained on request" in words
    assert "2 alarms were raised" in words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"automated": True, "legal_effect": True}, "a person must be able to step in"),
        ({"automated": True}, "carried out automatically"),
        ({}, "Nothing is done automatically"),
    ],
)
def test_what_is_done_without_a_person_is_said(
    store: Store, make_alarm: Make, changes: dict[str, bool], said: str
) -> None:
    record = make_alarm("other.mp4", seed=6)
    made = store.append(replace(record, proposal=replace(record.proposal, **changes)))
    assert said in report(store, records=[made])[1]


def test_a_judgement_is_shown(store: Store, make_alarm: Make) -> None:
    store.review(Review(record=make_alarm().id, reviewer="r7", verdict="confirm", reason="a fall"))
    said = Review(record=make_alarm().id, reviewer="r8", verdict="override", reason="a <b>shoe</b>", second="r9")
    store.review(replace(said, contest="letter 4"))
    later, before = (
        r"\d{4}-\d\d-\d\d, \d\d:\d\d UTC: " + each for each in (r"a <b>shoe</b> \(objection letter 4\)", "a fall")
    )
    tags, words = report(store)
    assert re.search(f"Overruled by r8 with r9 , {later} Before that: Confirmed by r7 , {before}", words)
    assert "b" not in {tag for tag, _ in tags.tags}


def test_the_page_is_as_of_the_last_judgement(store: Store, make_alarm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_now", lambda: "2031-02-03T04:05:06.000Z")
    store.review(Review(record=make_alarm().id, reviewer="r7", verdict="confirm", reason="a fall"))
    assert "As of 2031-02-03, 04:05 UTC" in report(store)[1]


def test_a_judgement_of_what_is_shown_in_a_line_is_shown(store: Store, make_quiet: Make) -> None:
    store.review(Review(record=make_quiet().id, reviewer="r7", verdict="override", reason="the gate was forced"))
    assert re.search(r"Overruled by r7 , [\d-]+, [\d:]+ UTC: the gate was forced", report(store)[1])


def test_an_erased_judgement_is_not_silently_the_one_before(store: Store, make_alarm: Make) -> None:
    store.review(Review(record=make_alarm().id, reviewer="r7", verdict="confirm", reason="a fall"))
    later = store.review(Review(record=make_alarm().id, reviewer="r8", verdict="override", reason="my neighbour"))
    store.erase(later, "names a person")
    words = report(store)[1]
    assert re.search(r"A judgement of .* was erased. Reason given: names a person Before that: Confirmed by r7", words)
    assert "neighbour" not in words


def test_a_judged_record_is_not_replaced_by_a_new_explanation(store: Store, make_alarm: Make) -> None:
    made = make_alarm()
    store.review(Review(record=made.id, reviewer="r7", verdict="override", reason="tying a shoe"))
    again = store.append(replace(made, evidence=(replace(made.evidence[0], explainer="grad-cam"),)))
    words = report(store)[1]
    assert "tying a shoe" in words
    assert made.id in words
    assert again in words


def test_how_many_alarms_wait_is_said(store: Store, make_alarm: Make) -> None:
    assert "2 alarms wait for a person's judgement" in report(store)[1]
    first, second, _ = store.records()
    for record, verdict in ((first, "confirm"), (second, "unclear")):
        store.review(Review(record=record.id, reviewer="r7", verdict=verdict, reason="seen"))  # type: ignore[arg-type]
    assert "1 alarm waits for a person's judgement" in report(store)[1]
    store.review(Review(record=second.id, reviewer="r7", verdict="override", reason="seen again"))
    assert "A person has judged every alarm" in report(store)[1]


def test_the_same_store_gives_the_same_bytes(store: Store) -> None:
    one, two = (write_report(store, store.path.parent / name) for name in ("1.html", "2.html"))
    assert one.read_bytes() == two.read_bytes()


def test_a_failure_leaves_the_old_report(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    out = write_report(store, store.path.parent / "report.html")
    before = out.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_report(store, out, most=1)
    monkeypatch.undo()
    assert out.read_bytes() == before
    assert [each.name for each in out.parent.glob(".*")] == []


def test_pictures_need_no_time(store: Store, make_alarm: Make) -> None:
    record = make_alarm("sheet.mp4", seed=7)
    sheet = (Picture(file=min(record.files), caption="contact sheet"),)
    made = store.append(replace(record, evidence=(replace(record.evidence[0], pictures=sheet),)))
    tags, words = report(store, records=[made])
    assert "Contact sheet" in words
    assert grids(tags) == ["pictures one"]


def test_the_first_picture_spans_the_page_and_the_others_are_tiles(store: Store, make_alarm: Make) -> None:
    tags, _ = report(store, records=[store.append(make_alarm("two.mp4", seed=8))])
    assert grids(tags) == ["pictures one", "pictures"]


def grids(tags: Tags) -> list[object]:
    """The classes of what pictures lie in."""
    return [held["class"] for tag, held in tags.tags if tag == "div" and "pictures" in str(held.get("class"))]
