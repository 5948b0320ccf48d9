"""Stores of the first form still open; their payloads, digests and ids stay as they were; newer ones are refused."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from vidence.errors import StoreError
from vidence.record import migrate
from vidence.record.decision import DecisionRecord
from vidence.record.store import Store

FIRST = Path(__file__).with_name("first_schema.sql")
HEAD = "f96eecdaec5bb79d2497a10039f87f769782c67e066e3f21ee93bf9106fea7b3"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "records.db"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST.read_text())
    connection.close()
    return path


def content_of(path: Path) -> list[list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    held = [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("chain", "body")]  # noqa: S608
    connection.close()
    return held


def test_a_store_of_the_first_form_is_brought_up_to_date(old: Path, decision: Callable[..., DecisionRecord]) -> None:
    before = content_of(old)
    store = Store.open(old)
    assert content_of(old) == before
    assert store.head() == (5, HEAD)
    assert store.verify(HEAD).problems == ()
    first, erased, night = store.records()
    assert first.readable() == decision()
    assert first.in_force is not None
    assert first.in_force.reason == "too dark"
    assert erased.erased == "asked"
    assert night.writer == "night"
    store.append(decision("later.mp4"))
    assert store.verify(HEAD).ok
    assert Store.open(old, b"k" * 32, writer="night").append(decision("signed.mp4"))


def test_a_migrated_store_and_a_new_one_have_the_same_tables(old: Path, tmp_path: Path) -> None:
    def tables(path: Path) -> set[tuple[str, ...]]:
        connection = sqlite3.connect(path)
        held = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        connection.close()
        return {tuple(" ".join(str(each).split()) for each in row) for row in held}

    Store.open(old)
    Store.open(tmp_path / "new.db", create=True)
    assert tables(old) == tables(tmp_path / "new.db")


def test_a_migration_that_fails_leaves_the_store_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(old)
    connection.execute("CREATE INDEX chain_payload ON chain (payload)")  # the last thing that 0002 wants to make
    connection.commit()
    connection.close()
    before = old.read_bytes()
    with pytest.raises(StoreError, match="chain_payload already exists"):
        Store.open(old)
    assert old.read_bytes() == before


def test_a_newer_store_is_refused(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = old.read_bytes()
    with pytest.raises(StoreError, match="Update vidence"):
        Store.open(old)
    assert old.read_bytes() == before


def test_the_newest_form_is_the_last_file() -> None:
    files = sorted(path.name for path in (Path(migrate.__file__).parent / "migrations" / "versions").glob("0*.py"))
    assert files[-1].startswith(migrate.LATEST)
