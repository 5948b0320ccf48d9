"""`verify` against forgers of growing skill: it finds what it promises, and says what it cannot see."""

# ruff: noqa: S608 - a forger writes plain SQL
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidence.errors import StoreError
from vidence.record.chain import Row
from vidence.record.decision import DecisionRecord, Review
from vidence.record.store import Store
from vidence.record.tables import chain

Make = Callable[..., DecisionRecord]
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
GUARDS = [
    "chain_keeps_rows", "chain_keeps_words", "body_keeps_words", "body_goes_by_tombstone", "chain_takes_new_rows",
    "body_takes_new_payloads",
]  # fmt: skip


def fill(path: Path, decision: Make, key: bytes | None = None) -> Store:
    """Seven rows: four records, a review, an erasure, a second writer's record."""
    store = Store.open(path, key, create=True)
    ids = [store.append(decision(f"{i}.mp4"), place={"source": f"/data/{i}.mp4"}) for i in range(4)]
    store.review(Review(record=ids[1], reviewer="r7", verdict="confirm", reason="seen"))
    store.erase(ids[2], "asked")
    Store.open(path, key, writer="night").append(decision("night.mp4"))
    return store


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, decision: Make) -> dict[bytes | None, Path]:
    """Made once: each commit waits for the disk."""
    folder = tmp_path_factory.mktemp("stores")
    return {key: fill(folder / f"{key}.db", decision, key).path for key in (None, KEY)}


@pytest.fixture
def store(tmp_path: Path, filled: dict[bytes | None, Path]) -> Store:
    return Store.open(shutil.copy(filled[None], tmp_path / "records.db"))


@pytest.fixture
def signed(tmp_path: Path, filled: dict[bytes | None, Path]) -> Store:
    return Store.open(shutil.copy(filled[KEY], tmp_path / "signed.db"), KEY)


def forge(store: Store, *statements: str, guards: bool = True) -> None:
    """Change the file behind the store's back, and put the guards back as they were."""
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA synchronous = OFF")
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    held = dict(rows)
    assert sorted(held) == sorted(GUARDS)
    for name in held:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for statement in held.values() if guards else []:
        connection.execute(statement)
    connection.commit()
    connection.close()


def rows_of(store: Store) -> list[tuple[int, Row]]:
    connection = sqlite3.connect(store.path)
    names = ", ".join(Row.__slots__)
    held = connection.execute(f"SELECT position, {names} FROM chain ORDER BY position").fetchall()
    connection.close()
    return [(each[0], Row(*each[1:])) for each in held]


def rewrite(store: Store, change: Callable[[Row], Row]) -> None:
    """A forger who knows the format: change rows, then recompute every digest, without the key."""
    last: dict[str, str] = {}
    statements = []
    for position, row in rows_of(store):
        row = replace(change(row), previous=last.get(row.writer, row.previous))
        last[row.writer] = row.digest
        statements.append(
            f"UPDATE chain SET previous = '{row.previous}', made_at = '{row.made_at}', digest = '{row.digest}', "
            f"mac = {'NULL' if row.mac is None else repr(row.mac)} WHERE position = {position}"
        )
    forge(store, *statements)


def test_an_untouched_store_is_right(store: Store) -> None:
    count, head = store.head()
    checked = store.verify()
    assert (checked.ok, checked.count, checked.head, checked.problems) == (True, count, head, ())
    assert count == 7


def test_an_empty_store_is_right(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "records.db", create=True)
    assert store.verify(store.head()[1]).ok
    assert store.head()[0] == 0


ALTERED = {
    "position": "position + 100",
    "number": "number + 50",
    "kind": "CASE kind WHEN 'record' THEN 'review' ELSE 'record' END",
}


@pytest.mark.parametrize("column", [column.name for column in chain.columns])
@pytest.mark.parametrize("position", [1, 4, 6, 7])
def test_any_altered_column_of_any_row_is_found(store: Store, column: str, position: int) -> None:
    new = ALTERED.get(column, f"coalesce({column}, 'x') || 'x'")
    forge(store, f"UPDATE chain SET {column} = {new} WHERE position = {position}")
    assert not store.verify().ok


@pytest.mark.parametrize("value", ["x'00ff'", "12.5", "''"])
@pytest.mark.parametrize(
    "column", ["mac", "place", "previous", "made_at", "subject", "payload", "digest", "number", "writer"]
)
def test_a_value_of_another_type_is_found_without_a_crash(store: Store, column: str, value: str) -> None:
    forge(store, f"UPDATE chain SET {column} = {value} WHERE position = 2")
    for checked in (store.verify("0" * 64), Store.open(store.path, KEY).verify()):
        assert "row 2" in " ".join(checked.problems)


def test_an_altered_payload_is_found_and_named(store: Store) -> None:
    forge(store, "UPDATE body SET content = CAST(replace(content, '3.mp4', '4.mp4') AS BLOB)")
    problems = store.verify().problems
    assert problems
    assert all("its payload was altered" in each or "its place was altered" in each for each in problems)
    assert problems[0].startswith("row 4 (record ")


@pytest.mark.parametrize("position", [1, 2, 3, 5, 6])
def test_a_row_removed_inside_is_found(store: Store, position: int) -> None:
    forge(store, f"DELETE FROM chain WHERE position = {position}")
    assert f"row {position} is before it missing" in " ".join(store.verify().problems)


def test_a_row_removed_with_its_payload_and_the_rest_moved_up_is_found(store: Store) -> None:
    forge(
        store,
        "DELETE FROM body WHERE digest IN (SELECT payload FROM chain WHERE position = 1)",
        "DELETE FROM body WHERE digest IN (SELECT place FROM chain WHERE position = 1)",
        "DELETE FROM chain WHERE position = 1",
        "UPDATE chain SET position = position - 1",
    )
    assert "a row was removed" in " ".join(store.verify().problems)


def test_two_rows_that_changed_places_are_found(store: Store) -> None:
    forge(
        store,
        "UPDATE chain SET position = 99 WHERE position = 1",
        "UPDATE chain SET position = 1 WHERE position = 2",
        "UPDATE chain SET position = 2 WHERE position = 99",
    )
    assert "moved" in " ".join(store.verify().problems)


def test_a_removed_payload_is_found(store: Store) -> None:
    forge(store, "DELETE FROM body WHERE digest IN (SELECT payload FROM chain WHERE position = 1)")
    assert "no later row says that it was erased" in " ".join(store.verify().problems)


def test_nothing_is_added_to_a_store_that_does_not_hold_together(store: Store) -> None:
    store.verify().required()
    forge(store, "DELETE FROM body")
    with pytest.raises(StoreError, match=r"row 1 .* its payload is missing.* \(and \d+ more\) Run: vidence verify"):
        store.verify().required()


def test_an_erased_payload_that_came_back_is_found(store: Store, decision: Make) -> None:
    erased = decision("2.mp4").id
    forge(store, f"INSERT INTO body VALUES ('{erased}', x'00')")
    assert "said to be erased, but is there" in " ".join(store.verify().problems)


def test_a_payload_without_a_row_is_found(store: Store) -> None:
    forge(store, f"INSERT INTO body VALUES ('{'f' * 64}', x'00')")
    assert "belongs to no row" in " ".join(store.verify().problems)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_missing_guard_is_found(store: Store, guard: str) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute(f"DROP TRIGGER {guard}")
    connection.commit()
    connection.close()
    assert f"guards that keep rows from being changed were altered: {guard}" in " ".join(store.verify().problems)


CUT = (
    "DELETE FROM body WHERE digest IN (SELECT payload FROM chain WHERE position = 7)",
    "DELETE FROM chain WHERE position = 7",
)


def test_a_cut_tail_is_seen_with_the_head_alone(store: Store) -> None:
    head = store.head()[1]
    assert store.verify(head).ok
    forge(store, *CUT)
    without = store.verify()
    assert without.ok
    assert "rows cut off at the end" in without.unseen[0]
    with_head = store.verify(head)
    assert not with_head.ok
    assert "not in this store's history" in with_head.problems[0]


def test_an_older_head_still_holds_when_rows_were_added(store: Store, decision: Make) -> None:
    head = store.head()[1]
    store.append(decision("later.mp4"))
    checked = store.verify(head)
    assert (checked.ok, checked.added) == (True, 1)
    assert "Of the 1 rows after the given head" in checked.unseen[0]
    assert not any("--key" in each for each in store.verify(store.head()[1]).unseen)


def test_a_rewritten_chain_is_seen_with_a_head(store: Store) -> None:
    head = store.head()[1]
    rewrite(store, lambda row: replace(row, made_at=row.made_at.replace("2", "1")))
    without = store.verify()
    assert without.ok
    assert any("rewritten" in each for each in without.unseen)
    assert not store.verify(head).ok


def test_a_rewritten_chain_is_seen_with_a_key(signed: Store) -> None:
    assert signed.verify().ok
    rewrite(signed, lambda row: replace(row, made_at=row.made_at.replace("2", "1")))
    assert "signature is not by this key" in " ".join(signed.verify().problems)
    assert Store.open(signed.path).verify().ok  # without the key it cannot be seen, and verify says so
    assert any("--key" in each for each in Store.open(signed.path).verify().unseen)


def test_stripping_the_signatures_is_seen_with_a_key(signed: Store) -> None:
    rewrite(signed, lambda row: replace(row, mac=None))
    assert "is not signed" in " ".join(signed.verify().problems)


def test_a_row_added_without_the_key_is_seen_with_it(signed: Store, decision: Make) -> None:
    Store.open(signed.path, writer="stranger").append(decision("slipped in.mp4"))
    assert "writer 'stranger' is not signed" in " ".join(signed.verify().problems)


def test_another_key_fits_nothing(signed: Store) -> None:
    assert len(Store.open(signed.path, OTHER_KEY).verify().problems) == 7


@pytest.mark.parametrize(("key", "said"), [(None, "is signed. Open"), (OTHER_KEY, "another key")])
def test_a_signed_chain_goes_on_with_its_key_only(signed: Store, decision: Make, key: bytes | None, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Store.open(signed.path, key).append(decision("more.mp4"))
    signed.append(decision("more.mp4"))
    assert signed.verify().ok


def test_rows_from_before_the_key_are_vouched_for_by_later_ones(store: Store, decision: Make) -> None:
    for writer in ("vidence", "night"):
        Store.open(store.path, KEY, writer=writer).append(decision(f"signed {writer}.mp4"))
    assert Store.open(store.path, KEY).verify().ok


def content_of(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    held = [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("chain", "body")]
    connection.close()
    return held


def test_a_flipped_byte_anywhere_is_found_or_changes_nothing(store: Store) -> None:
    """Some bytes of an SQLite file are unused; a flip that verify accepts must leave every value as it was."""
    before, content = content_of(store.path), store.path.read_bytes()
    flip = random.Random(0)
    places = flip.sample(range(len(content)), 250)
    found = 0
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << flip.randrange(8)
        store.path.write_bytes(altered)
        try:
            ok = Store.open(store.path).verify().ok
        except StoreError:
            ok = False
        if ok:
            assert content_of(store.path) == before
        found += not ok
    assert found > 20


def test_a_flipped_byte_in_a_payload_is_always_found(store: Store) -> None:
    content = store.path.read_bytes()
    start = content.index(b'"facts"')
    for place in range(start, start + 400, 7):
        altered = bytearray(content)
        altered[place] ^= 4
        store.path.write_bytes(altered)
        assert "its payload was altered" in " ".join(Store.open(store.path).verify().problems)
