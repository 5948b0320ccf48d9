"""Clips of frames as the training of reconstructions takes them, in an order that seed and epoch alone decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from vidence.models.reconstruction_detector import ReconstructionDetector

STRIDES = (1, 2, 4, 8, 16)
FRAMES = 128  # at once, where nothing is learned


class Place(NamedTuple):
    """A clip: `length` frames of a source, `stride` apart, from the frame `first`."""

    source: int
    first: int
    stride: int
    length: int


@dataclass(frozen=True, eq=False)
class Footage:
    """All frames of some sources, fitted to the network's input: uint8 (t, h, w, c) each, usually memory-mapped."""

    sources: Sequence[UInt8[np.ndarray, "t h w c"]]

    @property
    def frames(self) -> int:
        """How many there are in all."""
        return sum(len(source) for source in self.sources)

    def mean(self) -> Float[Tensor, "c h w"]:
        """The mean frame, in [0, 1]."""
        total = sum(source.sum(axis=0, dtype=np.int64) for source in self.sources)
        return torch.from_numpy(rearrange(total / (255 * self.frames), "h w c -> c h w")).float()

    def at(self, places: Sequence[Place]) -> UInt8[Tensor, "n t h w c"]:
        """Clips of one length."""
        taken = [
            self.sources[place.source][place.first : place.first + place.length * place.stride : place.stride]
            for place in places
        ]
        return torch.from_numpy(np.stack(taken))

    def plain(self, length: int, *, shared: int = 0, least: int = 1) -> list[Place]:
        """Each source's frames in clips of `length`, the next one beginning with the last `shared` frames of the one
        before; shorter ones, at a source's end, if they have `least` frames.
        """
        cut = (self._plain(number, length, shared=shared, least=least) for number in range(len(self.sources)))
        return [place for places in cut for place in places]

    def drawn(self, length: int, strides: Sequence[int], order: np.random.Generator, *, least: int = 1) -> list[Place]:
        """An epoch's clips: of each source one stride is drawn, of those that leave room for a clip.

        Its frames, `stride` apart from each start 0 ... stride - 1, are dealt into groups of `length` that do not
        overlap; a drawn offset decides which frames, too few for a group, are left out. So an epoch shows every frame
        at most once and most of them. A source without room for any stride gives its `plain` clips.
        """
        made = []
        for number, source in enumerate(self.sources):
            room = _room(len(source), length, strides)
            if not room:
                made.extend(self._plain(number, length, least=least))
                continue
            stride, offset = int(order.choice(room)), float(order.random())
            made.extend(_grouped(number, len(source), length, stride, offset))
        return made

    def every(self, length: int, strides: Sequence[int], *, least: int = 1) -> list[Place]:
        """The clips of all strides, each distinct one once: as `drawn` deals them, but of no offset.

        So a frame comes up about as often as there are strides.
        """
        made: dict[Place, None] = {}
        for number, source in enumerate(self.sources):
            room = _room(len(source), length, strides)
            places = [place for stride in room for place in _grouped(number, len(source), length, stride)]
            made |= dict.fromkeys(places if room else self._plain(number, length, least=least))
        return list(made)

    def _plain(self, number: int, length: int, *, shared: int = 0, least: int) -> list[Place]:
        t = len(self.sources[number])
        return [
            Place(number, first, 1, min(length, t - first))
            for first in range(0, max(1, t - shared), length - shared)
            if t - first >= least
        ]


@dataclass(eq=False)
class ClipBatches:
    """Lightning's loader: uint8 clips (n, t, h, w, c), up to `frames` frames in a batch, at least one clip.

    With a `seed` an epoch's clips are drawn from seed and epoch (see `Footage.drawn`) or, of `all_strides`, shuffled
    (see `Footage.every`), less those in `without`; clips that do not fill a batch are left out if another one of their
    length is full: few frames are a poor sample for batch norm. Without a seed `places` come as they are. Clips of
    different lengths are never in one batch.
    """

    footage: Footage
    frames: int
    length: int = 1
    least: int = 1
    strides: Sequence[int] = STRIDES
    all_strides: bool = False
    seed: int | None = None
    epoch: int = 1
    places: Sequence[Place] = ()
    without: frozenset[Place] = frozenset()

    @property
    def steps(self) -> int:
        """About how many batches an epoch has."""
        shown = self.footage.frames * (len(self.strides) if self.all_strides else 1)
        return max(1, shown // max(self.frames, self.length))

    def __iter__(self) -> Iterator[UInt8[Tensor, "n t h w c"]]:
        for places in self.batches():
            yield self.footage.at(places)

    def batches(self) -> list[list[Place]]:
        """The epoch's batches."""
        if self.seed is None:
            return _dealt(self.places, self.frames, whole=False)
        order = np.random.default_rng([self.seed, self.epoch])
        if self.all_strides:
            held = self.footage.every(self.length, self.strides, least=self.least)
        else:
            held = self.footage.drawn(self.length, self.strides, order, least=self.least)
        shuffled = [held[place] for place in order.permutation(len(held)) if held[place] not in self.without]
        return _dealt(shuffled, self.frames, whole=True)


def clips_of(detector: ReconstructionDetector, footage: Footage, *, frames: int = FRAMES) -> ClipBatches:
    """Every frame in the clips that a detector without a stride of its own cuts, up to `frames` frames in a batch.

    A source's last frames are left out if they are too few for a clip of their own.
    """
    shared, least = detector.network.first_frame, least_frames(detector)
    return ClipBatches(footage, frames, places=footage.plain(detector.windows.length, shared=shared, least=least))


def least_frames(detector: ReconstructionDetector) -> int:
    """How many frames a clip must have for the detector's network."""
    alone = detector.windows.partial == "keep"
    return detector.network.first_frame + 1 if alone else detector.windows.length


def as_input(pixels: UInt8[Tensor, "n t h w c"]) -> Float[Tensor, "n c t h w"]:
    """The network's input in [0, 1]; its memory has channels last, which convolutions on a CPU want."""
    return rearrange(pixels, "n t h w c -> n c t h w").float() / 255


def _room(t: int, length: int, strides: Sequence[int]) -> list[int]:
    """The strides at which `length` frames find room among t."""
    return [stride for stride in strides if (length - 1) * stride < t]


def _grouped(number: int, t: int, length: int, stride: int, offset: float = 0.0) -> list[Place]:
    """A source's frames, `stride` apart from each start 0 ... stride - 1, in groups of `length`; the share `offset` of
    those that are too few for a group is left out in front. A single frame has no stride, that is 1.
    """
    made: list[Place] = []
    for start in range(stride):
        count, left = divmod(len(range(start, t, stride)), length)
        skipped = int(offset * (left + 1))
        firsts = (start + (skipped + group * length) * stride for group in range(count))
        made.extend(Place(number, first, stride if length > 1 else 1, length) for first in firsts)
    return made


def _dealt(places: Sequence[Place], frames: int, *, whole: bool) -> list[list[Place]]:
    """Places of one length together, up to `frames` frames a batch; `whole`: of lengths with a full batch no other."""
    held: dict[int, list[Place]] = defaultdict(list)
    made = []
    for place in places:
        batch = held[place.length]
        batch.append(place)
        if len(batch) == max(1, frames // place.length):
            made.append(batch)
            held[place.length] = []
    full = {batch[0].length for batch in made}
    rest = [batch for length, batch in held.items() if batch and not (whole and length in full)]
    return made + rest
