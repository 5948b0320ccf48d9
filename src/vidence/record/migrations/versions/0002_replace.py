"""Close a gap: INSERT OR REPLACE removes a row without firing delete triggers. And find rows quickly."""

from alembic import op

revision = "0002"
down_revision = "0001"

GUARDS = (
    """CREATE TRIGGER chain_takes_new_rows BEFORE INSERT ON chain
WHEN EXISTS (
    SELECT 1 FROM chain WHERE position = NEW.position OR digest = NEW.digest
    OR (writer = NEW.writer AND number = NEW.number)
)
BEGIN SELECT RAISE(ABORT, 'the chain is append-only: this row exists'); END""",
    """CREATE TRIGGER body_takes_new_payloads BEFORE INSERT ON body
WHEN EXISTS (SELECT 1 FROM body WHERE digest = NEW.digest)
BEGIN SELECT RAISE(ABORT, 'payloads are append-only: this one exists'); END""",
)


def upgrade() -> None:
    """Add two triggers and two indices."""
    indices = [f"CREATE INDEX chain_{column} ON chain ({column})" for column in ("subject", "payload")]
    for statement in (*GUARDS, *indices):
        op.execute(statement)
