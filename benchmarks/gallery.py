"""Every explainer on one clip, as one page of pictures: a random map and a baseline that knows nothing beside them.

    .venv/bin/python benchmarks/gallery.py DETECTOR --out PICTURE.png                    a synthetic clip
    .venv/bin/python benchmarks/gallery.py DETECTOR --out gallery/fight.png --video FILE [--at SECONDS]

DETECTOR is a folder that `vidence train` or `vidence demo` left. A video's window is the one with the highest score, or
the first that shows the moment `--at`. Each picture shows the same frames of the clip, evenly spread, the map on one
scale over the clip, maps of single pixels summed over 8 x 8; where a method ran on a smaller budget than its own, its
caption says "reduced". `--full` takes every method's own defaults instead. A method that refuses the model is printed
with its sentence. Pictures of real people or of data sets belong into the folder `gallery/`, which is not committed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vidence import spec
from vidence.attribution import COMBINE, EXPLAINERS
from vidence.attribution.explainer import Explainer
from vidence.datasets.synthetic import Synthetic
from vidence.errors import ExplainError
from vidence.frames.clip import Clip
from vidence.frames.source import open_source
from vidence.models.detector import Detector, load_detector
from vidence.pipeline import default_score, explain
from vidence.record.facts import ClipRef
from vidence.render.heatmap import overlay
from vidence.render.sheet import write_sheet
from vidence.scoring.run import judge

FRAMES = 6  # shown of the clip
CELL = 8  # pixels
SEED = 4
KINDS = {**EXPLAINERS, **COMBINE}


@dataclass(frozen=True)
class Shown:
    """One map over the clip's frames (t, h, w, 3), or why there is none."""

    name: str
    pixels: np.ndarray | None
    refused: str = ""


def shown_clip(detector: Detector, video: Path | None, at: float | None, label: str) -> Clip:
    """The window of a video that decided, or a synthetic clip with an event, at the network's own size."""
    if video is None:
        made = Synthetic(event_frames=8).clip(label, SEED)
        clip = Clip(ClipRef(label, "0" * 64, 0, made.times), made.pixels)
        return clip if len(clip.pixels) == detector.windows.length else _cut(clip, detector.windows.length, made.mask)
    source = open_source(video)
    judged = judge(detector, source, threshold=float("inf"))
    chosen = judged.peak if at is None else next(each for each in judged.windows if each.overlaps(at, at))
    return detector.windows.at(source, chosen.ref.first)


def _cut(clip: Clip, length: int, mask: np.ndarray) -> Clip:
    """The `length` frames around the event's middle."""
    middle = int(np.flatnonzero(mask.any(axis=(1, 2))).mean())
    first = min(max(middle - length // 2, 0), len(clip.pixels) - length)
    times = clip.ref.times[first : first + length]
    return Clip(ClipRef(clip.ref.source, clip.ref.digest, first, times), clip.pixels[first : first + length])


def maps(detector: Detector, clip: Clip, keys: Sequence[str], score: str, *, full: bool) -> Iterator[Shown]:
    """The clip itself, the controls, and each explainer's map."""
    x = detector.prepare(clip)
    frames = np.ascontiguousarray((x[0].permute(1, 2, 3, 0).cpu().numpy() * 255).round().astype(np.uint8))
    yield Shown("the clip", frames)
    yield Shown("control: random", overlay(frames, np.random.default_rng(SEED).random(frames.shape[:3])))
    change = np.abs(np.diff(frames.astype(np.float32), axis=0, prepend=frames[:1].astype(np.float32))).sum(axis=3)
    yield Shown("control: difference to the frame before", overlay(frames, change))
    for key in track(keys, "explaining", console=Console(stderr=True), transient=True):
        explainer = KINDS[key]() if full else KINDS[key].quick()
        begun = time.monotonic()
        try:
            found = explain(detector, clip, explainer=explainer, score=score, certify=False)
        except ExplainError as error:
            yield Shown(key, None, str(error))
            continue
        took = time.monotonic() - begun
        yield Shown(f"{_name(key, explainer, full)}, {took:.1f} s", overlay(frames, _drawable(found.values, frames)))


def _drawable(values: Tensor, frames: np.ndarray) -> np.ndarray:
    """A map at the frames' size. One of single pixels is summed over cells first: its peaks are too thin to see."""
    height, width = (-(-side // CELL) for side in frames.shape[1:3])
    if tuple(values.shape[2:]) == frames.shape[1:3]:
        values = F.adaptive_avg_pool2d(values, (height, width))
    return F.interpolate(values, frames.shape[1:3], mode="bilinear")[0].cpu().numpy()


def _name(key: str, explainer: Explainer, full: bool) -> str:
    """The key, and whether the budget is less than the method's own."""
    return key if full or spec.line(explainer, KINDS) == spec.line(KINDS[key](), KINDS) else f"{key} (reduced)"


def strip(pixels: np.ndarray) -> np.ndarray:
    """A few frames side by side."""
    chosen = np.linspace(0, len(pixels) - 1, min(FRAMES, len(pixels))).round().astype(int)
    return np.concatenate([pixels[i] for i in chosen], axis=1)


def main() -> None:
    """Explain, draw, and print what was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--at", type=float, help="seconds")
    parser.add_argument("--event", default="cyclist", help="class of the synthetic clip")
    parser.add_argument("--explainer", action="append", choices=KINDS)
    parser.add_argument("--score", help="what is explained; by default the detector's own score")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    detector = load_detector(asked.detector)
    clip = shown_clip(detector, asked.video, asked.at, asked.event)
    score = asked.score or default_score(detector)
    found = list(maps(detector, clip, asked.explainer or list(KINDS), score, full=asked.full))
    drawn = [each for each in found if each.pixels is not None]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    title = f"{len(drawn) - 3} explainers of {spec.parse(detector.spec).key}"
    text = f"explained: {score}; frames from left to right; each map on one scale over the clip"
    strips, names = [strip(each.pixels) for each in found if each.pixels is not None], [each.name for each in drawn]
    write_sheet(asked.out, strips, names, title=title, text=text, columns=2)
    for each in found:
        if each.refused:
            print(f"{each.name}: {each.refused}")


if __name__ == "__main__":
    main()
