"""Decisions on disk: append-only, hash-chained, in one SQLite file. Reviews and erasures are rows too, never edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from vidence.aside import make_folder
from vidence.errors import StoreError
from vidence.record import migrate
from vidence.record.chain import FIRST, Heads, Row, check_key
from vidence.record.decision import DecisionRecord, Review, parsed
from vidence.record.entries import Entry, entry, judgements, known, must_hold, named, row_of
from vidence.record.free_text import REASON, check_review, check_text
from vidence.record.provenance import canonical, digest
from vidence.record.tables import Connections, body, chain
from vidence.record.verification import Verification, verified

_PAGE = 200


class Store:
    """Open one with `Store.open`. Every call is a transaction of its own; several programs may write at once."""

    def __init__(self, connections: Connections, *, writer: str, key: bytes | None) -> None:
        self._connections, self.writer, self._key = connections, writer, check_key(key)

    @classmethod
    def open(
        cls, path: str | Path, key: bytes | None = None, *, create: bool = False, writer: str = "vidence"
    ) -> Store:
        """Open a store and bring its tables up to date; `create` makes one where there is none.

        `key` signs what is written, `writer` names the chain to write to. Raises `StoreError` for a missing,
        damaged or foreign file, which is left as it is.
        """
        path = Path(path)
        if not writer.strip():
            raise StoreError("a writer must have a name; got an empty one.")
        if path.exists() and not path.is_file():
            raise StoreError(f"a record store must be a file; {path} is not one.")
        if not path.exists():
            if not create:
                raise StoreError(f"there is no record store at {path}. Check the path; scoring writes records.db.")
            make_folder(path.parent)
        store = cls(Connections(path), writer=writer, key=key)
        store._prepare(create=create)
        return store

    @property
    def path(self) -> Path:
        """The file."""
        return self._connections.path

    def append(self, record: DecisionRecord, *, place: Mapping[str, str] | None = None) -> str:
        """Write a record and return its id. The same work twice is one record.

        `place` (source path, detector folder ...) belongs to this machine and is no part of the id. Raises
        `StoreError` when the record was erased here before, or corrects one that is not here.
        """
        payload = record.payload()
        made = digest(payload)
        with self._connections.writing() as connection:
            if record.corrects:
                must_hold(connection, record.corrects)
            if not known(connection, made):
                lies = {"record": made, **place} if place else None
                self._add(connection, "record", record.corrects or made, payload, lies)
        return made

    def review(self, review: Review) -> str:
        """Write a person's judgement of a record and return its id; the record stays as it is.

        The judgement that was in force is superseded: the new one names it. The same one twice in a row is one. Raises
        `StoreError` for texts that nobody could read: see `check_review`.
        """
        check_review(review)
        with self._connections.writing() as connection:
            must_hold(connection, review.record)
            before: list[str | None] = [None, None]
            before += [row.payload for row in judgements(connection, review.record)]
            if review.supersedes not in (None, before[-1]):
                raise StoreError("a review must supersede the one in force; it names another. Leave it to the store.")
            again, said = (replace(review, supersedes=each) for each in before[-2:])
            if again.id == before[-1] and known(connection, again.id):
                return again.id
            self._add(connection, "review", review.record, said.payload())
        return said.id

    def erase(self, which: str, reason: str) -> tuple[str, ...]:
        """Remove the content of a record or review (id or unique prefix); its digest, and a row with the reason, stay.

        Returns the names of its files that no other record lists: they lie beside the store, and are the caller's to
        delete.
        """
        if not reason.strip():
            raise StoreError("an erasure must give its reason; got none.")
        check_text("reason", reason, most=REASON)
        with self._connections.writing() as connection:
            row = named(connection, which, "record", "review")
            known(connection, row.payload)  # refuses what was erased before
            files = _files(connection, chain.c.payload == row.payload)
            stone = {"schema": 1, "erase": {"subject": row.payload, "reason": reason}}
            self._add(connection, "erase", row.payload, stone)
            gone = [each for each in (row.payload, row.place) if each]
            connection.execute(sql.delete(body).where(body.c.digest.in_(gone)))
            return tuple(sorted(files - _files(connection, sql.true()))) if files else ()

    def records(self) -> Iterator[Entry]:
        """All records in the order they were written."""
        after = 0
        while True:
            with self._connections.reading() as connection:
                wanted = chain.c.kind == "record", chain.c.position > after
                rows = connection.execute(sql.select(chain).where(*wanted).order_by(chain.c.position).limit(_PAGE))
                entries = [entry(connection, row) for row in rows.all()]
            if not entries:
                return
            yield from entries
            after = entries[-1].position

    def get(self, which: str) -> Entry:
        """The record with this id, or with the only id that starts with `which` (at least four digits)."""
        with self._connections.reading() as connection:
            return entry(connection, named(connection, which, "record"))

    def named(self, which: str) -> str:
        """The id of the record or review that `which` is, or is the only one to start with."""
        with self._connections.reading() as connection:
            return str(named(connection, which, "record", "review").payload)

    def head(self) -> tuple[int, str]:
        """How many rows there are, and the digest that stands for them all: note it where others cannot change it."""
        heads, count = Heads(), 0
        with self._connections.reading() as connection:
            for held in connection.execute(sql.select(chain).order_by(chain.c.position)):
                heads.after(row_of(held), held.digest)
                count += 1
        return count, heads.digest

    def verify(self, head: str | None = None) -> Verification:
        """Check every row and payload; with `head` (a digest noted before) also that nothing was cut off since."""
        with self._connections.reading() as connection:
            return verified(connection, head=head, key=self._key)

    def _prepare(self, *, create: bool) -> None:
        with self._connections.reading() as connection:
            found = migrate.revision(connection, self.path)
        if found == migrate.LATEST:
            return
        if found is None and not create:
            raise StoreError(f"{self.path} is empty: no record was ever written to it. Check the path.")
        with self._connections.writing() as connection:  # looked at again: another program may have been quicker
            if migrate.revision(connection, self.path) != migrate.LATEST:
                migrate.upgrade(connection)

    def _add(
        self,
        connection: sql.Connection,
        kind: str,
        subject: str,
        payload: Mapping[str, Any],
        place: Mapping[str, str] | None = None,
    ) -> None:
        number, previous = self._next(connection)
        lies = digest(place) if place else None
        row = Row(self.writer, number, kind, subject, digest(payload), lies, _now(), previous)
        row = row.signed(self._key) if self._key else row
        bodies = [payload] + ([place] if place else [])
        stored = [{"digest": digest(each), "content": canonical(each)} for each in bodies]
        connection.execute(sql.insert(body), stored)
        last = connection.execute(sql.select(sql.func.coalesce(sql.func.max(chain.c.position), 0))).scalar_one()
        held = {name: getattr(row, name) for name in Row.__slots__}
        connection.execute(sql.insert(chain).values(position=last + 1, digest=row.digest, **held))

    def _next(self, connection: sql.Connection) -> tuple[int, str]:
        """The number and previous digest of this writer's next row.

        A signed chain goes on with the same key only, or `verify` would have to call its tail forged.
        """
        own = sql.select(chain).where(chain.c.writer == self.writer)
        last = connection.execute(own.order_by(chain.c.number.desc()).limit(1)).first()
        if last is None:
            return 0, FIRST
        if last.mac is not None and self._key is None:
            raise StoreError(f"the chain of writer {self.writer!r} is signed. Open the store with its key to write.")
        if last.mac is not None and self._key and not row_of(last).fits(self._key):
            raise StoreError(f"the chain of writer {self.writer!r} is signed with another key. Open it with that one.")
        return last.number + 1, last.digest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _files(connection: sql.Connection, which: sql.ColumnElement[bool]) -> set[str]:
    """The files that some of the records list."""
    joined = sql.select(body.c.content).join(chain, chain.c.payload == body.c.digest)
    held = connection.execute(joined.where(chain.c.kind == "record", which)).scalars()
    return {name for content in held for name in parsed(content).get("files", {})}
