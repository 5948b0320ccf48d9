"""Bring a store's tables to the newest form, in the caller's transaction: all of it happens, or nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sql

from vidence.errors import StoreError
from vidence.record.tables import APPLICATION_ID

LATEST = "0002"
_SCRIPTS = Path(__file__).parent / "migrations"


def revision(connection: sql.Connection, path: Path) -> str | None:
    """The form of an open file's tables; None for an empty file. Raises `StoreError` for a foreign or newer one."""
    if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        return None
    if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program, not a record store. Check the path.")
    held = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    if len(held) != 1 or str(held[0]) > LATEST:
        raise StoreError(f"{path} has tables of the form {held}; this vidence knows up to {LATEST}. Update vidence.")
    return str(held[0])


def upgrade(connection: sql.Connection, target: str = LATEST) -> None:
    """Run the changes that are missing."""
    from alembic import command  # heavy, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    command.upgrade(config, target)


@cache
def expected_schema() -> frozenset[tuple[str, str, str]]:
    """(type, name, statement) of everything in a store with the newest tables."""
    with sql.create_engine("sqlite://").begin() as connection:
        upgrade(connection)
        return schema(connection)


def schema(connection: sql.Connection) -> frozenset[tuple[str, str, str]]:
    """(type, name, statement) of the tables, indices and triggers that are there, Alembic's own table apart."""
    query = "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE tbl_name != 'alembic_version'"
    rows = connection.exec_driver_sql(query)
    return frozenset((str(kind), str(name), str(statement)) for kind, name, statement in rows)
