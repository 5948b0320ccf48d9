"""Check a whole store, row by row, and say in words what was found and what cannot be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sql

from vidence.errors import StoreError
from vidence.record.chain import Heads, Row
from vidence.record.entries import intact, row_of
from vidence.record.migrate import expected_schema, schema
from vidence.record.tables import body, chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`ok`: nothing wrong was found. `count` rows, their `head` digest; `problems` and what stays `unseen`, in words;
    `added`: rows written after the head that was given (None: no head, or not found).
    """

    count: int
    head: str
    problems: tuple[str, ...]
    unseen: tuple[str, ...]
    added: int | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.problems

    def required(self) -> None:
        """Raise `StoreError` where something wrong was found: nothing is to be added to such a store."""
        if self.problems:
            first, rest = self.problems[0], len(self.problems) - 1
            more = f" (and {rest} more)" if rest else ""
            raise StoreError(f"a store must hold together before anything is added; {first}{more} Run: vidence verify")


class _Walk:
    """The state of going through the rows in their order."""

    def __init__(self, connection: sql.Connection, head: str | None, key: bytes | None) -> None:
        self.head, self.key = head, key
        self.erased = set(connection.execute(sql.select(chain.c.subject).where(chain.c.kind == "erase")).scalars())
        self.heads, self.count, self.position = Heads(), 0, 0
        self.head_at = 0 if head == self.heads.digest else None
        self.problems: list[str] = []
        self.signed: dict[str, bool] = {}

    def step(self, held: Any) -> None:
        """Check one row against what came before, and its bodies against their digests."""
        said: list[str] = []
        if held.position != self.position + 1:
            said.append(f"{_rows(self.position + 1, held.position - 1)} before it missing")
        self.position = held.position
        row = row_of(held)
        try:
            if row.digest != held.digest:
                said.append("it was altered")
            elif (row.number, row.previous) != self.heads.expected(row.writer):
                said.append(
                    "it does not follow the row that its writer wrote before: a row was removed, moved or altered"
                )
            if row.mac is not None and self.key and not row.fits(self.key):
                said.append("its signature is not by this key")
        except (StoreError, AttributeError) as error:
            said.append(f"it was altered: {error}")
        said += self._bodies(row, held)
        if said:
            self.problems.append(f"row {held.position} ({row.kind} {str(row.subject)[:12]}): {'; '.join(said)}.")
        self._advance(row, held)

    def _bodies(self, row: Row, held: Any) -> list[str]:
        said = _body("payload", row.payload, held.content, row.payload in self.erased)
        if row.place is not None:
            said += _body("place", row.place, held.place_content, row.payload in self.erased)
        return said

    def _advance(self, row: Row, held: Any) -> None:
        self.count += 1
        if not isinstance(row.number, int) or not isinstance(row.writer, str):  # altered, and already said so
            row = replace(row, writer=str(row.writer), number=self.heads.expected(str(row.writer))[0])
        self.heads.after(row, str(held.digest))
        self.signed[row.writer] = row.mac is not None
        if self.head is not None and self.head == self.heads.digest:
            self.head_at = self.count


def verified(connection: sql.Connection, *, head: str | None, key: bytes | None) -> Verification:
    """Walk through the store. Raises `StoreError` only where the file cannot be read at all."""
    problems = _file_problems(connection)
    walk = _Walk(connection, head, key)
    place = body.alias("place_body")
    joined = chain.outerjoin(body, body.c.digest == chain.c.payload).outerjoin(place, place.c.digest == chain.c.place)
    wanted = sql.select(chain, body.c.content, place.c.content.label("place_content")).select_from(joined)
    for held in connection.execute(wanted.order_by(chain.c.position).execution_options(yield_per=200)):
        walk.step(held)
    problems += walk.problems + _strangers(connection) + _unsigned(walk)
    if head is not None and walk.head_at is None:
        problems.append(
            f"the head {head[:12]} is not in this store's history: rows were cut off at the end, the chain was "
            "rewritten, or the head is another store's."
        )
    return Verification(
        count=walk.count,
        head=walk.heads.digest,
        problems=tuple(problems),
        unseen=_unseen(walk),
        added=None if walk.head_at is None or head is None else walk.count - walk.head_at,
    )


def _body(name: str, digest: str, content: Any, erased: bool) -> list[str]:
    if content is None:
        return [] if erased else [f"its {name} is missing, and no later row says that it was erased"]
    if erased:
        return [f"its {name} is said to be erased, but is there"]
    return [] if intact(content, digest) else [f"its {name} was altered"]


def _file_problems(connection: sql.Connection) -> list[str]:
    said = connection.exec_driver_sql("PRAGMA integrity_check(5)").scalars().all()
    problems = [f"the file is damaged: {each}." for each in said if each != "ok"]
    if schema(connection) != expected_schema():
        odd = sorted({name for _, name, _ in schema(connection) ^ expected_schema()})
        problems.append(f"the tables or the guards that keep rows from being changed were altered: {', '.join(odd)}.")
    return problems


def _strangers(connection: sql.Connection) -> list[str]:
    """Payloads that no row speaks of: their row was removed, or they were slipped in."""
    told = sql.exists().where(sql.or_(chain.c.payload == body.c.digest, chain.c.place == body.c.digest))
    found = connection.execute(sql.select(body.c.digest).where(~told)).scalars()
    return [f"the payload {str(each)[:12]} belongs to no row: its row was removed." for each in found]


def _unsigned(walk: _Walk) -> list[str]:
    """A signed row vouches for all rows of its writer before it, so only a writer's last row must be signed."""
    if not walk.key:
        return []
    return [
        f"the last row of writer {writer!r} is not signed: it was written without the key, or rewritten."
        for writer, signed in walk.signed.items()
        if not signed
    ]


def _unseen(walk: _Walk) -> tuple[str, ...]:
    said = []
    later = walk.count - (walk.head_at or 0)  # rows that no given head vouches for
    if walk.head is None:
        said.append(
            "Without a head digest noted earlier (--head), rows cut off at the end, or a store replaced by an older "
            "copy of itself, cannot be seen."
        )
    elif later:
        said.append(f"Of the {later} rows after the given head, some could have been cut off at the end.")
    if walk.key is None and later:
        said.append(f"Without the key (--key), {later} rows could all have been rewritten with new digests, unseen.")
    elif walk.key is not None and later:
        said.append("Who holds the key can rewrite the chain; a head noted elsewhere is what binds them too.")
    if len(walk.signed) > 1 and walk.head is None:
        said.append("The order in which different writers' rows arrived is not part of their chains.")
    said.append("Times of writing are the writing machine's clock. Pictures and maps are files outside the store.")
    return tuple(said)


def _rows(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"
