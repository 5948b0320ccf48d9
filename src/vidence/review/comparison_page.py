"""The page of a comparison: one self-contained HTML file, made from the tables and pictures in its folder.

Nothing is loaded from anywhere. The one script sorts the table; without it the page says the same.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidence.aside import written_aside
from vidence.errors import DataError
from vidence.review.report import TEMPLATES, environment

Row = Mapping[str, str]
KINDS = {".jpg": "image/jpeg", ".svg": "image/svg+xml"}
STANDING = {"good": "above every control", "bad": "below a control", "": "not told apart from a control"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One map under one measure: mean, interval and clips in words, mean place, and how it stands to the controls."""

    mean: float
    shown: str
    interval: str
    clips: str
    rank: str
    standing: str
    beside: str


@dataclass(frozen=True, slots=True)
class Line:
    """A map's row: a cell per measure (text: why there is no number), its mean place over measures that count, seconds,
    passes in words, and `passed`, their number.
    """

    name: str
    control: bool
    cells: tuple[Cell | str, ...]
    place: float | None
    seconds: float | None
    passes: str
    passed: int | None


@dataclass(frozen=True, slots=True)
class Example:
    """One clip: `about` its facts, `truth` its pictures, `maps` (name, control, picture)."""

    about: Mapping[str, Any]
    clip: str
    truth: str
    maps: tuple[tuple[str, bool, str], ...]


def write_comparison_page(folder: str | Path) -> Path:
    """Write `comparison.html` beside the tables in `folder`. Raises `DataError` where they are missing."""
    place = Path(folder)
    try:
        facts = json.loads((place / "comparison.json").read_text(encoding="utf-8"))
        rows, agreement = _table(place / "leaderboard.csv"), _table(place / "agreement.csv")
    except (OSError, ValueError) as error:
        raise DataError(f"{place} must hold what `vidence compare` wrote; {error}. Compare again.") from error
    script, *styles = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("comparison.js", "report.css", "comparison.css")
    )
    style = "".join(styles)
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    text = environment().get_template("comparison.html").render(
        facts=facts,
        measures=[(line, facts["measures"].get(line, {})) for line in measures],
        lines=_lines(rows, measures, facts["mean_places"]),
        refused=_reasons(rows, failed=False),
        failed=_reasons(rows, failed=True),
        agreement={kind: [row for row in agreement if row["kind"] == kind] for kind in AGREEMENTS},
        kinds=AGREEMENTS,
        standing=STANDING,
        ranks=_embedded(place / facts["ranks"]) if facts.get("ranks") else None,
        examples=_examples(place / "examples", facts.get("examples", []), rows),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )  # fmt: skip
    out = place / "comparison.html"
    with written_aside(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return out


AGREEMENTS = {
    "reversal": "Do measures of faithfulness and of localisation rank the explainers alike?",
    "measures": "Do two measures rank the explainers of a clip alike?",
    "clips": "Would other clips rank them alike?",
    "maps": "Do two explainers show the same places?",
    "quiet": "How much does a map mark where nothing happens? (0: nothing, 1: as much as in clips with an event)",
}


def _lines(rows: Sequence[Row], measures: Sequence[str], places: Mapping[str, float]) -> list[Line]:
    """Best mean place first; without a place last, and without any number not at all."""
    made = []
    for name in dict.fromkeys(row["explainer"] for row in rows):
        held = {row["measure"]: row for row in rows if row["explainer"] == name}
        any_row = next(iter(held.values()))
        cells = tuple(_cell(held[measure]) for measure in measures)
        if all(isinstance(cell, str) for cell in cells):
            continue
        counts = [int(any_row[name]) for name in ("forwards", "gradients") if any_row["forwards"]]
        passes = "{} F, {} G".format(*counts) if counts else ""
        seconds = float(any_row["seconds"]) if any_row["seconds"] else None
        control, passed = any_row["control"] == "1", sum(counts) if counts else None
        made.append(Line(name, control, cells, places.get(name), seconds, passes, passed))
    return sorted(made, key=lambda line: (line.place is None, line.place or 0.0))


def _reasons(rows: Sequence[Row], *, failed: bool) -> list[tuple[str, str]]:
    """Maps without a number and why, each reason once."""
    told = [row for row in rows if row["refused"] and (row["failed"] == "1") == failed]
    return list(dict.fromkeys((row["explainer"], row["refused"]) for row in told))


def _cell(row: Row) -> Cell | str:
    if not row["mean"]:
        return "says nothing of these clips" if not row["refused"] else "failed" if row["failed"] == "1" else "refused"
    beats = {name.removeprefix("beats "): said for name, said in row.items() if name.startswith("beats ") and said}
    standing = ""
    if beats and row["control"] != "1":
        standing = "good" if set(beats.values()) == {"yes"} else "bad" if "no" in beats.values() else ""
    words = {"yes": "above", "no": "below", "unclear": "not told apart from"}
    beside = "; ".join(f"{words[said]} {control}" for control, said in beats.items())
    interval = f"{_number(row['low'])} to {_number(row['high'])}"
    clips = f"{row['n']} clips of {row['sources']} sources"
    rank = f"{float(row['mean_rank']):.1f}" if row["mean_rank"] else ""
    return Cell(float(row["mean"]), _number(row["mean"]), interval, clips, rank, standing, beside)


def _number(text: str) -> str:
    return f"{float(text):.3g}"


def _examples(folder: Path, names: Sequence[str], rows: Sequence[Row]) -> list[Example]:
    """Those clips that were drawn, maps in the order of the table."""
    order = {row["explainer"]: row["control"] == "1" for row in rows}
    made = []
    for name in names:
        about = folder / name / "about.json"
        if not about.exists():
            continue
        held = json.loads(about.read_text(encoding="utf-8"))
        maps = tuple(
            (line, control, _embedded(folder / name / held["maps"][line]))
            for line, control in sorted(order.items(), key=lambda each: each[1])
            if line in held["maps"]
        )
        clip, truth = (_embedded(folder / name / f"{one}.jpg") for one in ("input", "truth"))
        made.append(Example(held, clip, truth, maps))
    return made


def _table(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _embedded(path: Path) -> str:
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
