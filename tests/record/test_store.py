"""The store: what goes in comes out, nothing is changed or half-written, several writers do not hurt each other."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidence.errors import StoreError
from vidence.record import store as store_module
from vidence.record.decision import DecisionRecord, Review
from vidence.record.store import Store

Make = Callable[..., DecisionRecord]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "records.db", create=True)


def review_of(record: str, **changes: Any) -> Review:
    return Review(**({"record": record, "reviewer": "r7", "verdict": "confirm", "reason": "seen"} | changes))


def test_what_goes_in_comes_out(store: Store, decision: Make, full_record: DecisionRecord) -> None:
    ids = [store.append(record) for record in (decision(), full_record)]
    entries = list(Store.open(store.path).records())
    assert [entry.id for entry in entries] == ids == [decision().id, full_record.id]
    assert [entry.readable() for entry in entries] == [decision(), full_record]
    assert [entry.position for entry in entries] == [1, 2]


def test_many_records_come_in_order(store: Store, decision: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 2)
    ids = [store.append(decision(f"{i}.mp4")) for i in range(5)]
    assert [entry.id for entry in store.records()] == ids


def test_the_same_work_is_one_record(store: Store, decision: Make) -> None:
    assert store.append(decision()) == store.append(decision())
    assert store.head()[0] == 1


def test_place_is_kept_but_no_part_of_the_id(store: Store, decision: Make, tmp_path: Path) -> None:
    made = store.append(decision(), place={"source": "/data/walk.mp4"})
    other = Store.open(tmp_path / "other.db", create=True)
    assert other.append(decision(), place={"source": "/mnt/walk.mp4"}) == made
    assert store.get(made).place == {"source": "/data/walk.mp4"}
    assert other.verify().ok


def test_a_unique_prefix_names_a_record(store: Store, decision: Make) -> None:
    made = [store.append(decision(f"{i}.mp4")) for i in range(40)]
    assert store.get(made[7][:16]).id == made[7]
    for bad, said in [("zz", "four digits"), ("abc", "four digits"), ("0" * 60, "found: none")]:
        with pytest.raises(StoreError, match=said):
            store.get(bad)


def test_two_records_with_one_prefix(store: Store, decision: Make) -> None:
    seen: dict[str, str] = {}
    for i in range(2000):  # birthday: two of these ids share four digits
        record = decision(f"{i}.mp4")
        if record.id[:4] in seen:
            break
        seen[record.id[:4]] = record.detection.clip.source
    store.append(decision(seen[record.id[:4]]))
    store.append(record)
    with pytest.raises(StoreError, match=f"found: {record.id[:4]}.*, {record.id[:4]}"):
        store.get(record.id[:4])


def test_a_review_is_a_row_that_points_at_a_record(store: Store, decision: Make) -> None:
    made = store.append(decision())
    before = store.get(made).readable()
    said = review_of(made)
    assert store.review(said) == said.id
    assert store.get(made).in_force == said
    assert [each.id for each in store.get(made).reviews] == [said.id]
    assert store.get(made).readable() == before
    assert store.head()[0] == 2
    with pytest.raises(StoreError, match="must hold the record"):
        store.review(review_of("f" * 64))


def test_a_judgement_is_superseded_by_the_next_and_never_edited(store: Store, decision: Make) -> None:
    made = store.append(decision())
    confirm, override = review_of(made), review_of(made, verdict="override", reviewer="r8")
    first = store.review(confirm)
    assert store.review(confirm) == first  # said twice in a row, it is one row
    second = store.review(override)
    assert store.review(override) == second
    third = store.review(confirm)  # back again: a judgement of its own, or the second would stay in force
    entry = store.get(made)
    assert [each.id for each in entry.reviews] == [first, second, third]
    told = [each.review for each in entry.reviews if each.review is not None]
    assert [each.supersedes for each in told] == [None, first, second]
    assert told[0] == confirm
    assert entry.in_force == told[2] == replace(confirm, supersedes=second)
    assert store.head()[0] == 4
    assert store.verify().ok
    with pytest.raises(StoreError, match="must supersede the one in force"):
        store.review(replace(override, supersedes=first))
    store.erase(third, "free text about a person")
    assert store.get(made).in_force is None  # and not the one before
    assert store.get(made).reviews[2].erased == "free text about a person"


def test_a_shared_file_stays_until_its_last_record_goes(store: Store, decision: Make) -> None:
    both = {"w/maps.npz": "d" * 64}
    first = store.append(decision(files={**both, "w/1.png": "d" * 64}))
    second = store.append(decision(value=0.8, files=both))
    assert store.erase(first[:20], "asked") == ("w/1.png",)
    assert store.erase(second, "asked") == ("w/maps.npz",)


def test_a_correction_is_a_record_that_names_another(store: Store, decision: Make) -> None:
    old = store.append(decision())
    new = store.append(decision(value=0.4, corrects=old))
    assert store.get(old).corrected_by == new
    assert store.get(new).corrected_by is None
    assert store.get(new).readable().corrects == old
    assert store.verify().ok
    with pytest.raises(StoreError, match="must hold the record"):
        store.append(decision(corrects="f" * 64))


def test_erasing_removes_the_content_and_keeps_the_chain(store: Store, full_record: DecisionRecord) -> None:
    made = store.append(full_record, place={"source": "/home/anna/very-private-name.mp4"})
    opinion = store.review(review_of(made, reason="the man is my neighbour"))
    head = store.head()[1]
    assert store.erase(made, "asked by the person shown") == tuple(sorted(full_record.files))
    assert store.erase(opinion, "free text about a person") == ()
    entry = store.get(made)
    assert entry.erased == "asked by the person shown"
    assert (entry.record, entry.in_force, entry.place, entry.fault) == (None, None, {}, None)
    assert [(each.review, each.erased) for each in entry.reviews] == [(None, "free text about a person")]
    with pytest.raises(StoreError, match=r"erased \(asked by the person shown\)"):
        entry.readable()
    checked = store.verify(head)
    assert checked.ok
    assert checked.added == 2
    content = store.path.read_bytes()
    assert b"gate 3" not in content
    assert b"very-private-name" not in content
    assert b"neighbour" not in content


def test_what_was_erased_is_not_written_again(store: Store, decision: Make) -> None:
    made = store.append(decision())
    store.erase(made, "asked")
    for again in (lambda: store.append(decision()), lambda: store.erase(made, "again")):
        with pytest.raises(StoreError, match="was erased from this store"):
            again()
    assert store.verify().ok


@pytest.mark.parametrize(("which", "reason", "said"), [("f" * 64, "asked", "found: none"), (None, " ", "reason")])
def test_an_erasure_needs_a_record_and_a_reason(
    store: Store, decision: Make, which: str | None, reason: str, said: str
) -> None:
    made = store.append(decision())
    with pytest.raises(StoreError, match=said):
        store.erase(which or made, reason)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chain SET made_at = 'x'",
        "DELETE FROM chain",
        "UPDATE body SET content = x'00'",
        "DELETE FROM body",
        "INSERT OR REPLACE INTO chain SELECT * FROM chain WHERE position = 1",
        "REPLACE INTO body SELECT digest, x'00' FROM body",
    ],
)
def test_the_database_itself_refuses_changes(store: Store, decision: Make, statement: str) -> None:
    store.append(decision())
    store.append(decision("other.mp4"))
    with sqlite3.connect(store.path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()
    assert store.verify().ok


def test_a_tombstone_opens_its_own_payload_only(store: Store, decision: Make) -> None:
    gone, kept = store.append(decision()), store.append(decision("other.mp4"))
    store.erase(gone, "asked")
    connection = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM body WHERE digest = ?", (kept,))
    connection.close()


def test_nothing_is_half_written(store: Store, decision: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(decision())
    before = store.head()

    def fail(*_: Any) -> str:
        raise RuntimeError("killed between body and row")

    monkeypatch.setattr(store_module.Row, "digest", property(fail))
    with pytest.raises(RuntimeError, match="killed"):
        store.append(decision("other.mp4"))
    monkeypatch.undo()
    assert store.head() == before
    assert store.verify().ok


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from conftest import smallest
from vidence.record.store import Store
store = Store.open(Path(sys.argv[1]), create=True, writer=sys.argv[2])
for i in range(int(sys.argv[3])):
    store.append(smallest(f"{sys.argv[2]}-{i}.mp4"))
"""


def test_several_programs_write_at_once(tmp_path: Path) -> None:
    path, here = tmp_path / "records.db", str(Path(__file__).parent)
    programs = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), writer, "12", here])
        for writer in ("score", "score-2", "score-2")  # two share a chain and the second half of their records
    ]
    assert [program.wait(timeout=60) for program in programs] == [0, 0, 0]
    checked = Store.open(path).verify()
    assert checked.problems == ()
    assert checked.count == 24


def test_writers_have_chains_of_their_own(tmp_path: Path, decision: Make) -> None:
    path = tmp_path / "records.db"
    one, two = Store.open(path, create=True), Store.open(path, writer="night shift")
    one.append(decision("1.mp4"))
    two.append(decision("2.mp4"))
    one.append(decision("3.mp4"))
    assert [entry.writer for entry in one.records()] == ["vidence", "night shift", "vidence"]
    assert one.verify(one.head()[1]).ok


def test_a_busy_store_says_so(store: Store, decision: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidence.record.tables.BUSY_S", 0.05)
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held by another program"):
        store.append(decision())
    assert store.verify().ok  # reading goes on
    holder.close()


def sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE chain (position INTEGER PRIMARY KEY)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no record store at"),
        (lambda path: path.mkdir(), "must be a file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("a text file, much longer than a header of SQLite has to be " * 20), "not a"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096), "readable record store"),
        (sqlite_file, "another program"),
    ],
    ids=["missing", "folder", "empty", "text", "damaged", "foreign"],
)
def test_a_bad_file_is_refused_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "records.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=said):
        Store.open(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert path.exists() == (before is not None or path.is_dir())


@pytest.mark.parametrize("make", [sqlite_file, lambda path: path.write_text("hello " * 100)])
def test_creating_does_not_touch_a_foreign_file(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "records.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        Store.open(path, create=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_truncated_store_is_an_error_or_a_finding(store: Store, decision: Make, cut: float) -> None:
    for i in range(30):
        store.append(decision(f"{i}.mp4"))
    content = store.path.read_bytes()
    store.path.write_bytes(content[: int(len(content) * cut)])
    try:
        assert not Store.open(store.path).verify().ok
    except StoreError as error:
        assert "record store" in str(error)  # noqa: PT017 - either outcome is right


def test_an_altered_record_is_not_shown(store: Store, decision: Make) -> None:
    made = store.append(decision())
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TRIGGER body_keeps_words")
    connection.execute("UPDATE body SET content = replace(content, 'walk', 'talk')")
    connection.commit()
    connection.close()
    entry = store.get(made)
    assert entry.record is None
    assert "altered" in str(entry.fault)
    with pytest.raises(StoreError, match="altered"):
        entry.readable()


@pytest.mark.parametrize(("kwargs", "said"), [({"key": b"short"}, "16 bytes"), ({"writer": " "}, "name")])
def test_settings_are_checked(tmp_path: Path, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Store.open(tmp_path / "records.db", create=True, **kwargs)


def test_a_full_record_with_odd_path_characters(tmp_path: Path, full_record: DecisionRecord) -> None:
    path = tmp_path / "100 %?#ü" / "re cords.db"
    made = Store.open(path, create=True).append(full_record)
    assert path.is_file()
    assert Store.open(path).get(made).readable() == full_record
    assert replace(full_record, corrects=made).id != made


def test_the_record_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, vidence.record, vidence.review, vidence.record.store, vidence.record.migrations.versions\n"
        "import vidence.review.report\n"
        "from vidence.record.migrate import expected_schema; expected_schema()\n"
        "print([name for name in ('torch', 'av', 'cv2', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
