"""The measures of each epoch, as CSV and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidence.aside import written_aside

Row = Mapping[str, float]


def write_log(path: Path, rows: Sequence[Row]) -> None:
    """One CSV row per epoch; the whole file is written anew, so that a resumed fit leaves no row twice."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_curve(path: Path, rows: Sequence[Row], *, best: int) -> None:
    """PNG with each measure of training and validation; a line marks the epoch whose weights are kept."""
    names = [name.removeprefix("train_") for name in rows[0] if name.startswith("train_")]
    figure = Figure(figsize=(4 * len(names), 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in rows]
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for part, colour in (("train", "#0072b2"), ("val", "#d55e00")):
            axes.plot(epochs, [row[f"{part}_{name}"] for row in rows], color=colour, label=part, marker=".", ms=4)
        axes.axvline(best, color="0.5", lw=1, ls=":", label=f"kept: epoch {best}")
        axes.set(xlabel="epoch", ylabel=name, ylim=(0.0, 1.02 if name == "accuracy" else None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")
