"""Frames in, scores of cells and frames out: what `motion-attributes` does with a window, and keeps for the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from vidence.frames.clip import Clip
from vidence.models.attribute_memory import ATTRIBUTES, Cells, attributes, has, places
from vidence.models.cell_appearance import LOOKS
from vidence.models.detector import FrameScores
from vidence.models.motion_objects import ObjectFinder
from vidence.motion.flow import FLOWS
from vidence.motion.moving_cells import CHANNELS
from vidence.motion.object_tracks import OF_OBJECT, Objects
from vidence.motion.steady_motion import GAP_S, Motion, refuse_stills, repeats, steadied
from vidence.record.facts import ClipRef

if TYPE_CHECKING:
    from vidence.models.motion_attributes import MotionAttributesDetector

_SUBJECTS = [ATTRIBUTES.index(name) for name in ("size", "width")]  # above 0 where something moves, or an object is
ALONE = "its objects were followed from this window on, because what was before it has not been scored"
Rule = Literal["sum", "max"]
EVERY = 5  # frames from one that is looked at for its appearance to the next


@dataclass(slots=True, eq=False)
class Looked:
    """A frame of the source at `time`: `gray` (h, w) as analysed, of a picture `shown` since then or before; its
    `flow` since the picture before, and the `motion` of its cells where it is new and that picture not too old; its
    `objects`, None where no group asks for them; `looks` (i, j, v), what the cells look like in the last frame that
    was looked at for it, 0 where nothing moved in it, or None.
    """

    time: float
    shown: float
    gray: UInt8[np.ndarray, "h w"]
    flow: Float32[np.ndarray, "h w 2"] | None
    motion: Motion | None
    objects: Objects | None = None
    looks: Float32[np.ndarray, "i j v"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A frame's moving `cells`, and those of objects, where they are in the grid (`at`, (m, 2)), their distances (m, g)
    in each group, and the `scores` (i, j) of all cells, 0 where nothing is. `size` (h, w) is the analysed picture's.
    """

    time: float
    size: tuple[int, int]
    cells: Cells
    at: np.ndarray
    distances: Float32[np.ndarray, "m g"]
    scores: Float32[np.ndarray, "i j"]

    @property
    def moving(self) -> float:
        """The share of cells that move."""
        return float(has("speed", self.cells.attributes).sum()) / self.scores.size


class MotionSession:
    """Causal scores of one source; nothing older than a window is kept.

    A frame is scored once, when the later frames that its score depends on were seen. A window shorter than the
    detector's ends the source: what is left is scored with what there is. `trail` are objects that are known already,
    by time.
    """

    def __init__(self, detector: MotionAttributesDetector, *, trail: Mapping[float, Objects] | None = None) -> None:
        self._detector = detector
        self._scene = detector.scene
        self._between = FLOWS[detector.settings.flow]()
        self._finder: ObjectFinder | None = None
        self._trail = trail or {}
        self.remarks: tuple[str, ...] = ()  # on where the objects are from
        self._held: list[Looked] = []
        self._done: dict[float, Seen] = {}
        self._told = -math.inf  # the time of the last frame that was scored
        self.seen: list[Seen] = []  # of the frames that the last push scored
        self.enlarged = 1.0  # pixels of the source for one that was analysed

    def push(self, clip: Clip) -> FrameScores:
        """Score the frames whose scores the next window settles; at the start of a session in the middle of a source,
        its first frames are context only. Raises `DataError` where a source is one frame, or its frames lie too far
        apart for motion.
        """
        settings = self._detector.settings
        if clip.ref.first == 0:
            refuse_stills(clip.times, clip.ref.source)
        starts, ends = clip.ref.first == 0, len(clip.times) < self._detector.windows.length
        if not self._held and not starts:
            self._told = (
                clip.times[min(settings.context, len(clip.times) - 1) - 1] if len(clip.times) > 1 else -math.inf
            )
        self._held = [each for each in self._held if each.time >= clip.times[0] or each.time > self._told]
        for k, (time, pixels) in enumerate(zip(clip.times, clip.pixels, strict=True)):
            if not self._held or time > self._held[-1].time:
                self._held.append(self._look(time, pixels, number=clip.ref.first + k))
                self._held[-1].objects = self._objects(clip.ref, k, (pixels.shape[0], pixels.shape[1]))
        if starts and len(self._held) > 1:
            self._held[0].motion = self._held[1].motion  # the first frame has nothing before it
        settled = self._settled(ends=ends)
        half, last = settings.smooth // 2, len(self._held)
        around = range(max(0, settled.start - half), min(last, settled.stop + half))
        found = {place: self._seen(place) for place in around}
        self._done = {each.time: each for place, each in found.items() if place + settings.span // 2 < last}
        highest = {place: float(np.log1p(each.scores.max())) for place, each in found.items()}
        means = [
            np.mean([highest[near] for near in range(place - half, place + half + 1) if near in highest])
            for place in settled
        ]
        self.seen = [found[place] for place in settled]
        times = np.array([each.time for each in self.seen], dtype=np.float64)
        self._told = float(times[-1])
        values = self._detector.scaled(np.array(means)).astype(np.float32)
        return FrameScores(times=times, values=values, doubts=self.doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the frames that the last push scored are not to be compared with what was learnt, in plain words."""
        return tuple(dict.fromkeys(doubt for each in self.seen for doubt in self._scene.doubts(each.size, each.moving)))

    def _settled(self, *, ends: bool) -> range:
        """The places of the frames that are scored now: at least one, also where a source slower than the rate fills
        windows with repeats.
        """
        last = len(self._held)
        first = min((k for k, each in enumerate(self._held) if each.time > self._told), default=last - 1)
        return range(first, last if ends else max(first + 1, last - self._detector.settings.reach))

    def density(self) -> Float32[np.ndarray, "s i j"]:
        """The scores of the cells of the frames that the last push scored."""
        return np.stack([each.scores for each in self.seen])

    def _look(self, time: float, pixels: UInt8[np.ndarray, "h w 3"], *, number: int) -> Looked:
        gray = self._scene.analysed(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), height=self._detector.settings.height)
        self.enlarged = pixels.shape[0] / gray.shape[0]
        before = self._held[-1] if self._held else None
        if before is not None and repeats(gray, before.gray, self._shape(gray)):
            return replace(before, time=time, motion=None)
        frame = self._moved(time, gray, before)
        if self._detector.known.appearance is not None:
            frame.looks = self._looks(pixels, frame, before, number)
        return frame

    def _moved(self, time: float, gray: UInt8[np.ndarray, "h w"], before: Looked | None) -> Looked:
        """A new picture, and what moved in it."""
        if before is None or time - before.time >= GAP_S:
            return Looked(time, time, gray, None, None)
        flow = -self._between(gray, before.gray)  # of the pixels of this frame, where they came from
        earlier = flow if before.flow is None else before.flow
        seconds = time - before.shown
        if seconds >= GAP_S:  # a frozen picture, or a still scene: nobody knows what moved for how long
            return Looked(time, time, gray, flow, None)
        cells = self._detector.settings.grid.cells(gray, flow, earlier, seconds=seconds)
        return Looked(time, time, gray, flow, Motion(cells, seconds))

    def _looks(
        self, pixels: UInt8[np.ndarray, "h w 3"], frame: Looked, before: Looked | None, number: int
    ) -> Float32[np.ndarray, "i j v"] | None:
        """What the cells of a frame look like, or looked like when they were looked at last: things that move leave
        their cells, so only those in which something moved then are said anything of.
        """
        last, appearance = None if before is None else before.looks, self._detector.known.appearance
        if appearance is None or frame.motion is None or (last is not None and number % EVERY):
            return last
        looks = appearance.look(pixels, self._shape(frame.gray), size=(frame.gray.shape[0], frame.gray.shape[1]))
        return np.where(frame.motion.channels[..., :1] > self._detector.settings.filled, looks, np.float32(0))

    def _shape(self, gray: UInt8[np.ndarray, "h w"]) -> tuple[int, int]:
        return self._detector.settings.grid.shape((gray.shape[0], gray.shape[1]))

    def _objects(self, ref: ClipRef, k: int, size: tuple[int, int]) -> Objects | None:
        """The objects of the frame that was looked at last, number `k` of a window."""
        settings, frame = self._detector.settings, self._held[-1]
        if not settings.follows:
            return None
        if self._finder is None:
            self._finder = settings.finder(ref, size)
            forgotten = ref.first > 0 and frame.time not in self._trail
            self.remarks = (*self._finder.origin, ALONE) if forgotten else self._finder.origin
        if frame.time in self._trail:
            return self._trail[frame.time]
        moving = None
        if frame.flow is not None:
            moving = (cv2.magnitude(*cv2.split(frame.flow)) > settings.least) & (frame.shown == frame.time)
        found = self._finder.find(ref.first + k, frame.time, frame.gray, moving)
        self._detector.trails.keep(ref, frame.time, found)
        return found

    def _seen(self, place: int) -> Seen:
        """The frame at a place in the window, with what is known of the frames around it."""
        frame = self._held[place]
        if frame.time in self._done:
            return self._done[frame.time]
        half = self._detector.settings.span // 2
        near = self._held[max(0, place - half) : place + half + 1]
        around = [each.motion for each in near if each.motion is not None]
        still = np.zeros((*self._shape(frame.gray), len(CHANNELS)), np.float32)
        return self._judged(frame, steadied(around) if around else still)

    def _judged(self, frame: Looked, channels: Float32[np.ndarray, "i j c"]) -> Seen:
        """The moving cells of a frame and how far they are from the normal ones."""
        detector = self._detector
        moving, objects = channels[..., 0], np.zeros((*channels.shape[:2], len(OF_OBJECT)), np.float32)
        if frame.objects is not None:
            objects = frame.objects.cover((frame.gray.shape[0], frame.gray.shape[1]), channels.shape[:2])
        surrounding = cv2.blur(moving, (5, 5), borderType=cv2.BORDER_REPLICATE)
        looks = np.zeros((*channels.shape[:2], LOOKS), np.float32) if frame.looks is None else frame.looks
        every = attributes(channels, surrounding, looks, objects, filled=detector.settings.filled)
        at = np.argwhere((every[..., _SUBJECTS] > 0).any(axis=-1))
        values = every[at[:, 0], at[:, 1]]
        crop = detector.known.crops.shape[1]
        cells = Cells(values, crops(frame.gray, places(values), side=3 * detector.settings.block, size=crop))
        distances = np.zeros((len(at), len(detector.settings.groups)), np.float32)
        if len(at) and detector.known.count:
            distances = detector.known.distances(values).astype(np.float32)
        rule, pool = detector.settings.rule, detector.settings.pool
        size = (frame.gray.shape[0], frame.gray.shape[1])
        return Seen(frame.time, size, cells, at, distances, ruled(distances, at, moving.shape, rule=rule, pool=pool))


def ruled(
    distances: Float[np.ndarray, "m g"], at: Int[np.ndarray, "m 2"], shape: tuple[int, ...], *, rule: Rule, pool: int
) -> Float32[np.ndarray, "i j"]:
    """The scores of all cells of a `shape` (i, j): the rule over the groups' distances, then the mean over `pool` x
    `pool` cells, which share pixels, so that one chance match of a cell decides less; 0 where nothing is.
    """
    alone, there = np.zeros(shape, np.float32), np.zeros(shape, bool)
    there[at[:, 0], at[:, 1]] = True
    alone[at[:, 0], at[:, 1]] = distances.sum(axis=1) if rule == "sum" else distances.max(axis=1)
    around: Float32[np.ndarray, "i j"] = cv2.blur(alone, (pool, pool), borderType=cv2.BORDER_REPLICATE)
    return np.where(there, around, np.float32(0))


def crops(
    gray: UInt8[np.ndarray, "h w"], places: Float32[np.ndarray, "m 2"], *, side: int, size: int
) -> UInt8[np.ndarray, "m s s"]:
    """Squares of `side` pixels around places, shrunk to `size`; beyond the picture its edge goes on."""
    half = side // 2
    padded = cv2.copyMakeBorder(gray, half, half, half, half, cv2.BORDER_REPLICATE)
    corners = (places * gray.shape).astype(int)
    found = np.empty((len(places), size, size), np.uint8)
    for k, (top, left) in enumerate(corners):
        square = padded[top : top + 2 * half, left : left + 2 * half]
        found[k] = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return found
