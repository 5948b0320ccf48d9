"""What went wrong while reading a source, in plain words."""

from __future__ import annotations


class Notes(list[str]):
    """Sentences for the person who reads the result; a source that is read twice says each only once."""

    def add(self, note: str) -> None:
        """Append `note` unless it is already there."""
        if note not in self:
            self.append(note)
