"""``scores.csv``: a row per window. It grows by whole sources, so that a stopped run leaves what was scored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from vidence.aside import written_aside
from vidence.scoring.run import Judgement


class Table:
    """Starts the file anew with its header; `classes` give a column ``p_CLASS`` each."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        columns = [f"p_{name}" for name in classes]
        with written_aside(path) as aside:
            aside.write_text(
                _lines([["source", "first_s", "last_s", *columns, "score", "threshold", "anomalous"]]), encoding="utf-8"
            )

    def add(self, source: str, judged: Judgement) -> None:
        """Append the windows of one source, as given by the user."""
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
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(_lines(rows))


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
