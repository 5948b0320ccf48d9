"""Does the map lie on the anomaly? Measures against a known mask, with controls and intervals (methods.md B.3).

A map is float (t, h, w) at the mask's size and its positive part counts; a mask is bool (t, h, w). Where several places
are strongest, one of them is drawn at random.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidence.attribution.explainer import Explainer
from vidence.errors import DataError, ShapeError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit, resize_map
from vidence.scoring.scores import Logit, ScoreFunction, logits_of, pinned

Map: TypeAlias = Float[np.ndarray, "t h w"]
Mask: TypeAlias = Bool[np.ndarray, "t h w"]
Measure: TypeAlias = Callable[[Map, Mask, np.random.Generator], float]

TOLERANCE = 1 / 16  # of the shorter side: Li et al. allow 7 pixels at 112
RESAMPLES = 2000


def mass_inside(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """Share of the positive mass inside the mask, in [0, 1]; 0 where there is none (relevance mass accuracy)."""
    positive = np.maximum(values, 0, dtype=np.float64)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else 0.0


def mass_ratio(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """`mass_inside` over the mask's share of the volume: a constant map has 1."""
    return mass_inside(values, mask, rng) / float(mask.mean())


def pointing(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """1 if the strongest place of the volume lies in the mask, grown in each frame by 1/16 of the shorter side."""
    t, y, x = np.unravel_index(_strongest(values, rng), values.shape)
    return float(grown(mask)[t, y, x])


def pointing_exact(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """`pointing` without tolerance."""
    return float(mask.reshape(-1)[_strongest(values, rng)])


def pointing_frames(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """Share of the frames with a mask whose strongest place lies in it, with the tolerance of `pointing`."""
    wide = grown(mask)
    frames = np.flatnonzero(mask.any(axis=(1, 2)))
    return float(np.mean([wide[t].reshape(-1)[_strongest(values[t], rng)] for t in frames]))


def strongest_frame(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """1 if the frame with the largest positive mass is one of the event (temporal pointing)."""
    mass = np.maximum(values, 0, dtype=np.float64).sum(axis=(1, 2))
    return float(mask[_strongest(mass, rng)].any())


def rank_accuracy(values: Map, mask: Mask, rng: np.random.Generator) -> float:
    """Share of the |mask| strongest places that lie inside the mask (relevance rank accuracy)."""
    order = np.lexsort((rng.random(values.size), -values.reshape(-1)))
    held = mask.reshape(-1)[order[: int(mask.sum())]]
    return float(held.mean())


MEASURES: dict[str, Measure] = {
    "mass-inside": mass_inside,
    "mass-ratio": mass_ratio,
    "pointing": pointing,
    "pointing-exact": pointing_exact,
    "pointing-frames": pointing_frames,
    "strongest-frame": strongest_frame,
    "rank-accuracy": rank_accuracy,
}


def _strongest(values: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(values.reshape(-1) == values.max())))


def grown(mask: Mask) -> Mask:
    """The mask widened in each frame by `TOLERANCE` of the shorter side."""
    radius = round(min(mask.shape[1:]) * TOLERANCE)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.stack([cv2.dilate(frame.astype(np.uint8), disc) for frame in mask]).astype(bool)


def random_map(pixels: np.ndarray, rng: np.random.Generator) -> Map:
    """Independent uniform noise: what chance reaches."""
    return rng.random(pixels.shape[:3], np.float32)


def centre_map(pixels: np.ndarray, rng: np.random.Generator) -> Map:
    """A Gaussian at the centre, a quarter of each side wide, in every frame: what framing alone reaches."""
    t, h, w = pixels.shape[:3]
    y, x = ((np.arange(side, dtype=np.float32) + 0.5) / side - 0.5 for side in (h, w))
    picture = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * 0.25**2))
    return np.broadcast_to(picture, (t, h, w))


def change_map(pixels: np.ndarray, rng: np.random.Generator) -> Map:
    """Absolute difference to the frame before (the first frame: to the next): what motion alone reaches."""
    grey = pixels.astype(np.float32).mean(axis=-1)
    steps = np.abs(np.diff(grey, axis=0))
    return np.concatenate([steps[:1], steps]) if len(steps) else np.zeros_like(grey)


CONTROLS: dict[str, Callable[[np.ndarray, np.random.Generator], Map]] = {
    "random": random_map,
    "centre": centre_map,
    "frame-difference": change_map,
}


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A clip whose anomaly is known: `mask` (t, h, w) at the clip's pixels (empty: nothing happens), and its class."""

    clip: Clip
    mask: Mask
    label: str

    def __post_init__(self) -> None:
        if self.mask.dtype != bool or self.mask.shape != self.clip.pixels.shape[:3]:
            raise ShapeError(
                f"a mask must be bool {self.clip.pixels.shape[:3]}, like its clip; got {self.mask.dtype} "
                f"{self.mask.shape}."
            )


class Explained(Protocol):
    """What of a detector is needed: a network, its input, its place in the picture, and its classes."""

    network: nn.Module
    classes: tuple[str, ...]
    normal: tuple[str, ...]
    fit: Fit

    def prepare(self, clip: Clip) -> Float[Tensor, "1 c t h w"]:
        """The network's input."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One explainer (or control) under one measure: mean over `n` clips and its 95 % bootstrap interval."""

    explainer: str
    measure: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Localisation:
    """The table. `quiet` is, per explainer, the mean positive mass on clips without anomaly over that on clips with one
    (None where there are none of the former); `accuracy` the share of clips that the detector classifies right;
    `clips` the values behind the means, by (explainer, measure), in the order of the clips.
    """

    rows: tuple[Row, ...]
    clips: Mapping[tuple[str, str], tuple[float, ...]]
    quiet: Mapping[str, float | None]
    accuracy: float
    seed: int

    def row(self, explainer: str, measure: str) -> Row:
        """One row. Raises `KeyError` for one that was not measured."""
        return {(row.explainer, row.measure): row for row in self.rows}[explainer, measure]

    def not_better(self, measure: str = "mass-ratio") -> dict[str, tuple[str, ...]]:
        """Explainers with the controls they do not beat: the 95 % interval of the paired difference reaches 0."""
        weak = {}
        for name in (name for name, held in self.clips if held == measure and name not in CONTROLS):
            mine = np.array(self.clips[name, measure])
            gains = {control: mine - np.array(self.clips[control, measure]) for control in CONTROLS}
            weak[name] = tuple(control for control, gain in gains.items() if interval(gain, seed=self.seed)[1] <= 0)
        return {name: controls for name, controls in weak.items() if controls}

    def markdown(self) -> str:
        """A table with a row per explainer: mean [95 % interval]."""
        measures = list(dict.fromkeys(row.measure for row in self.rows))
        lines = ["| map | " + " | ".join(measures) + " | mass without event |", "|---" * (len(measures) + 2) + "|"]
        for name in dict.fromkeys(row.explainer for row in self.rows):
            cells = [self.row(name, measure) for measure in measures]
            quiet = self.quiet.get(name)
            shown = [f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]" for cell in cells]
            lines.append(f"| {name} | " + " | ".join([*shown, "" if quiet is None else f"{quiet:.2f}"]) + " |")
        n = max(row.n for row in self.rows)
        lines.append(f"\n{n} clips with an anomaly; accuracy on all {self.accuracy:.3f}; seed {self.seed}.")
        return "\n".join(lines) + "\n"

    def write_csv(self, path: str | Path) -> None:
        """One line per row."""
        aside = Path(path).with_name(f".{Path(path).name}")
        with aside.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["explainer", "measure", "mean", "low", "high", "n", "quiet"])
            for row in self.rows:
                quiet = self.quiet.get(row.explainer)
                numbers = [f"{value:.6g}" for value in (row.mean, row.low, row.high)]
                table.writerow([row.explainer, row.measure, *numbers, row.n, "" if quiet is None else f"{quiet:.6g}"])
        os.replace(aside, path)


def localise(
    detector: Explained,
    explainers: Mapping[str, Explainer],
    clips: Iterable[Marked],
    *,
    score: ScoreFunction | None = None,
    measures: Sequence[str] = tuple(MEASURES),
    seed: int = 0,
) -> Localisation:
    """Measure explainers and controls on clips of known truth.

    Explained is `score`, by default the logit of the clip's own class, right or wrong; in clips without anomaly, the
    strongest anomalous class. Maps are brought to the clip's pixels before they are measured. Raises `DataError` when
    no clip has an anomaly.
    """
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], list[float]] = {}
    masses: dict[tuple[str, bool], list[float]] = {}
    right = []
    for marked in clips:
        x = detector.prepare(marked.clip)
        with torch.no_grad():
            output = detector.network(x)
        right.append(detector.classes[int(logits_of(output).argmax())] == marked.label)
        chosen = pinned(score or _target(detector, marked, output), output, x)
        maps = {
            name: _at_pixels(each(detector.network, x, chosen), detector, marked) for name, each in explainers.items()
        }
        event = bool(marked.mask.any())
        for name, values in maps.items():
            masses.setdefault((name, event), []).append(float(np.maximum(values, 0).sum()))
        if event:
            maps |= {name: control(marked.clip.pixels, rng) for name, control in CONTROLS.items()}
            for name, values in maps.items():
                for measure in measures:
                    found.setdefault((name, measure), []).append(MEASURES[measure](values, marked.mask, rng))
    if not found:
        raise DataError(f"localisation needs clips with an anomaly; none of {len(right)} clips has one.")
    rows = tuple(
        Row(name, measure, *interval(values, seed=seed), len(values)) for (name, measure), values in found.items()
    )
    quiet = {name: _quiet(masses, name) for name in explainers}
    held = {key: tuple(each) for key, each in found.items()}
    return Localisation(rows, held, quiet, float(np.mean(right)), seed)


def _target(detector: Explained, marked: Marked, output: Tensor) -> ScoreFunction:
    """The logit of the clip's class; of the strongest anomalous class where nothing happens."""
    if marked.mask.any():
        return Logit(marked.label).named(detector.classes)
    logits = logits_of(output)[0]
    anomalous = [k for k, name in enumerate(detector.classes) if name not in detector.normal]
    return Logit(max(anomalous, key=lambda k: float(logits[k])))


def _at_pixels(values: Float[Tensor, "1 t h w"], detector: Explained, marked: Marked) -> Map:
    size = (marked.mask.shape[1], marked.mask.shape[2])
    grid = (values.shape[2], values.shape[3])
    return resize_map(values[0].detach().cpu().numpy(), detector.fit.to_source(size, grid), size)


def _quiet(masses: Mapping[tuple[str, bool], Sequence[float]], name: str) -> float | None:
    loud = float(np.mean(masses[name, True]))
    return float(np.mean(masses[name, False])) / loud if (name, False) in masses and loud > 0 else None


def interval(values: Sequence[float] | Float[np.ndarray, " m"], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % percentile-bootstrap interval over clips."""
    held = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(held), (RESAMPLES, len(held)))
    low, high = np.quantile(held[draws].mean(axis=1), [0.025, 0.975])
    return float(held.mean()), float(low), float(high)
