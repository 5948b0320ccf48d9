"""The two tables of a store, and connections to them. SQLite errors come out as `StoreError`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql

from vidence.errors import StoreError

APPLICATION_ID = 0x56646E63  # "Vdnc", in the file's header: tells a store from any other SQLite file
BUSY_S = 30.0
PRAGMAS = ("secure_delete = ON",)  # an erased payload's bytes leave the file

metadata = sql.MetaData()
chain = sql.Table(
    "chain",
    metadata,
    sql.Column("position", sql.Integer, primary_key=True),
    sql.Column("writer", sql.Text, nullable=False),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("subject", sql.Text, nullable=False),
    sql.Column("payload", sql.Text, nullable=False),
    sql.Column("place", sql.Text),
    sql.Column("made_at", sql.Text, nullable=False),
    sql.Column("previous", sql.Text, nullable=False),
    sql.Column("mac", sql.Text),
    sql.Column("digest", sql.Text, nullable=False),
)
body = sql.Table(
    "body",
    metadata,
    sql.Column("digest", sql.Text, primary_key=True),
    sql.Column("content", sql.LargeBinary, nullable=False),
)


class Connections:
    """Short transactions on one SQLite file. A write holds the file's lock from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sql.create_engine("sqlite://", creator=self._connect, poolclass=sql.NullPool)
        sql.event.listen(self._engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """A consistent view."""
        with self._speaking(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """All or nothing; writers queue up."""
        with self._speaking(), self._engine.connect().execution_options(writing=True) as connection:
            with connection.begin():
                yield connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rwc", uri=True, timeout=BUSY_S, isolation_level=None
        )
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except (sql.exc.DBAPIError, sqlite3.Error, UnicodeDecodeError) as error:  # the last: damaged text
            raise StoreError(self._words(getattr(error, "orig", None) or error)) from error

    def _words(self, error: BaseException) -> str:
        said = str(error)
        if "locked" in said:
            return f"the record store {self.path} is held by another program for over {BUSY_S:.0f} s. Try again later."
        if "readonly" in said or "full" in said or "append-only" in said:
            return f"the record store {self.path} cannot be written: {said}. Nothing was changed."
        return f"{self.path} is not a readable record store: {said}. Restore it from a copy."


def _begin(connection: sql.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
