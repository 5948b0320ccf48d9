"""A labelled sample, and what is asked of every set: splits, the normal classes, a digest."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from vidence.datasets.masks import read_mask_array
from vidence.datasets.section import Section
from vidence.errors import DataError
from vidence.frames.images import ImageFolder
from vidence.frames.source import Source, open_source

PARTS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
LATE = 0.2  # share of a single video that is held out, its end
NORMAL = ("normal", "good", "free")
# words that begin with "no" without saying no
_NOT_NO: tuple[str, ...] = ("nose", "north", "noise", "noisy", "note", "notch", "notice", "novel", "nova", "nozzle")
_NOT_NO += ("nod", "now", "nook", "noon", "nordic", "nomad", "noble", "noodle", "nougat")


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled source. `path` is a video, an image or a folder of frames; samples of one `group` (a camera,
    an original video) never stand on two sides of a split; `mask` is an .npz with a bool `mask` (t, h, w), or what
    its set's `truth` reads; `frames` (first, stop), counted from 0, is set where only a section of the video is meant,
    and `fps` where it is a folder of frames whose rate is known, so `open` a sample rather than its path. `mend` is set
    for a folder of a set that its publisher ships with damaged frames: see `ImageFolder`.
    """

    path: str
    label: str
    group: str
    mask: str | None = None
    frames: tuple[int, int | None] | None = None
    fps: float | None = None
    mend: bool = False

    def open(self) -> Source:
        """The source, or the section of it."""
        source: Source = (
            ImageFolder(self.path, fps=self.fps, mend=True) if self.mend else open_source(self.path, fps=self.fps)
        )
        return source if self.frames is None else Section(source, *self.frames)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of a source: `anomalous` bool (t,), one per frame; `masks` bool (t, h, w) in its own pixels."""

    anomalous: Bool[np.ndarray, " t"]
    masks: Bool[np.ndarray, "t h w"] | None = None


class Dataset(ABC):
    """A set whose layout is known: it lists its samples, and splits them with groups kept together.

    `crop` (top, left, height, width) and `channels` are what detectors of this set use if nothing else is asked for,
    `fps` the frame rate of its frame folders. `normal` names the labels of what is normal.
    """

    crop: ClassVar[tuple[int, int, int, int] | None] = None
    channels: ClassVar[int] = 3
    fps: ClassVar[float | None] = None

    @property
    def normal(self) -> tuple[str, ...]:
        """The labels that count as normal."""
        return normal_classes(classes_of(self.samples()))

    def truth(self, sample: Sample, frames: int) -> Truth:
        """The truth of a sample whose source has that many frames; by default its label holds for all of them.

        Raises `DataError` where labels or masks do not cover the frames.
        """
        masks = None if sample.mask is None else read_mask_array(sample.mask, frames)
        if masks is None:
            return Truth(np.full(frames, sample.label not in self.normal, dtype=bool))
        anomalous = np.asarray(masks.any(axis=(1, 2)))
        return Truth(anomalous, masks)

    @abstractmethod
    def samples(self) -> list[Sample]:
        """All samples, in a fixed order. Raises `DataError` that names what is missing."""

    def split(self, name: str, *, seed: int = 0) -> list[Sample]:
        """The samples of the part `train`, `val` or `test`."""
        if name not in PARTS:
            raise DataError(f"a part is one of {', '.join(PARTS)}; got {name!r}.")
        return split(self.samples(), seed=seed)[name]

    def normal_split(self, seed: int = 0) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """Training and validation samples, all normal, and test samples, for a detector that learns what is normal.

        See `split_normal`; sets with an official test part keep it. A set without anomalies has an empty test part.
        """
        return split_normal(self.samples(), self.normal, seed=seed)


def classes_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The labels in alphabetical order: the order of a classifier's outputs."""
    return tuple(sorted({sample.label for sample in samples}))


def normal_classes(
    classes: Sequence[str], asked: Sequence[str] | None = None, *, alone: bool = False
) -> tuple[str, ...]:
    """The classes that count as normal: those asked for, else those whose name says so.

    A name says so when it is normal, good or free, starts with "normal", or starts with "no" in any case (nofight,
    noFight, no_event, none), unless it starts with a listed word such as nose, north, noise or note. Raises `DataError`
    that lists the classes when none of them would be normal, or all of them unless normal ones `alone` will do.
    """
    listed = ", ".join(classes)
    unknown = [name for name in asked or () if name not in classes]
    if unknown:
        raise DataError(f"normal classes must be among: {listed}; got {', '.join(unknown)}.")
    normal = tuple(name for name in classes if (name in asked if asked else _says_normal(name)))
    if not normal:
        raise DataError(
            f"at least one class must be normal (called normal, no..., good or free); the classes are: {listed}. "
            "Name the normal ones with --normal CLASS[,CLASS]."
        )
    if len(normal) == len(classes) and not alone:
        raise DataError(
            f"at least one class must not be normal; the classes {listed} all count as normal. "
            "Name the normal ones with --normal CLASS[,CLASS]."
        )
    return normal


def _says_normal(name: str) -> bool:
    word = name.strip().lower()
    return word in NORMAL or (word.startswith("no") and not word.startswith(_NOT_NO))


def split(samples: Sequence[Sample], *, parts: Mapping[str, float] = PARTS, seed: int = 0) -> dict[str, list[Sample]]:
    """Deal whole groups to the parts so that each label comes as near to its share as the groups allow.

    Largest groups first, each to the part that lacks its labels most; equal under the same seed, whatever the order
    of `samples`. Every part holds every label where moving a group can do it. Raises `DataError` when there are fewer
    groups than parts.
    """
    if not parts or any(share <= 0 for share in parts.values()):
        raise DataError(f"the parts of a split need positive shares; got {dict(parts)}.")
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        groups[sample.group][sample.label] += 1
    if len(groups) < len(parts):
        raise DataError(
            f"a split into {', '.join(parts)} needs at least {len(parts)} groups, because a group, with all copies of "
            f"its files, stays on one side; got {len(groups)} with {len(samples)} samples. Add clips, or group them "
            "more finely."
        )
    names = sorted(groups)
    order = np.random.default_rng(seed).permutation(len(names))
    shuffled = sorted((names[i] for i in order), key=lambda name: -groups[name].total())
    side = _deal(shuffled, groups, parts)
    _spread(shuffled, groups, side, list(parts))
    dealt: dict[str, list[Sample]] = {part: [] for part in parts}
    for sample in sorted(samples, key=lambda sample: (sample.path, sample.label)):
        dealt[side[sample.group]].append(sample)
    return dealt


def split_normal(
    samples: Sequence[Sample], normal: Sequence[str], *, parts: Mapping[str, float] = PARTS, seed: int = 0
) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Normal samples to train and to validate, and the test samples; no group stands on two sides.

    Groups with an anomaly are for the test, the others are dealt by `parts`. Where that would take more than half of
    the normal samples away, all groups with a normal sample are dealt, and anomalies that fall to the first two parts
    are left out. Nothing is held out for the test where there are no anomalies, and a single normal video is cut: see
    `cut_in_time`. Raises `DataError` when there are otherwise fewer than two groups to deal.
    """
    marred = {sample.group for sample in samples if sample.label not in normal}
    calm = {sample.group for sample in samples if sample.label in normal}
    if 2 * sum(s.group in calm - marred for s in samples) >= sum(s.label in normal for s in samples):
        calm -= marred
    pool = [sample for sample in samples if sample.group in calm]
    shares = parts if marred and len(calm) > 2 else {part: parts[part] for part in ("train", "val")}
    if len(pool) == 1:
        dealt = {part: [piece] for part, piece in zip(shares, cut_in_time(*pool), strict=True)}
    else:
        dealt = split(pool, parts=shares, seed=seed)
    train, val = ([sample for sample in dealt[part] if sample.label in normal] for part in ("train", "val"))
    rest = [sample for sample in samples if sample.group not in calm]
    return train, val, dealt.get("test", []) + sorted(rest, key=lambda sample: (sample.path, sample.label))


def cut_in_time(sample: Sample) -> tuple[Sample, Sample]:
    """A video's first four fifths and its last; its frames are counted for that. Raises `DataError` for a picture."""
    frames = sum(1 for _ in sample.open())
    if frames < 2:
        raise DataError(
            f"learning what is normal, and holding some of it out, needs more than one picture; {sample.path} is one. "
            "Give more."
        )
    first, _ = sample.frames or (0, None)
    border = first + frames - max(1, round(LATE * frames))
    return replace(sample, frames=(first, border)), replace(sample, frames=(border, first + frames))


def _deal(order: Sequence[str], groups: Mapping[str, Counter[str]], parts: Mapping[str, float]) -> dict[str, str]:
    """Each group to the part where it reduces the squared shortfall of labels (and, less, of size) most."""
    totals: Counter[str] = Counter()
    for counts in groups.values():
        totals += counts
    whole = sum(parts.values())
    need = {part: {label: share / whole * n for label, n in totals.items()} for part, share in parts.items()}
    side: dict[str, str] = {}
    for name in order:
        counts = groups[name]

        def gain(part: str, counts: Counter[str] = counts) -> float:
            short = need[part]
            labels = sum(n * (2 * short[label] - n) / totals[label] for label, n in counts.items())
            size = counts.total() * (2 * sum(short.values()) - counts.total()) / totals.total()
            return labels + 0.01 * size

        side[name] = max(parts, key=gain)
        for label, n in counts.items():
            need[side[name]][label] -= n
    return side


def _spread(
    order: Sequence[str], groups: Mapping[str, Counter[str]], side: dict[str, str], parts: Sequence[str]
) -> None:
    """Give a part that lacks a label the smallest group which its present part can spare; leave no part empty."""
    labels = sorted({label for counts in groups.values() for label in counts})
    for part in parts:
        for label in labels:
            held: Counter[tuple[str, str]] = Counter((side[name], one) for name in order for one in groups[name])
            if held[part, label]:
                continue
            spare = [
                name
                for name in order
                if label in groups[name] and all(held[side[name], one] > 1 for one in groups[name])
            ]
            if spare:
                rich = max(spare, key=lambda name: (held[side[name], label], -groups[name].total()))
                side[rich] = part
        if part not in side.values():  # no label could be spared: an empty part would be worse
            sizes = Counter(side.values())
            side[max(reversed(order), key=lambda name: sizes[side[name]])] = part


def digest(samples: Sequence[Sample]) -> str:
    """SHA-256 over the sorted (digest of the file, label) pairs: the same data give the same digest anywhere."""
    return digest_parts({"all": samples})[0]


def digest_parts(parts: Mapping[str, Sequence[Sample]]) -> tuple[str, dict[str, str]]:
    """`digest` of all samples together, whatever part they are in, and of each part; every file is read once."""
    pairs = {name: [f"{each.open().digest} {each.label}" for each in samples] for name, samples in parts.items()}
    return _hashed(list(chain(*pairs.values()))), {name: _hashed(held) for name, held in pairs.items()}


def _hashed(pairs: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(pairs)).encode()).hexdigest()
