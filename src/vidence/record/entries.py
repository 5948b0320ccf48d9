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
class Entry:
    """A record as the store holds it. `record` is None when it was `erased` (the reason) or has a `fault` (altered);
    `place` says where source and detector lay on the machine that wrote it; `corrected_by` names a later record.
    """

    id: str
    position: int
    writer: str
    made_at: str
    record: DecisionRecord | None
    place: Mapping[str, str] = field(default_factory=dict)
    reviews: tuple[Review, ...] = ()
    corrected_by: str | None = None
    erased: str | None = None
    fault: str | None = None

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
    about = sql.select(chain).where(chain.c.subject == held.payload, chain.c.kind == "review")
    told = connection.execute(about.order_by(chain.c.position)).all()
    reviews = [_review(connection, each.payload) for each in told]
    return Entry(
        id=held.payload,
        position=held.position,
        writer=held.writer,
        made_at=held.made_at,
        record=record,
        place=_place(connection, held),
        reviews=tuple(each for each in reviews if each is not None),
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


def _review(connection: sql.Connection, payload: str) -> Review | None:
    return None if erasure(connection, payload) is not None else Review.from_payload(content(connection, payload))


def _place(connection: sql.Connection, held: Any) -> dict[str, str]:
    if held.place is None or erasure(connection, held.payload) is not None:
        return {}
    return {key: value for key, value in content(connection, held.place).items() if key != "record"}


def _correction(connection: sql.Connection, held: Any) -> str | None:
    """The later record that names this one as corrected; such a row's subject is the corrected record."""
    wanted = chain.c.subject == held.payload, chain.c.kind == "record", chain.c.payload != held.payload
    return connection.execute(sql.select(chain.c.payload).where(*wanted).order_by(chain.c.position.desc())).scalar()
