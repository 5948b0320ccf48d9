"""What each attribute and choice of `motion-attributes` is worth on UCSD Ped2.

    .venv/bin/python benchmarks/motion_ablation.py --root PED2 --out FOLDER [--weights MOBILENETS]
        [--fold 0 --fold 1 ...] [--only groups ...] [--test]

Choices are made on official training clips alone. They are dealt into four; each `--fold` holds one part out, the
scales come from two more clips, the rest is learnt. Anomalies of the kinds in `vidence.motion.staged` are staged in the
held-out clips. A figure is the frame AUC of one kind's staged frames against all frames of the held-out clips as they
are, in per cent. A row's `mean` is over kinds; `pointing` is how often the highest cell of a staged frame lies inside
the mask, the mean over kinds that stage somebody or something; `worst` is the mean of these two in the worst fold.
`--test` adds the official test clips' pooled, causal frame AUC and pointing, which no choice is made by. What is in
FOLDER is not measured again. A frame's score is the logarithm of 1 + its highest cell's, smoothed.

`--fuse ONE OTHER` measures two trained detectors on the test clips instead, and the mean and maximum of their live
scores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from rich.progress import track
from sklearn.metrics import roc_auc_score

from vidence import spec
from vidence.aside import written_aside
from vidence.datasets.dataset import Sample
from vidence.datasets.opened import open_dataset
from vidence.frames.clip import Frame
from vidence.models import DETECTORS, load_detector
from vidence.models.attribute_memory import GROUPS, AttributeMemory, Cells, CellSample, places
from vidence.models.cell_appearance import CellAppearance
from vidence.models.mobilenet import MobileNetV2
from vidence.models.motion_attributes import HELD_CELLS, MotionAttributes
from vidence.models.motion_session import Rule, ruled
from vidence.models.weights import load_weights
from vidence.motion.flow import FLOWS
from vidence.motion.staged import KINDS, staged
from vidence.scoring.run import judge

DEFAULT = MotionAttributes()
WITHOUT_WEIGHTS = tuple(name for name in GROUPS if name != "appearance")
CHOICES = (
    "groups=['peak', 'direction', 'gait', 'shape']",  # the best frames on the validation, beside the anomalies
    *("neighbours=1", "neighbours=5", "neighbours=10", "coreset=3000", "coreset=20000"),
    *("perspective=False", "rows=0", "rows=0.5", "rows=2", "perspective=False, rows=0", "local=200"),
    *("span=1", "span=3", "block=10", "block=16", "flow='dis-fast'", "flow='farneback'"),
)
DRAWS = 2  # of each kind and clip
FOLDS = 4
Distances = list[np.ndarray]  # of each frame of a clip (m, g)


class Cut(NamedTuple):
    """A frame's cells: their `attributes` (m, a), where they are (`at`, (m, 2)), and the `shape` (i, j) of the grid."""

    attributes: np.ndarray
    at: np.ndarray
    shape: tuple[int, ...]


Frames = list[Cut]  # of a clip


@dataclass(frozen=True)
class Shown:
    """Frames as a source."""

    name: str
    frames: Sequence[Frame]
    digest: str = "0" * 64

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames


@dataclass(frozen=True)
class Judged:
    """A source, the kind of what is in it, and the `masks` (t, h, w) of what is anomalous."""

    source: Any
    kind: str
    masks: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """Which frames count as anomalous."""
        return np.asarray(self.masks.any(axis=(1, 2)))


@dataclass(frozen=True)
class Fold:
    """What is learnt, what scales are read off, and what is judged."""

    name: str
    learnt: Sequence[Any]
    scaled: Sequence[Any]
    judged: Sequence[Judged]


@dataclass(frozen=True)
class Row:
    """How distances become a frame's score."""

    groups: tuple[str, ...]
    rule: Rule = DEFAULT.rule
    pool: int = DEFAULT.pool
    smooth: int = DEFAULT.smooth


def validation(samples: Sequence[Sample], number: int) -> Fold:
    """The official training clips in three parts, and what is staged in the held-out ones."""
    ordered = sorted(samples, key=lambda one: one.path)
    held = ordered[number::FOLDS]
    others = [one for one in ordered if one not in held]
    plain = [Shown(one.path, list(one.open())) for one in held]
    judged = [Judged(one, "plain", np.zeros((len(one.frames), 1, 1), bool)) for one in plain]
    for kind, seed, clip in ((kind, seed, clip) for kind in KINDS for seed in range(DRAWS) for clip in plain):
        made = staged(np.stack([frame.pixels for frame in clip.frames]), kind, seed=seed)
        if made is not None:
            frames = [Frame(pixels, clip.frames[k].time) for k, pixels in enumerate(made.pixels)]
            judged.append(Judged(Shown(f"{clip.name} {kind} {seed}", frames), kind, made.mask))
    return Fold(
        f"validation-{number}", [one.open() for one in others[:-2]], [one.open() for one in others[-2:]], judged
    )


class Watched:
    """The cells of a fold's sources, kept for the settings that were asked for last; flows are kept too."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self._key: MotionAttributes | None = None
        self._kept: tuple[list[Frames], list[Frames], list[Frames]] = ([], [], [])

    def cells(self, settings: MotionAttributes, weights: Path | None) -> tuple[list[Frames], ...]:
        """Of what is learnt, what scales are read off, and what is judged."""
        groups = (
            (*WITHOUT_WEIGHTS, "appearance") if weights else WITHOUT_WEIGHTS
        )  # one look serves every choice of them
        plain = replace(settings, groups=groups, rule="sum", pool=1, smooth=1, perspective=False, rows=0)
        key = replace(plain, neighbours=1, coreset=100, local=0)
        if key != self._key:
            looks = CellAppearance(cast(MobileNetV2, load_weights("mobilenet-v2", weights))) if weights else None
            detector = key.build(looks)
            parts = (self.fold.learnt, self.fold.scaled, [each.source for each in self.fold.judged])
            sources = [(k, source) for k, part in enumerate(parts) for source in part]
            self._key, self._kept = key, ([], [], [])
            for k, source in track(sources, f"{self.fold.name}: {spec.line(key, DETECTORS)}", transient=True):
                seen = detector.watched(detector.windows.cut(source))
                self._kept[k].append([Cut(each.cells.attributes, each.at, each.scores.shape) for each in seen])
        return self._kept

    def distances(self, settings: MotionAttributes, weights: Path | None = None) -> list[Distances]:
        """Of what is judged, in the settings' groups."""
        learnt, scaled, judged = self.cells(settings, weights)
        how = {name: getattr(settings, name) for name in ("coreset", "neighbours", "local", "perspective", "rows")}
        memory = AttributeMemory(settings.groups, crop=1, **how)
        memory.learn(_sample(learnt, settings.coreset), seed=0)
        memory.calibrate(_sample(scaled, HELD_CELLS).cells)
        return [[memory.distances(frame.attributes) for frame in clip] for clip in judged]

    def figures(self, found: Sequence[Distances], groups: Sequence[str], row: Row) -> dict[str, float]:
        """The frame AUC of each kind, in per cent, and their mean; of the test clips one."""
        columns = [groups.index(name) for name in row.groups]
        maps = [
            [
                ruled(each[:, columns], cut.at, cut.shape, rule=row.rule, pool=row.pool)
                for each, cut in zip(clip, cuts, strict=True)
            ]
            for clip, cuts in zip(found, self._kept[2], strict=True)
        ]
        curves = [smoothed([float(each.max()) for each in clip], row.smooth) for clip in maps]
        truth = [each.true for each in self.fold.judged]
        if self.fold.name == "test":
            figure = 100 * float(roc_auc_score(np.concatenate(truth), np.concatenate(curves)))
            return {"test": figure, "test pointing": self._pointing(maps)["test"]}
        kinds = [each.kind for each in self.fold.judged]
        normal = np.concatenate([curve for curve, kind in zip(curves, kinds, strict=True) if kind == "plain"])
        shown = {}
        for name in KINDS:
            odd = np.concatenate([c[true] for c, true, kind in zip(curves, truth, kinds, strict=True) if kind == name])
            labels = np.repeat([False, True], [len(normal), len(odd)])
            shown[name] = 100 * float(roc_auc_score(labels, np.concatenate([normal, odd])))
        pointing = {kind: share for kind, share in self._pointing(maps).items() if kind[:6] != "faster"}
        means = {"mean": shown, "pointing": pointing}
        return {name: float(np.mean(list(each.values()))) for name, each in means.items()} | shown

    def _pointing(self, maps: Sequence[Sequence[np.ndarray]]) -> dict[str, float]:
        """By kind, the share of anomalous frames whose highest cell lies inside the mask, in per cent."""
        hits = defaultdict[str, list[bool]](list)
        for clip, cuts, judged in zip(maps, self._kept[2], self.fold.judged, strict=True):
            for k in np.flatnonzero(judged.true).tolist():
                values = clip[k][tuple(cuts[k].at.T)]
                size = judged.masks.shape[1:]
                place = places(cuts[k].attributes)[values.argmax()] if len(values) else np.zeros(2)
                y, x = (place * size).astype(int)
                hits[judged.kind].append(bool(judged.masks[k, y, x]))
        return {kind: 100 * float(np.mean(each)) for kind, each in hits.items()}


def _sample(clips: Sequence[Frames], room: int) -> CellSample:
    sample = CellSample(room, seed=0)
    for values in (frame.attributes for clip in clips for frame in clip):
        sample.add(Cells(values, np.zeros((len(values), 1, 1), np.uint8)))
    return sample


def smoothed(highest: Sequence[float], smooth: int) -> np.ndarray:
    """A score for each frame from that of its highest cell."""
    weights = np.ones(smooth)
    return np.convolve(np.log1p(highest), weights, "same") / np.convolve(np.ones(len(highest)), weights, "same")


def remembered(make: Callable[[], Any], held: dict[bytes, np.ndarray]) -> Callable[[], Any]:
    """The same flow, computed once for each pair of pictures while it is kept in `held`."""
    between = make()

    def look(now: np.ndarray, other: np.ndarray) -> np.ndarray:
        key = hashlib.blake2b(now.tobytes() + other.tobytes(), digest_size=16).digest()
        if key not in held:
            held[key] = between(now, other).copy()
        return held[key]

    return lambda: look


def lines(weights: Path | None) -> Iterator[tuple[str, MotionAttributes, list[Row], Path | None]]:
    """What is measured, by name: settings, and the rows that are read off their distances."""
    chosen = DEFAULT.groups
    rows = [Row(chosen), *(Row(chosen, smooth=smooth) for smooth in (1, 5)), Row(chosen, rule="max")]
    rows += [Row(chosen, pool=pool) for pool in (1, 5)]
    rows += [Row((name,)) for name in WITHOUT_WEIGHTS]
    rows += [Row((*chosen, name)) for name in WITHOUT_WEIGHTS if name not in chosen]
    yield "groups", replace(DEFAULT, groups=WITHOUT_WEIGHTS), rows, None
    for choice in CHOICES:
        settings = spec.build(f"motion-attributes({choice})", DETECTORS)
        yield choice, settings, [Row(settings.groups)], None
    if weights:
        looking = replace(DEFAULT, groups=(*chosen, "appearance"))
        rows = [Row(("appearance",)), Row(looking.groups), Row(looking.groups, rule="max")]
        yield "appearance", looking, rows, weights


def measured(
    fold: Fold, weights: Path | None, only: Sequence[str], out: Path
) -> Iterator[tuple[tuple[str, Row], dict[str, float]]]:
    """Each row's choice, and its figures; those that `out` holds for the same settings as they are."""
    path = out / f"{fold.name}.json"
    found: dict[str, list[dict[str, float]]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    held: dict[bytes, np.ndarray] = {}
    kinds = dict(FLOWS)
    watched, flow = Watched(fold), ""
    for name, settings, rows, given in lines(weights):
        if only and name not in only:
            continue
        key = f"{name}: {spec.line(settings, DETECTORS)}, {[astuple(row) for row in rows]}"
        if key not in found:
            if settings.flow != flow:
                held.clear()
                flow = settings.flow
            FLOWS[flow] = remembered(kinds[flow], held)
            distances = watched.distances(settings, given)
            found[key] = [watched.figures(distances, settings.groups, row) for row in rows]
            with written_aside(path) as aside:
                aside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            FLOWS.update(kinds)  # what is remembered of a fold, gigabytes, goes with it
        yield from zip([(name, row) for row in rows], found[key], strict=True)


def over_folds(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """One row's figures: the worst fold's mean of AUC and pointing, and the means over folds."""
    worst = min((part["mean"] + part["pointing"]) / 2 for part in parts)
    return {"worst": worst} | {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def shown(found: Mapping[tuple[str, Row], Mapping[str, float]]) -> str:
    """Rows as a table."""
    rows = [
        [name, " + ".join(row.groups), row.rule, str(row.pool), str(row.smooth), *(f"{x:.1f}" for x in each.values())]
        for (name, row), each in found.items()
    ]
    heads = ["choice", "groups", "rule", "pool", "smooth", *next(iter(found.values()))]
    return "\n".join(f"| {' | '.join(each)} |" for each in (heads, ["---"] * len(heads), *rows))


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
    """Print the table, and write its rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/motion-ablation"))
    parser.add_argument("--fold", type=int, action="append", choices=range(FOLDS))
    parser.add_argument("--only", action="append", default=[], help="a choice, as the table names it")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--fuse", type=Path, nargs=2)
    asked = parser.parse_args()
    dataset = open_dataset("ucsd-ped2", root=asked.root)
    learnt, val, test = dataset.normal_split(0)
    truths = [dataset.truth(one, sum(1 for _ in one.open())) for one in test]
    if asked.fuse:
        print(fused(asked.fuse, test, [each.anomalous for each in truths]))
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    folds = [validation([*learnt, *val], number) for number in asked.fold or [2]]
    parts = [dict(measured(fold, asked.weights, asked.only, asked.out)) for fold in folds]
    rows = {key: over_folds([part[key] for part in parts]) for key in parts[0]}
    if asked.test:
        judged = [Judged(one.open(), "test", np.asarray(truth.masks)) for one, truth in zip(test, truths, strict=True)]
        fold = Fold("test", [one.open() for one in learnt], [one.open() for one in val], judged)
        for key, each in measured(fold, asked.weights, asked.only, asked.out):
            rows[key] |= each
    print(shown(rows))


if __name__ == "__main__":
    main()
