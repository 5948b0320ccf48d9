"""What a comparison has measured so far: a row per clip, map and measure, in a CSV that only grows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeAlias

from vidence.errors import DataError

Key: TypeAlias = tuple[str, ...]
FAILED = "failed:"  # begins a reason that is no refusal, but an error that nobody foresaw


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number, or why there is none: `value` None and `refused` empty where the measure says nothing of the clip.

    `clip` is the digest of the source, `first` the sample at which the window starts; `event` whether something happens
    in it and `known` what the truth is of; `explainer` and `measure` are lines, `settings` all the measure's as JSON,
    `score` the line of what is explained; `seed` is the clip's; `layer` and `gap` are the map's own, `seconds` its wall
    time, `forwards` and `gradients` the passes that its settings promise.
    """

    clip: str
    first: int
    source: str
    label: str
    event: bool
    known: str
    explainer: str
    control: bool
    measure: str
    settings: str
    score: str
    seed: int
    weights: str
    value: float | None = None
    refused: str = ""
    layer: str = ""
    gap: float | None = None
    seconds: float | None = None
    forwards: int | None = None
    gradients: int | None = None

    @property
    def key(self) -> Key:
        """What is not measured twice."""
        return (self.clip, str(self.first), self.explainer, self.measure, self.score, str(self.seed), self.weights)

    @property
    def window(self) -> tuple[str, int]:
        """The clip among others."""
        return self.clip, self.first

    @property
    def shown(self) -> tuple[str, int, str]:
        """The clip as it was shown to one network: source, first sample, weights."""
        return self.clip, self.first, self.weights


NAMES = [field.name for field in fields(Measured)]


class MeasuredRows:
    """The rows in the file `path`, which may not be there yet.

    Rows are added in one write each time, not by rewriting what may be many thousands: a stop in the middle leaves at
    most one line without an end, which is cut off when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Key, Measured] = {}
        if path.exists():
            self._cut_torn_line()
            with path.open(newline="", encoding="utf-8") as file:
                table = csv.reader(file)
                head = next(table, None)
                if head is not None and head != NAMES:
                    raise DataError(
                        f"{path} must be the measures of a comparison; its columns are others. Move it away."
                    )
                for texts in table:
                    row = _read(texts)
                    self._rows[row.key] = row

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Measured]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[Measured]) -> None:
        """Write rows, all of them or, at a stop, whole lines of them."""
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() or not self.path.stat().st_size:
            table.writerow(NAMES)
        table.writerows([_text(value) for value in astuple(row)] for row in rows)
        with self.path.open("ab") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())
        self._rows |= {row.key: row for row in rows}

    def _cut_torn_line(self) -> None:
        with self.path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else " ".join(str(value).split())  # one row is one line


def _read(texts: Sequence[str]) -> Measured:
    held = dict(zip(NAMES, texts, strict=True))
    whole = {name: int(held[name]) if held[name] else None for name in ("forwards", "gradients")}
    broken = {name: float(held[name]) if held[name] else None for name in ("value", "gap", "seconds")}
    truths = {name: held[name] == "1" for name in ("event", "control")}
    counted = {name: int(held[name]) for name in ("first", "seed")}
    return Measured(**(held | whole | broken | truths | counted))  # type: ignore[arg-type]
