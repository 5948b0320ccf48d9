"""The thesis' tables beside ours, as text, CSV and bar charts (its Figures 4.14 to 4.18)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidence.aside import written_aside
from vidence.evaluate.thesis_rows import Row, printed

BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "0.65"
SCORES = ("live_frame_auc", "paper_frame_auc", "live_frame_ap", "live_eer", "paper_eer", "live_pixel_auc", "live_pro")
COSTS = ("live_event_delay_s", "live_false_alarms_per_hour", "parameters", "flops_per_frame", "frames_per_s")
ERRORS = ("mse", "mean_frame_mse")


@dataclass(frozen=True, eq=False)
class Line:
    """One row of the printed table: means and deviations (n - 1) over seeds beside what the thesis prints."""

    row: Row
    runs: int
    epochs: int
    plateau: bool
    means: Mapping[str, float]
    deviations: Mapping[str, float]
    thesis: Mapping[str, float]

    @property
    def state(self) -> str:
        """Whether the curve had come to a plateau in every run."""
        if self.row.table == "baseline":
            return ""
        return "" if self.plateau else "unconverged"


def lines(dataset: str, rows: Sequence[Row], runs: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Bring the ledger's runs together; rows that were not run are left out."""
    made = []
    for row in rows:
        held = [run for run in runs if run["row"] == row.name]
        if not held:
            continue
        columns = {name: _finite([run[name] for run in held]) for name in (*SCORES, *COSTS, *ERRORS)}
        means = {name: float(values.mean()) if len(values) else math.nan for name, values in columns.items()}
        spread = {name: float(values.std(ddof=1)) if len(values) > 1 else math.nan for name, values in columns.items()}
        plateau = all(str(run["plateau"]) == "True" for run in held)
        epochs = max(int(run["epochs"]) for run in held)
        made.append(Line(row, len(held), epochs, plateau, means, spread, printed(dataset, row)))
    return made


def text(dataset: str, found: Sequence[Line]) -> str:
    """The table in Markdown, and what it says about the line to beat."""
    names = "row, table, thesis AUC (its own), ours paper, ours live, EER live, pixel AUC, PRO, runs x epochs, state"
    head = "| " + " | ".join(names.split(", ")) + " |"
    body = [
        f"| {each.row.name} | {each.row.table} | {_percent(each.thesis.get('auc', math.nan))} "
        f"| {_spread(each, 'paper_frame_auc')} | {_spread(each, 'live_frame_auc')} | {_spread(each, 'live_eer')} "
        f"| {_percent(each.means['live_pixel_auc'])} | {_percent(each.means['live_pro'])} "
        f"| {each.runs} x {each.epochs} | {each.state} |"
        for each in found
    ]
    return "\n".join([f"## {dataset}", "", head, "|---" * 10 + "|", *body, "", verdict(found)]) + "\n"


def verdict(found: Sequence[Line]) -> str:
    """Whether the rows beat the best trivial detector, in each protocol."""
    trivial = [each for each in found if each.row.table == "baseline"]
    others = [each for each in found if each.row.table != "baseline"]
    if not trivial or not others:
        return "Without trivial detectors or without others in the table there is nothing to compare."
    said = []
    for protocol, words in (("paper", "per-video min-max, sees the whole video"), ("live", "causal")):
        name = f"{protocol}_frame_auc"
        beat = max(trivial, key=lambda each: each.means[name])
        above = [each for each in others if each.means[name] > beat.means[name]]
        listed = ", ".join(f"{each.row.name} {_percent(each.means[name])}" for each in above) or "none"
        said.append(
            f"`{protocol}` ({words}): the best trivial detector is {beat.row.name} with {_percent(beat.means[name])}; "
            f"{len(above)} of {len(others)} rows are above it: {listed}."
        )
    return "\n".join(said)


def write_csv(path: Path, found: Sequence[Line]) -> None:
    """All means and deviations, full digits."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        names = [name for key in (*SCORES, *COSTS, *ERRORS) for name in (key, f"{key}_sd")]
        writer = csv.writer(file)
        writer.writerow(["row", "table", "line", "runs", "epochs", "plateau", "thesis_auc", "thesis_eer", *names])
        for each in found:
            values = [value for key in (*SCORES, *COSTS, *ERRORS) for value in (each.means[key], each.deviations[key])]
            thesis = [each.thesis.get(key, math.nan) for key in ("auc", "eer")]
            plain = [each.row.name, each.row.table, each.row.line, each.runs, each.epochs, each.plateau, *thesis]
            writer.writerow([*plain, *values])


def draw(path: Path, dataset: str, found: Sequence[Line]) -> None:
    """Bars of AUC: what the thesis prints, ours by its protocol, ours live; lines at the best trivial detector."""
    figure = Figure(figsize=(max(7.0, 0.75 * len(found) + 2), 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    place = np.arange(len(found))
    series = (
        ("thesis (its protocol)", GRAY, [each.thesis.get("auc", math.nan) for each in found], None),
        ("ours, paper protocol", BLUE, [each.means["paper_frame_auc"] for each in found], "paper_frame_auc"),
        ("ours, live (causal)", ORANGE, [each.means["live_frame_auc"] for each in found], "live_frame_auc"),
    )
    for shift, (label, colour, values, name) in enumerate(series):
        spread = None if name is None else [each.deviations[name] for each in found]
        axes.bar(place + (shift - 1) * 0.27, values, 0.27, color=colour, label=label, yerr=spread, ecolor="0.2")
    trivial = [each for each in found if each.row.table == "baseline"]
    for name, colour in (("paper_frame_auc", BLUE), ("live_frame_auc", ORANGE)) if trivial else ():
        axes.axhline(max(each.means[name] for each in trivial), color=colour, lw=1, ls="--")
    names = [each.row.name + ("*" if each.state else "") for each in found]
    axes.set_xticks(place, names, rotation=60, ha="right", fontsize="small")
    title = f"{dataset}: frame AUC (dashed: best trivial detector; * not converged)"
    axes.set(ylim=(0.4, 1.0), ylabel="AUC-ROC", title=title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="upper left")
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def _finite(values: Sequence[Any]) -> np.ndarray:
    numbers = np.array([float(value) if value != "" else math.nan for value in values])
    return numbers[np.isfinite(numbers)]


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _spread(line: Line, name: str) -> str:
    mean, spread = _percent(line.means[name]), _percent(line.deviations[name])
    return f"{mean} ± {spread}" if mean and spread else mean
