"""What each attribute and choice of `motion-attributes` is worth on UCSD Ped2.

    .venv/bin/python benchmarks/motion_ablation.py --root PED2 --out FOLDER [--line "motion-attributes(block=8)" ...]

Choices are made by the first table, of official training clips alone: every fourth is held out, the scales come from
two more, the rest is learnt. Anomalies of the kinds in `vidence.motion.staged` are staged in the held-out clips. A
figure is the frame AUC of one kind's staged frames against all frames of the held-out clips as they are; a row's first
figure is the mean over kinds. `--test` gives the official test clips' pooled, causal frame AUC in place of it, which
no choice is made by.

Each line is fitted once with all groups; subsets, rules and smoothing are then read off the same distances. A frame's
score is the logarithm of 1 + its highest cell's, smoothed. `--fuse ONE OTHER` measures two trained detectors on the
test clips instead, and the mean and the maximum of their live scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from sklearn.metrics import roc_auc_score

from vidence import spec
from vidence.datasets.dataset import Sample
from vidence.datasets.opened import open_dataset
from vidence.frames.clip import Frame
from vidence.models import DETECTORS, load_detector
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.motion.flow import FLOWS
from vidence.motion.staged import KINDS, staged
from vidence.scoring.run import judge

SINGLE = ("speed", "direction", "acceleration", "size", "shape", "manner")
SUBSETS = (
    *((name,) for name in SINGLE),
    ("speed", "manner"),
    ("speed", "direction", "shape"),
    ("speed", "size", "manner"),
    ("speed", "acceleration", "manner"),
    SINGLE,
)
SMOOTH = (1, 5, 7)
DRAWS = 2  # of each kind and clip
Distances = list[np.ndarray]  # of each frame (m, g), all groups


@dataclass(frozen=True)
class Shown:
    """Frames as a source."""

    name: str
    frames: Sequence[Frame]
    digest: str = "0" * 64

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames


def remembered(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same flow, computed once for each pair of pictures."""
    between, held = make(), dict[bytes, np.ndarray]()

    def look(now: np.ndarray, other: np.ndarray) -> np.ndarray:
        key = hashlib.blake2b(now.tobytes() + other.tobytes(), digest_size=16).digest()
        if key not in held:
            held[key] = between(now, other).copy()
        return held[key]

    return lambda: look


class Validation:
    """The official training clips in three parts, and what is staged in the held-out ones."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        ordered = sorted(samples, key=lambda one: one.path)
        held = ordered[2::4]
        others = [one for one in ordered if one not in held]
        self.learnt, self.scaled = others[:-2], others[-2:]
        self.plain = [Shown(one.path, list(one.open())) for one in held]
        self.staged: dict[str, list[tuple[Shown, np.ndarray]]] = {kind: [] for kind in KINDS}
        for kind, seed, clip in ((kind, seed, clip) for kind in KINDS for seed in range(DRAWS) for clip in self.plain):
            made = staged(np.stack([frame.pixels for frame in clip.frames]), kind, seed=seed)
            if made is not None:
                times = [frame.time for frame in clip.frames]
                frames = [Frame(pixels, times[k]) for k, pixels in enumerate(made.pixels)]
                self.staged[kind].append((Shown(f"{clip.name} {kind} {seed}", frames), made.mask.any(axis=(1, 2))))

    def distances(self, detector: MotionAttributesDetector) -> dict[str, list[tuple[Distances, np.ndarray]]]:
        """By kind, the distances of each clip's frames, and which frames count as anomalous (of plain ones none)."""
        _learn(detector, self.learnt, self.scaled)
        found = {"plain": [(watched(detector, one), np.zeros(len(one.frames), bool)) for one in self.plain]}
        for kind, clips in track(self.staged.items(), detector.spec, transient=True):
            found[kind] = [(watched(detector, one), true) for one, true in clips]
        return found


def _learn(detector: MotionAttributesDetector, samples: Sequence[Sample], val: Sequence[Sample]) -> None:
    windows = detector.windows
    detector.learn((clip for one in samples for clip in windows.cut(one.open())), seed=0)
    detector.measure_scales(clip for one in val for clip in windows.cut(one.open()))


def watched(detector: MotionAttributesDetector, source: Any) -> Distances:
    """The distances of the moving cells of every frame."""
    return [seen.distances for seen in detector.watched(detector.windows.cut(source))]


def scores(clip: Distances, groups: Sequence[str], rule: str, smooth: int) -> np.ndarray:
    """A score for each frame."""
    columns = [SINGLE.index(name) for name in groups]
    ruled = [each[:, columns].sum(axis=1) if rule == "sum" else each[:, columns].max(axis=1) for each in clip]
    raw = np.log1p([float(each.max()) if len(each) else 0.0 for each in ruled])
    weights = np.ones(smooth)
    return np.convolve(raw, weights, "same") / np.convolve(np.ones(len(raw)), weights, "same")


def by_kind(found: Mapping[str, Any], *how: Any) -> dict[str, float]:
    """The frame AUC of each kind, in per cent."""
    normal = np.concatenate([scores(clip, *how) for clip, _ in found["plain"]])
    figures = {}
    for kind in KINDS:
        odd = np.concatenate([scores(clip, *how)[true] for clip, true in found[kind]])
        truth = np.repeat([False, True], [len(normal), len(odd)])
        figures[kind] = 100 * float(roc_auc_score(truth, np.concatenate([normal, odd])))
    return {"mean": float(np.mean(list(figures.values())))} | figures


def on_test(found: Sequence[Distances], truth: Sequence[np.ndarray], *how: Any) -> dict[str, float]:
    """Pooled over the clips, in per cent."""
    whole = np.concatenate([scores(clip, *how) for clip in found])
    return {"test": 100 * float(roc_auc_score(np.concatenate(truth), whole))}


def rows(line: str, figures: Callable[..., dict[str, float]]) -> Iterator[dict[str, Any]]:
    """The figures of every subset, rule and smoothing."""
    for groups in SUBSETS:
        for rule in ("sum", "max") if len(groups) > 1 else ("sum",):
            for smooth in SMOOTH:
                row = {"line": line, "groups": " + ".join(groups), "rule": rule if len(groups) > 1 else "-"}
                yield row | {"smooth": smooth} | figures(groups, rule, smooth)


def shown(found: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table."""
    names = list(found[0])
    lines = [[f"{each:.1f}" if isinstance(each, float) else str(each) for each in row.values()] for row in found]
    return "\n".join(f"| {' | '.join(each)} |" for each in (names, ["---"] * len(names), *lines))


def fused(folders: Sequence[Path], samples: Sequence[Sample], truths: list[np.ndarray]) -> str:
    """Two detectors and what comes of their live scores, on the test clips."""
    both = [load_detector(folder) for folder in folders]
    curves = [[judge(each, one.open(), threshold=0).curve.values for one in samples] for each in both]
    mixed = [[np.mean(each, axis=0) for each in zip(*curves, strict=True)]]
    mixed += [[np.max(each, axis=0) for each in zip(*curves, strict=True)]]
    names = (*(each.spec for each in both), "mean of both", "max of both")
    figures = [100 * roc_auc_score(np.concatenate(truths), np.concatenate(each)) for each in (*curves, *mixed)]
    return "\n".join(f"{figure:.1f}  {name}" for name, figure in zip(names, figures, strict=True))


def main() -> None:
    """Print a table for each line, and write them to `out`/ablation.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/motion-ablation"))
    parser.add_argument("--line", action="append")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--fuse", type=Path, nargs=2)
    asked = parser.parse_args()
    dataset = open_dataset("ucsd-ped2", root=asked.root)
    learnt, val, test = dataset.normal_split(0)
    truths = [dataset.truth(one, sum(1 for _ in one.open())).anomalous for one in test]
    if asked.fuse:
        print(fused(asked.fuse, test, truths))
        return
    FLOWS.update({name: remembered(make) for name, make in FLOWS.items()})  # type: ignore[attr-defined]
    validation = None if asked.test else Validation([*learnt, *val])
    asked.out.mkdir(parents=True, exist_ok=True)
    everything: list[dict[str, Any]] = []
    for line in asked.line or ["motion-attributes"]:
        settings = spec.build(line, DETECTORS)
        detector = replace(settings, groups=SINGLE, smooth=1, stride=1).build()
        if validation is not None:
            found = validation.distances(detector)
            made = list(rows(line, lambda *how, found=found: by_kind(found, *how)))
        else:
            _learn(detector, learnt, val)
            clips = [watched(detector, one.open()) for one in test]
            made = list(rows(line, lambda *how, clips=clips: on_test(clips, truths, *how)))
        everything += made
        print(shown(made), flush=True)
        (asked.out / "ablation.json").write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
