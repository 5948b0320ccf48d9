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
from vidence.evaluate.thesis_tables import COSTS

BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "0.65"
PAPER = ("paper_frame_auc", "paper_eer", "paper_precision", "paper_recall", "paper_f1", "class_mean_auc")
LIVE = ("live_frame_auc", "live_frame_ap", "live_eer", "live_pixel_auc", "live_pro")
ALARMS = ("live_event_delay_s", "live_false_alarms_per_hour")
COLUMNS = (*PAPER, *LIVE, *ALARMS, *COSTS, "mse", "mean_frame_mse")
LOWEST = 0.4  # AUC where the bars begin, unless one is shorter
THESIS = {"auc": "paper_frame_auc", "eer": "paper_eer", "f1": "paper_f1", "class_mean_auc": "class_mean_auc"}


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
    """Bring the ledger's runs together; rows that were not run are left out. Of a row that was trained for different
    numbers of epochs, the longest trainings count.
    """
    made = []
    for row in rows:
        own = [run for run in runs if run["row"] == row.name]
        if not own:
            continue
        epochs = max(int(run["epochs"]) for run in own)
        held = [run for run in own if int(run["epochs"]) == epochs]
        names = (*COLUMNS, *sorted({name for run in held for name in run if name.startswith("auc_")}))
        columns = {name: _finite([run.get(name, math.nan) for run in held]) for name in names}
        means = {name: float(values.mean()) if len(values) else math.nan for name, values in columns.items()}
        spread = {name: float(values.std(ddof=1)) if len(values) > 1 else math.nan for name, values in columns.items()}
        plateau = all(str(run["plateau"]) == "True" for run in held)
        made.append(Line(row, len(held), epochs, plateau, means, spread, printed(dataset, row)))
    return made


def text(dataset: str, found: Sequence[Line]) -> str:
    """The table in Markdown: in the paper's protocol beside what the thesis prints, then live; and what follows."""
    pairs = [key for key in THESIS if any(key in each.thesis for each in found)]
    classes = sorted({name for each in found for name in each.means if name.startswith("auc_")})
    head = ["row", "table"]
    head += [f"{key.replace('_', ' ')}: thesis / ours" for key in pairs] if pairs else ["auc, paper"]
    head += ["live auc", "live eer", "pixel auc", "pro", "runs x epochs", "state"]
    body = []
    for each in found:
        ours = [(each.thesis.get(key, math.nan), _spread(each, THESIS[key])) for key in pairs]
        cells = [f"{_percent(thesis) or '-'} / {own or '-'}" for thesis, own in ours]
        cells = cells or [_spread(each, "paper_frame_auc")]
        cells += [_spread(each, name) for name in ("live_frame_auc", "live_eer", "live_pixel_auc", "live_pro")]
        body.append([each.row.name, each.row.table, *cells, f"{each.runs} x {each.epochs}", each.state])
    said = [f"## {dataset}", "", *_markdown(head, body), "", verdict(found)]
    if len(classes) > 1:
        rows = [[each.row.name, *(_spread(each, name) for name in classes)] for each in found]
        said += ["", *_markdown(["AUC per class", *(name.removeprefix("auc_") for name in classes)], rows)]
    return "\n".join(said) + "\n"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]


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
    """All means and deviations, full digits, and what the thesis prints."""
    names = list(dict.fromkeys(name for each in found for name in each.means))
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        about = ["row", "table", "line", "runs", "epochs", "plateau"]
        printed = ["auc", "eer", "precision", "recall", "f1", "class_mean_auc"]
        spread = [each for name in names for each in (name, f"{name}_sd")]
        writer.writerow([*about, *(f"thesis_{key}" for key in printed), *spread])
        for each in found:
            plain = [each.row.name, each.row.table, each.row.line, each.runs, each.epochs, each.plateau]
            thesis = [each.thesis.get(key, math.nan) for key in printed]
            pairs = [(each.means.get(name, math.nan), each.deviations.get(name, math.nan)) for name in names]
            writer.writerow([*plain, *thesis, *(value for pair in pairs for value in pair)])


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
    lowest = min(_finite([value for _, _, values, _ in series for value in values]), default=LOWEST)
    axes.set(ylim=(max(0.0, min(LOWEST, lowest - 0.05)), 1.0), ylabel="AUC-ROC", title=title)
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
    mean, spread = _percent(line.means.get(name, math.nan)), _percent(line.deviations.get(name, math.nan))
    return f"{mean} ± {spread}" if mean and spread else mean
