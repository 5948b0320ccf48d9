"""The score over time as a picture for reports and pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidence.aside import written_aside
from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render.lettering import number

_LINE, _SHADE, _GREY = "#1f6fa8", "#f5a623", "#444444"


def require_curve(
    times: Sequence[float], values: Sequence[float]
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Both as float64 arrays; raise `ShapeError` unless they fit, are finite, and the times never decrease."""
    seconds, scores = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if seconds.ndim != 1 or seconds.shape != scores.shape or not len(seconds):
        raise ShapeError(
            f"a curve needs as many values as times, at least one; got {scores.shape} and {seconds.shape}."
        )
    if not (np.isfinite(seconds).all() and np.isfinite(scores).all()) or np.any(np.diff(seconds) < 0):
        raise ShapeError("a curve's times and values must be finite and its times never decrease. Sort by time.")
    return seconds, scores


def score_range(scores: Float[np.ndarray, " t"], threshold: float | None) -> tuple[float, float]:
    """The ends of the score's axis: 0 to 1 where all lies inside, else what the values need, with a margin."""
    held = scores if threshold is None or not np.isfinite(threshold) else np.append(scores, threshold)
    low, high = float(held.min()), float(held.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def event_span(event: Event, seconds: Float[np.ndarray, " t"]) -> tuple[float, float]:
    """Where to shade an event: half a frame beyond its first and last frame, so that a single one is seen."""
    half = float(np.median(np.diff(seconds))) / 2 if len(seconds) > 1 else 0.5
    return event.first_s - half, event.last_s + half


def curve_png(
    path: str | Path,
    times: Sequence[float],
    values: Sequence[float],
    threshold: float | None = None,
    events: Sequence[Event] = (),
    *,
    name: str = "anomaly score",
    title: str = "",
    size: tuple[float, float] = (9.0, 2.8),
) -> None:
    """Plot the score of one source on white paper: seconds along, the threshold dashed, events shaded and dated.

    `name` labels the score's axis; `size` is width, height in inches at 150 pixels each.
    """
    seconds, scores = require_curve(times, values)
    low, high = score_range(scores, threshold)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for event in events:
        _shade(axes, event, event_span(event, seconds), dated=len(events) <= 6)
    single = len(seconds) == 1
    axes.plot(seconds, scores, color=_LINE, linewidth=1.6, marker="o" if single else None)
    if threshold is not None and np.isfinite(threshold):
        axes.axhline(threshold, color=_GREY, linewidth=1, linestyle=(0, (5, 3)))
        _note(axes, f" threshold\n {number(threshold)}", (1, threshold), ("axes fraction", "data"), "left", "center")
    axes.set(xlabel="time in the source (s)", ylabel=name, ylim=(low, high + 0.02 * (high - low)))
    if not single:
        axes.set_xlim(float(seconds[0]), float(seconds[-1]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    if title:
        axes.set_title(title, loc="left", fontsize=10, parse_math=False, pad=14)
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def _shade(axes: Any, event: Event, span: tuple[float, float], *, dated: bool) -> None:
    axes.axvspan(*span, color=_SHADE, alpha=0.22, linewidth=0)
    if dated:
        middle = (event.first_s + event.last_s) / 2
        dates = f"{event.first_s:.2f}–{event.last_s:.2f} s"
        _note(axes, dates, (middle, 1.01), ("data", "axes fraction"), "center", "bottom")


def _note(axes: Any, text: str, at: tuple[float, float], where: tuple[str, str], across: str, along: str) -> None:
    axes.annotate(text, at, xycoords=where, ha=across, va=along, fontsize=7.5, color=_GREY, annotation_clip=False)
