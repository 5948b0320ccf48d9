"""Clips of a labelled set to explain: drawn by seed, with what is known of each, at the size of the network's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from vidence.datasets.dataset import Dataset, Sample
from vidence.errors import DataError
from vidence.evaluate.tracks import Timed
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.models.detector import Detector

Known: TypeAlias = Literal["pixels", "frames", "label"]
QUIET = 0.25  # of the clips: in these nothing happens
SCANNED = 2  # sources that are looked into for each clip asked for: enough where each holds one window of one kind


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A window of a source, from sample `first` on; `event` says whether something happens in it."""

    sample: Sample
    first: int
    event: bool


@dataclass(frozen=True, slots=True, eq=False)
class KnownClip:
    """A clip and its truth. `x` is the network's input; `mask` bool (t, h, w), of its size, says where and when it
    happens: of the pixels, or of whole frames; all False where nothing does, None where only the label is known
    (`known` says which).
    """

    place: Place
    clip: Clip
    x: Float[Tensor, "1 c t h w"]
    known: Known
    mask: Bool[np.ndarray, "t h w"] | None

    @property
    def label(self) -> str:
        """The class of the source."""
        return self.place.sample.label

    @property
    def event(self) -> bool:
        """Whether something happens in this window."""
        return self.place.event


def sampled(
    detector: Detector, dataset: Dataset, samples: Sequence[Sample], n: int, *, seed: int = 0
) -> tuple[Place, ...]:
    """Draw `n` windows of `samples` (or all, where there are fewer), a quarter of them without an event.

    Spread over classes, then over sources, then over a source's windows; where one kind runs short, the other fills up.
    In the order of drawing. At most twice as many sources as clips are read. Raises `DataError` without any window.
    """
    if n < 1:
        raise DataError(f"a comparison needs at least one clip; got {n}.")
    rng = np.random.default_rng(seed)
    drawn: dict[bool, list[list[Place]]] = {True: [], False: []}
    for sample in _interleaved(samples, rng)[: SCANNED * n]:
        found = _windows(detector, dataset, sample)
        for event, kind in drawn.items():
            held = [place for place in found if place.event == event]
            kind.append([held[i] for i in rng.permutation(len(held))])
    loud, quiet = (_in_turn(drawn[event]) for event in (True, False))
    if not loud and not quiet:
        raise DataError(f"none of {len(samples)} sources has a window for this detector. Give longer ones.")
    calm = min(len(quiet), max(round(QUIET * n), n - len(loud)))
    return (*loud[: n - calm], *quiet[:calm])


def known_clips(detector: Detector, dataset: Dataset, places: Sequence[Place]) -> Iterator[KnownClip]:
    """The clips at some places, source by source: each source is decoded once."""
    for sample in dict.fromkeys(place.sample for place in places):
        wanted = {place.first: place for place in places if place.sample == sample}
        source = Timed(sample.open())
        clips = [clip for clip in detector.windows.cut(source) if clip.ref.first in wanted]
        anomalous, masks = _truth(detector, dataset, sample, source)
        for clip in clips:
            frames = _frames(source, clip)
            x = detector.prepare(clip)
            if masks is not None:
                mask: Bool[np.ndarray, "t h w"] | None = masks[frames]
                known: Known = "pixels"
            else:
                held = anomalous[frames]
                told = not held.all()  # that it happens in every frame says no more than the label does
                mask = np.tile(held[:, None, None], (1, *x.shape[3:])) if told else None
                known = "frames" if told else "label"
            yield KnownClip(wanted[clip.ref.first], clip, x, known, mask)


def on_grid(masks: Bool[np.ndarray, "t H W"], fit: Fit) -> Bool[np.ndarray, "t h w"]:
    """Masks in source pixels at the size of the network's input, each cell what its centre shows; bars are False."""
    size = (masks.shape[1], masks.shape[2])
    affine = fit.to_source(size, (fit.size, fit.size))
    top, left, height, width = fit.seen(size)
    cells = np.arange(fit.size)
    rows, columns = (np.rint(affine[axis, axis] * cells + affine[axis, 2]).astype(int) for axis in (1, 0))
    held = masks[:, rows.clip(top, top + height - 1)][:, :, columns.clip(left, left + width - 1)]
    inside = ((rows >= top) & (rows < top + height))[:, None] & ((columns >= left) & (columns < left + width))
    return held & inside


def _windows(detector: Detector, dataset: Dataset, sample: Sample) -> list[Place]:
    source = Timed(sample.open())
    refs = [clip.ref for clip in detector.windows.cut(source)]
    anomalous, _ = _truth(detector, dataset, sample, source)
    return [Place(sample, ref.first, bool(anomalous[np.searchsorted(source.times, ref.times)].any())) for ref in refs]


def _truth(
    detector: Detector, dataset: Dataset, sample: Sample, source: Timed
) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, "t h w"] | None]:
    """Which frames are anomalous where the network looks, and the masks on its grid; `source` has been read."""
    truth = dataset.truth(sample, len(source.times))
    if truth.masks is None or (truth.anomalous.any() and not truth.masks.any()):  # anomalous, but nobody drew where
        return truth.anomalous, None
    masks = on_grid(truth.masks, detector.fit)
    return np.asarray(masks.any(axis=(1, 2))), masks


def _frames(source: Timed, clip: Clip) -> np.ndarray:
    return np.searchsorted(source.times, clip.times)


def _interleaved(samples: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
    """In random order, classes taking turns."""
    by_class: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda each: (each.path, each.label, each.frames or ())):
        by_class.setdefault(sample.label, []).append(sample)
    return _in_turn([[held[i] for i in rng.permutation(len(held))] for _, held in sorted(by_class.items())])


def _in_turn(rows: Sequence[Sequence]) -> list:  # type: ignore[type-arg]
    """The first of each, then the second of each, ..."""
    return [each for each in chain(*zip_longest(*rows)) if each is not None]
