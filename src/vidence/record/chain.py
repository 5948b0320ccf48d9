"""The hash chain: what a row says, its digest, its signature, and the head that stands for everything so far.

A row's digest covers its words and the digest of the writer's row before it; payloads enter by their digests only,
so that one may be erased and the chain still holds. Each writer has a chain of its own; the head covers them all.
"""

from __future__ import annotations

import hmac
from dataclasses import asdict, dataclass, replace

from vidence.errors import StoreError
from vidence.record.provenance import canonical, digest

FIRST = "0" * 64  # what a writer's first row points at
KINDS = ("record", "review", "erase")


@dataclass(frozen=True, slots=True)
class Row:
    """One link. `number` counts the writer's rows from 0; `kind` is one of `KINDS`; `subject` the id that the row is
    about; `payload` and `place` digests of bodies that are kept apart; `mac` the signature, if there is a key.
    """

    writer: str
    number: int
    kind: str
    subject: str
    payload: str
    place: str | None
    made_at: str
    previous: str
    mac: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, the signature included."""
        return digest(asdict(self))

    def signed(self, key: bytes) -> Row:
        """The row with its HMAC-SHA256."""
        return replace(self, mac=self._mac(key))

    def fits(self, key: bytes) -> bool:
        """Whether the signature is this key's."""
        return hmac.compare_digest((self.mac or "").encode(), self._mac(key).encode())

    def _mac(self, key: bytes) -> str:
        return hmac.new(key, canonical(asdict(replace(self, mac=None))), "sha256").hexdigest()


class Heads:
    """The last digest of each writer; `digest` is one text that stands for all of them."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, str]] = {}

    def after(self, row: Row, row_digest: str) -> None:
        """Move on by one row."""
        self.last[row.writer] = (row.number, row_digest)

    def expected(self, writer: str) -> tuple[int, str]:
        """The number and the previous digest that the writer's next row must carry."""
        number, before = self.last.get(writer, (-1, FIRST))
        return number + 1, before

    @property
    def digest(self) -> str:
        """The head digest: what to note down, print, or hand to a third party."""
        return digest({writer: [number + 1, last] for writer, (number, last) in self.last.items()})


def check_key(key: bytes | None) -> bytes | None:
    """Return the key, or refuse one that can be guessed."""
    if key is not None and len(key) < 16:
        raise StoreError(
            f"a key must have at least 16 bytes; got {len(key)}. Make one with: head -c 32 /dev/urandom > key"
        )
    return key
