"""A CSV of finished runs that only grows: what it lists is not run again."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidence.aside import written_aside
from vidence.errors import DataError

KEY = "run"


def run_key(facts: Mapping[str, Any]) -> str:
    """Sixteen hex digits of a digest of all that decides a run's result."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Ledger:
    """Rows of text and numbers, one a run. The file is rewritten aside at each `add`, so that a stop keeps all rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if not row.get(KEY) or None in row:
                        raise DataError(f"{path} must be a CSV of runs with a column {KEY!r}; it is not. Move it away.")
                    self.rows[row[KEY]] = {name: _value(text) for name, text in row.items() if name != KEY}

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self.rows[key]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows.values())

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Write one more row."""
        rows = self.rows | {key: dict(row)}
        names = list(dict.fromkeys(name for each in rows.values() for name in each))
        with written_aside(self.path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [KEY, *names])
            writer.writeheader()
            writer.writerows({KEY: run, **each} for run, each in rows.items())
        self.rows = rows


def _value(text: str | None) -> Any:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return text
