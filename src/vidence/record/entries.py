"""Read rows back: a record with its reviews, corrections and erasure, as the store holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql

from vidence.errors import StoreError
from vidence.record.chain import Row
from vidence.record.decision import DecisionRecord, Review, parsed
from vidence.record.tables import body, chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A person's judgement as the store holds it: its id, when it was written (UTC, ISO 8601), and the `review`, which
    is None when it was `erased` (the reason).
    """

    id: str
    made_at: str
    review: Review | None
    erased: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record as the store holds it. `record` is None when it was `erased` (the reason) or has a `fault` (altered);
    `place` says where source and detector lay on the machine that wrote it; `corrected_by` names a later record. Of
    the `reviews` each supersedes the one before it.
    """

    id: str
    position: int
    writer: str
    made_at: str
    record: DecisionRecord | None
    place: Mapping[str, str] = field(default_factory=dict)
    reviews: tuple[Reviewed, ...] = ()
    corrected_by: str | None = None
    erased: str | None = None
    fault: str | None = None

    @property
    def in_force(self) -> Review | None:
        """The last judgement; None: nobody has judged, or what was said last is erased."""
        return self.reviews[-1].review if self.reviews else None

    def readable(self) -> DecisionRecord:
        """The record, or a `StoreError` that says why it cannot be read."""
        if self.record is None:
            raise StoreError(f"record {self.id[:12]} cannot be read: {self.fault or f'erased ({self.erased})'}.")
        return self.record


def row_of(held: Any) -> Row:
    """The link that a table row holds."""
    return Row(**{name: getattr(held, name) for name in Row.__slots__})


def entry(connection: sql.Connection, held: Any) -> Entry:
    """The record of one table row, with everything later rows say about it."""
    record, fault = None, None
    erased = erasure(connection, held.payload)
    if erased is None:
        try:
            record = DecisionRecord.from_payload(content(connection, held.payload))
        except StoreError as error:
            fault = str(error)
    return Entry(
        id=held.payload,
        position=held.position,
        writer=held.writer,
        made_at=held.made_at,
        record=record,
        place=_place(connection, held),
        reviews=tuple(_reviewed(connection, each) for each in judgements(connection, held.payload)),
        corrected_by=_correction(connection, held),
        erased=erased,
        fault=fault,
    )


def content(connection: sql.Connection, digest: str) -> Any:
    """The values of a body, checked against its digest. Raises `StoreError` when it is missing or altered."""
    found = connection.execute(sql.select(body.c.content).where(body.c.digest == digest)).scalar()
    if found is None:
        raise StoreError(f"the payload {digest[:12]} is missing, and no row says why. Run: vidence verify")
    if not intact(found, digest):
        raise StoreError(f"the payload {digest[:12]} was altered after it was written. Run: vidence verify")
    return parsed(found)


def intact(content: Any, digest: str) -> bool:
    """Whether a stored body is what its digest says; an altered one need not even be bytes."""
    return isinstance(content, bytes) and hashlib.sha256(content).hexdigest() == digest


def erasure(connection: sql.Connection, subject: str) -> str | None:
    """Why a payload was erased; None: it was not."""
    stone = sql.select(chain.c.payload).where(chain.c.subject == subject, chain.c.kind == "erase")
    found = connection.execute(stone).scalar()
    return None if found is None else str(content(connection, found)["erase"]["reason"])


def named(connection: sql.Connection, which: str, *kinds: str) -> Any:
    """The table row of one of the `kinds` whose id is `which`, or the only one that starts with it."""
    what = " or ".join(kinds)
    if len(which) < 4 or set(which) - set("0123456789abcdef"):
        raise StoreError(f"a {what} is named by at least four digits of its id (0-9, a-f); got {which!r}.")
    wanted = chain.c.kind.in_(kinds), chain.c.payload >= which, chain.c.payload < which + "g"
    rows = connection.execute(sql.select(chain).where(*wanted).limit(5)).all()
    if len(rows) != 1:
        found = ", ".join(row.payload[: len(which) + 8] for row in rows) or "none"
        raise StoreError(f"exactly one {what} id must start with {which}; found: {found}.")
    return rows[0]


def judgements(connection: sql.Connection, record: str) -> list[Any]:
    """The table rows of what people said of a record, in their order."""
    about = sql.select(chain).where(chain.c.subject == record, chain.c.kind == "review")
    return list(connection.execute(about.order_by(chain.c.position)))


def must_hold(connection: sql.Connection, record: str) -> None:
    """Refuse to write about a record that is not here."""
    wanted = chain.c.payload == record, chain.c.kind == "record"
    if connection.execute(sql.select(chain.c.position).where(*wanted)).first() is None:
        raise StoreError(f"the store must hold the record that is spoken of; {record[:12]!r} is not in it.")


def known(connection: sql.Connection, payload: str) -> bool:
    """Whether a payload was written before. Raises `StoreError` when it was erased since."""
    held = connection.execute(sql.select(chain.c.position).where(chain.c.payload == payload)).first()
    reason = erasure(connection, payload) if held is not None else None
    if reason is not None:
        raise StoreError(f"{payload[:12]} was erased from this store ({reason}), and is not written to it again.")
    return held is not None


def _reviewed(connection: sql.Connection, held: Any) -> Reviewed:
    erased = erasure(connection, held.payload)
    review = None if erased is not None else Review.from_payload(content(connection, held.payload))
    return Reviewed(id=held.payload, made_at=held.made_at, review=review, erased=erased)


def _place(connection: sql.Connection, held: Any) -> dict[str, str]:
    if held.place is None or erasure(connection, held.payload) is not None:
        return {}
    return {key: value for key, value in content(connection, held.place).items() if key != "record"}


def _correction(connection: sql.Connection, held: Any) -> str | None:
    """The later record that names this one as corrected; such a row's subject is the corrected record."""
    wanted = chain.c.subject == held.payload, chain.c.kind == "record", chain.c.payload != held.payload
    return connection.execute(sql.select(chain.c.payload).where(*wanted).order_by(chain.c.position.desc())).scalar()
