"""``scores.csv``: a row per window. It grows by whole sources, so that a stopped run leaves what was scored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import click

from vidence.aside import written_aside
from vidence.errors import OutputError
from vidence.scoring.run import Judgement


class Table:
    """The file of a run; `classes` give a column ``p_CLASS`` each. It is begun with the first source.

    Rows that an earlier run left stay, but for those of a source that is scored again. Raises `OutputError` for a file
    with other columns, as a detector of other classes writes them.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        probabilities = [f"p_{name}" for name in classes]
        self._columns = ["source", "first_s", "last_s", *probabilities, "score", "threshold", "anomalous"]
        self._earlier = {row[0] for row in self._rows()}

    def add(self, source: str, judged: Judgement) -> None:
        """Write the windows of one source, as given by the user, all of them or none."""
        rows = [
            [
                source,
                f"{window.first_s:.3f}",
                f"{window.last_s:.3f}",
                *(f"{p:.6f}" for p in window.probabilities),
                f"{window.value:.6f}",
                f"{judged.threshold:.6f}",
                int(window.value > judged.threshold),
            ]
            for window in judged.windows
        ]
        if self.path.exists() and source not in self._earlier:
            with self.path.open("ab", buffering=0) as file:  # one call of the system: Ctrl-C leaves no half row
                file.write(_lines(rows))
            return
        others = [row for row in self._rows() if row[0] != source]
        with written_aside(self.path) as aside:
            aside.write_bytes(_lines([self._columns, *others, *rows]))
        self._earlier.discard(source)

    def tell(self) -> None:
        """Print where the file lies, and what in it is of earlier runs."""
        if self.path.exists():
            click.echo(f"scores   {self.path}")
        if self._earlier:
            click.echo(
                f"note: {self.path} still has the rows of {len(self._earlier)} sources of earlier runs.", err=True
            )

    def _rows(self) -> list[list[str]]:
        """The rows that are there, without the header."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header != self._columns:
            raise OutputError(
                f"{self.path} must have the columns {','.join(self._columns)}; it has {','.join(header) or 'none'}. "
                "Another detector wrote it: choose another folder."
            )
        return [row for row in rows if row]


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
