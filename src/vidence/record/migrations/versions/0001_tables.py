"""The chain and the bodies, and triggers that refuse to change or remove what was written."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """CREATE TABLE chain (
    position INTEGER PRIMARY KEY,
    writer TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('record', 'review', 'erase')),
    subject TEXT NOT NULL,
    payload TEXT NOT NULL,
    place TEXT,
    made_at TEXT NOT NULL,
    previous TEXT NOT NULL,
    mac TEXT,
    digest TEXT NOT NULL UNIQUE,
    UNIQUE (writer, number)
)""",
    "CREATE TABLE body (digest TEXT PRIMARY KEY NOT NULL, content BLOB NOT NULL)",
)
GUARDS = (
    """CREATE TRIGGER chain_keeps_rows BEFORE DELETE ON chain
BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END""",
    """CREATE TRIGGER chain_keeps_words BEFORE UPDATE ON chain
BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END""",
    """CREATE TRIGGER body_keeps_words BEFORE UPDATE ON body
BEGIN SELECT RAISE(ABORT, 'payloads are append-only'); END""",
    """CREATE TRIGGER body_goes_by_tombstone BEFORE DELETE ON body
WHEN NOT EXISTS (
    SELECT 1 FROM chain AS told JOIN chain AS stone ON stone.kind = 'erase' AND stone.subject = told.payload
    WHERE told.payload = OLD.digest OR told.place = OLD.digest
)
BEGIN SELECT RAISE(ABORT, 'payloads are append-only: erase one by a tombstone'); END""",
)


def upgrade() -> None:
    """Create everything."""
    for statement in TABLES + GUARDS:
        op.execute(statement)
