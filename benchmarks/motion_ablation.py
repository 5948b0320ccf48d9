"""What each attribute and choice of `motion-attributes` is worth on UCSD Ped2, on validation and on the test clips.

    .venv/bin/python benchmarks/motion_ablation.py --root PED2 --out FOLDER [--line "motion-attributes(block=8)" ...]

Validation: the held-out normal clips, and the same again with their middle third at twice the speed, whose frames are
the anomalies. The test figures are what a choice would have brought; nothing is chosen by them. Each line is fitted
once with all groups; subsets, rules and smoothing are then read off the same distances. A row is the pooled, causal
frame AUC of the logarithm of 1 + the highest cell's score. `--fuse ONE OTHER` measures two trained detectors instead,
and the mean and the maximum of their live scores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from vidence import spec
from vidence.datasets.dataset import Sample
from vidence.datasets.opened import open_dataset
from vidence.frames.clip import Frame
from vidence.frames.source import Source
from vidence.models import DETECTORS, load_detector
from vidence.models.attribute_memory import GROUPS
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.scoring.run import judge
from vidence.training.motion_fit import fit_motion

SUBSETS = (*((name,) for name in GROUPS), ("speed", "manner"), ("speed", "direction", "shape"), tuple(GROUPS))
SMOOTH = (1, 5, 7)
Distances = list[np.ndarray]  # of each frame (m, g), all groups


@dataclass(frozen=True)
class Faster:
    """A source whose frames from `first` to `stop` are shown at twice their speed."""

    source: Source
    first: int
    stop: int

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def __iter__(self) -> Iterator[Frame]:
        frames = list(self.source)
        kept = [k for k in range(len(frames)) if not (self.first <= k < self.stop and (k - self.first) % 2)]
        for k, place in enumerate(kept):
            yield Frame(frames[place].pixels, frames[k].time)


def watched(detector: MotionAttributesDetector, source: Source) -> Distances:
    """The distances of the moving cells of every frame."""
    return [seen.distances for seen in detector.watched(detector.windows.cut(source))]


def validation(detector: MotionAttributesDetector, val: Sequence[Sample]) -> tuple[list[Distances], list[np.ndarray]]:
    """The held-out clips as they are, and with their middle third too fast."""
    found, truth = [], []
    for sample in val:
        plain = watched(detector, sample.open())
        third = len(plain) // 3
        fast = watched(detector, Faster(sample.open(), third, 2 * third))  # type: ignore[arg-type]  # by __getattr__
        quick = np.arange(len(fast))
        found += [plain, fast]
        truth += [np.zeros(len(plain), bool), (quick >= third) & (quick < third + third // 2)]
    return found, truth


def auc(
    found: Sequence[Distances], truth: Sequence[np.ndarray], groups: Sequence[str], rule: str, smooth: int
) -> float:
    """Pooled over the clips, in per cent."""
    columns = [list(GROUPS).index(name) for name in groups]
    scores = []
    for clip in found:
        ruled = [each[:, columns].sum(axis=1) if rule == "sum" else each[:, columns].max(axis=1) for each in clip]
        raw = np.log1p([float(each.max()) if len(each) else 0.0 for each in ruled])
        weights = np.ones(smooth)
        scores.append(np.convolve(raw, weights, "same") / np.convolve(np.ones(len(raw)), weights, "same"))
    return 100 * float(roc_auc_score(np.concatenate(truth), np.concatenate(scores)))


def measure(line: str, parts: dict[str, Sequence[Sample]], truths: list[np.ndarray], out: Path) -> list[list[str]]:
    """The rows of one line of settings."""
    settings = spec.build(line, DETECTORS)
    detector = fit_motion(replace(settings, groups=tuple(GROUPS)), parts["train"], parts["val"], out=out, progress=True)
    held = validation(detector, parts["val"])
    test = [watched(detector, sample.open()) for sample in parts["test"]], truths
    rows = []
    cases = [(groups, rule, smooth) for groups in SUBSETS for rule in ("sum", "max") for smooth in SMOOTH]
    for groups, rule, smooth in cases:
        if (len(groups) == 1 and rule == "max") or (rule == "max" and smooth != SMOOTH[-1]):
            continue
        figures = [f"{auc(*each, groups, rule, smooth):.1f}" for each in (held, test)]
        rows.append([line, " + ".join(groups), rule if len(groups) > 1 else "-", str(smooth), *figures])
    return rows


def fused(folders: Sequence[Path], parts: dict[str, Sequence[Sample]], truths: list[np.ndarray]) -> str:
    """Two detectors and what comes of their live scores, on the test clips."""
    both = [load_detector(folder) for folder in folders]
    curves = [[judge(each, one.open(), threshold=0).curve.values for one in parts["test"]] for each in both]
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
    parser.add_argument("--fuse", type=Path, nargs=2)
    asked = parser.parse_args()
    dataset = open_dataset("ucsd-ped2", root=asked.root)
    parts = dict(zip(("train", "val", "test"), dataset.normal_split(0), strict=True))
    truths = [dataset.truth(one, sum(1 for _ in one.open())).anomalous for one in parts["test"]]
    if asked.fuse:
        print(fused(asked.fuse, parts, truths))
        return
    rows = []
    for k, line in enumerate(asked.line or ["motion-attributes"]):
        rows += measure(line, parts, truths, asked.out / str(k))
        print("| line | groups | rule | smooth | validation | test |\n|---|---|---|---|---|---|")
        print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)
        (asked.out / "ablation.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
