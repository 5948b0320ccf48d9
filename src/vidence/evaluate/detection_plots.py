"""The pictures of an evaluation: ROC curves of both protocols, and each source's scores over the ground truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from vidence.aside import written_aside
from vidence.evaluate.alarms import stretches
from vidence.evaluate.evaluation import Evaluation
from vidence.evaluate.protocols import PROTOCOLS
from vidence.evaluate.tracks import Track
from vidence.render.lettering import number

BLUE, ORANGE, SHADE, GREY = "#0072b2", "#d55e00", "#f5a623", "#444444"
COLOURS, WIDTHS = {"live": BLUE, "paper": ORANGE}, {"live": 1.8, "paper": 1.0}
LEGEND = {"live": "live (causal)", "paper": "paper (sees the whole video first)"}
MOST = 48  # panels of a timeline; a set may have hundreds of sources
COLUMNS = 3


def write_roc(path: Path, found: Evaluation) -> None:
    """ROC curves of both protocols, with the point of the detector's own threshold and the line of equal errors."""
    figure = Figure(figsize=(5.6, 5.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    truth = np.concatenate(found.truths)
    drawn = truth.any() and not truth.all()
    for protocol in PROTOCOLS if drawn else ():
        fpr, tpr, _ = roc_curve(truth, np.concatenate(found.scores(protocol)))
        auc = float(np.trapezoid(tpr, fpr))
        axes.plot(
            fpr, tpr, color=COLOURS[protocol], linewidth=WIDTHS[protocol], label=f"{LEGEND[protocol]}: AUC {auc:.3f}"
        )
    if drawn and found.threshold is not None:
        above = np.concatenate(found.scores("live")) > float(found.threshold["value"])
        point = float(above[~truth].mean()), float(above[truth].mean())
        axes.plot(*point, "o", color=BLUE, markersize=7, label="the detector's own threshold")
    axes.plot([0, 1], [1, 0], color=GREY, linewidth=0.8, linestyle=":", label="misses = false alarms")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="chance")
    what = "images" if found.stills else "frames"
    axes.set(xlabel=f"normal {what} above the threshold", ylabel=f"anomalous {what} above the threshold")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if not drawn:
        axes.set_title(f"no curve: the {what} are all of one kind", fontsize=10)
    axes.legend(framealpha=1, edgecolor="none", fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
    _write(figure, path)


def write_timeline(path: Path, found: Evaluation) -> None:
    """One panel per video: the live score, the threshold, the anomalous stretches shaded; the paper's curve thin.

    The paper's curve runs from 0 to 1 by its making, and has an axis of its own. Of more than 48 videos the first are
    drawn. Single pictures are drawn as dots, label by label.
    """
    if found.stills:
        _dots(path, found)
        return
    tracks, paper = found.tracks[:MOST], found.scores("paper")
    columns = min(COLUMNS, len(tracks))
    rows = math.ceil(len(tracks) / columns)
    figure = Figure(figsize=(5.2 * columns, 1.7 * rows + 0.9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place < len(tracks):
            _timeline(axes, tracks[place], paper[place], found.threshold)
        else:
            axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("live score", fontsize=8)
    for place in range(max(len(tracks) - columns, 0), len(tracks)):
        grid.flat[place].set_xlabel("seconds", fontsize=8)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    if len(found.tracks) > MOST:
        figure.suptitle(f"the first {MOST} of {len(found.tracks)} videos", fontsize=9, x=0.99, ha="right")
    _write(figure, path)


def _timeline(axes: Any, track: Track, paper: np.ndarray, threshold: dict[str, Any] | None) -> None:
    seconds = track.times[track.frames]
    half = float(np.median(np.diff(track.times))) / 2 if len(track.times) > 1 else 0.5
    for place, (begun, ended) in enumerate(stretches(track.times, track.anomalous)):
        label = "anomalous (ground truth)" if place == 0 else None
        axes.axvspan(begun - half, ended + half, color=SHADE, alpha=0.25, linewidth=0, label=label)
    axes.plot(seconds, track.live, color=BLUE, linewidth=1.3, label="live score", zorder=3)
    if threshold is not None:
        value = float(threshold["value"])
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), label=f"threshold {number(value)}")
    beside = axes.twinx()
    beside.plot(seconds, paper, color=ORANGE, linewidth=0.6)
    beside.set(ylim=(-0.05, 1.05))
    beside.set_yticks([0, 1], labels=["0", "1"], fontsize=6, color=ORANGE)
    axes.plot([], [], color=ORANGE, linewidth=0.6, label="paper's score (right axis): sees the whole video first")
    axes.set_title("/".join(Path(track.sample.path).parts[-2:]), fontsize=8, loc="left", pad=2, parse_math=False)
    axes.set_xlim(track.times[0] - half, track.times[-1] + half)
    axes.tick_params(labelsize=7)
    axes.spines["top"].set_visible(False)
    beside.spines["top"].set_visible(False)


def _dots(path: Path, found: Evaluation) -> None:
    """Every image's live score, label by label, spread a little so that they can be told apart."""
    kinds = {(bool(track.anomalous[0]), track.sample.label) for track in found.tracks}
    labels = list(dict.fromkeys(label for _, label in sorted(kinds)))
    figure = Figure(figsize=(max(5.0, 1.1 * len(labels) + 2), 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes, rng = figure.add_subplot(), np.random.default_rng(0)
    for place, label in enumerate(labels):
        held = [track for track in found.tracks if track.sample.label == label and len(track.live)]
        across = place + rng.uniform(-0.25, 0.25, len(held))
        colours = [ORANGE if track.anomalous[0] else BLUE for track in held]
        axes.scatter(across, [track.live[0] for track in held], s=8, c=colours, alpha=0.6, linewidths=0)
    if found.threshold is not None:
        value = float(found.threshold["value"])
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), label=f"threshold {number(value)}")
    for colour, label in ((BLUE, "normal"), (ORANGE, "anomalous (ground truth)")):
        axes.scatter([], [], s=8, c=colour, label=label)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylabel("live score")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")
