"""What accuracy costs: detectors by AUC against parameters, operations and speed, and which of them none surpasses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidence.aside import written_aside

COSTS = {  # key of a row: its axis, and whether more of it is better
    "parameters": ("parameters", False),
    "flops_per_frame": ("operations a frame", False),
    "frames_per_s": ("frames a second (this machine)", True),
}
AUC = "live_frame_auc"  # key of a row
BLUE, ORANGE = "#0072b2", "#d55e00"
NAMED = 24  # points that get their name; more would be unreadable


def frontier(gain: Float[np.ndarray, " n"], cost: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which points no other surpasses: as much gain for no more cost, and better in one of the two."""
    better = (gain[:, None] >= gain) & (cost[:, None] <= cost)
    strictly = (gain[:, None] > gain) | (cost[:, None] < cost)
    return np.asarray(~(better & strictly).any(axis=0))


def write_pareto(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Plot rows with a `name`, their live AUC, and the costs of `COSTS` as far as they are known.

    One panel per cost, logarithmic; 0 stands at the edge, marked so. Rows without the figure or the cost are left out
    of a panel.
    """
    figure = Figure(figsize=(15, 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, (label, more)) in zip(figure.subplots(1, len(COSTS), sharey=True), COSTS.items(), strict=True):
        _panel(axes, [row for row in rows if _known(row.get(AUC)) and _known(row.get(key))], key, more=more)
        axes.set(xlabel=f"{label}  ({'more' if more else 'less'} is better)")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("live frame AUC")
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def _panel(axes: Any, rows: Sequence[Mapping[str, Any]], key: str, *, more: bool) -> None:
    if not rows:
        axes.set_axis_off()
        return
    gain, amount = (np.array([float(row[name]) for row in rows]) for name in (AUC, key))
    best = frontier(gain, -amount if more else amount)
    least = amount[amount > 0].min() if (amount > 0).any() else 1.0
    place = np.where(amount > 0, amount, least / 4)
    order = np.argsort(place[best])
    axes.plot(place[best][order], gain[best][order], color=ORANGE, linewidth=1.2, zorder=1)
    axes.scatter(place, gain, s=22, color=np.where(best, ORANGE, BLUE), zorder=2)
    axes.set_xscale("log")
    for i in range(len(rows)):
        if len(rows) > NAMED and not best[i]:
            continue
        right = place[i] > math.sqrt(place.min() * place.max())
        axes.annotate(
            rows[i]["name"] if amount[i] > 0 else f"{rows[i]['name']} (0)",
            (place[i], gain[i]),
            xytext=(-4 if right else 4, 4),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=7,
        )


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
