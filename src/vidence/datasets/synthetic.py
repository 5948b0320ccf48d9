"""A synthetic surveillance set whose truth is known: what happens, when, and on which pixels.

People walk, and two stand and talk, on a walkway under a fixed camera. Two things happen that should not: a `cyclist`
rides there, or a delivery `cart` drives there. Clips of one seed are twins: they differ in nothing
but the event. So that a sudden change alone means nothing, one more walker comes and goes in every clip, for as many
frames as an event might last.

Four more kinds can be asked for, which are people like all others: a `runner`, somebody who walks the `wrong-way`, a
`trespasser` where nobody walks, and `jitter`, whose every frame is one of a walk and whose motion is none. Clips of a
set with one of these have a passer-by for the frames of the event, whose way it is that goes wrong; in the normal twin
it does not. Where `wrong-way` is among the kinds, everybody else, riders too, goes to the right, in every place.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from vidence.datasets.cast import RIDES, WALKS, Cast, Happening, crossing_s, draw_cast, placed, slowest_crossing_s
from vidence.datasets.dataset import Sample
from vidence.datasets.figures import Canvas
from vidence.datasets.walkway import background, cast_shadow, person_height
from vidence.errors import DataError
from vidence.frames.encoding import REPEATABLE_X264

KINDS = (*RIDES, *WALKS)
CLASSES = ("normal", *RIDES)  # of a set whose kinds are not asked for
EVENT_LENGTHS = (1, 2, 4, 8)
QUIET_S = 2  # seconds of a scene's slot before and after what happens in it
MOTION_FRAMES = 4  # that an event of a set with one of `WALKS` lasts at the least: fewer show no motion
FINE = 432  # rows of the canvas on which figures are drawn before it is shrunk
CAMERA_CLIPS = 12  # clips that `write` takes from one camera


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticClip:
    """`pixels` uint8 RGB (t, h, w, 3), `times` in seconds, `mask` bool (t, h, w) of the visible anomalous pixels, and
    (label, first second, last second) of each event as far as it can be seen.
    """

    pixels: np.ndarray
    times: tuple[float, ...]
    label: str
    mask: np.ndarray
    events: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Synthetic:
    """Settings. `size` (h, w) in pixels, `length` frames at `rate` a second; `event_frames` is how many frames an event
    lasts (None: 1, 2, 4, 8 or as many as fit, at random), `events` how many there are in an anomalous clip. `kinds` are
    those of `KINDS` that the set has.
    """

    size: tuple[int, int] = (144, 192)
    length: int = 16
    rate: float = 8.0
    event_frames: int | None = None
    events: int = 1
    kinds: tuple[str, ...] = RIDES

    def __post_init__(self) -> None:
        if min(self.size) < 16 or any(side % 2 for side in self.size) or self.length < 1 or self.rate <= 0:
            raise DataError(
                f"a synthetic clip needs even sides of 16 pixels or more, a frame and a positive rate; got {self}."
            )
        if not self.kinds or len(set(self.kinds)) < len(self.kinds) or set(self.kinds) - set(KINDS):
            raise DataError(f"a synthetic set has one or more of the kinds {', '.join(KINDS)}, once; got {self.kinds}.")
        lasts = self._shortest if self.event_frames is None else self.event_frames
        if self.events < 0 or (self.events and not self._shortest <= lasts <= self._longest):
            raise DataError(
                f"{self.events} separate events in {self.length} frames can last {self._shortest} to {self._longest} "
                f"frames each if the kinds are {', '.join(self.kinds)}; got event_frames={self.event_frames}."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """What a clip can be: normal, or of one of the kinds."""
        return ("normal", *self.kinds)

    @property
    def has_walks(self) -> bool:
        """Whether one of the kinds is a passer-by on a wrong way, so that normal clips have one on a right way."""
        return bool(set(self.kinds) & set(WALKS))

    @property
    def _shortest(self) -> int:
        return MOTION_FRAMES if self.has_walks else 1

    @property
    def _longest(self) -> int:
        """Frames an event can last when one quiet frame separates two."""
        return (self.length - self.events + 1) // self.events

    def clip(self, label: str, seed: int, *, camera: int | None = None) -> SyntheticClip:
        """One clip of a class of `classes`. `camera` chooses the place; by default every seed has its own."""
        if label not in self.classes:
            raise DataError(f"a synthetic class of this set is one of {', '.join(self.classes)}; got {label!r}.")
        rng = np.random.default_rng([seed, 6])
        visit = self._runs("visit", 1, self._drawn_length(rng, self.length), rng)
        labels = [] if label == "normal" else [label]
        if self.has_walks and label not in WALKS:
            labels.append("passer-by")
        return self.film([*visit, *(one for each in labels for one in self._plan(each, seed))], seed, camera=camera)

    def _plan(self, label: str, seed: int) -> list[Happening]:
        """Disjoint events at random times, the same ones whatever happens then."""
        if not self.events:
            return []
        rng = np.random.default_rng([seed, 3])
        drawn = self._drawn_length(rng, self._longest)
        return self._runs(label, self.events, self.event_frames or drawn, rng)

    def _drawn_length(self, rng: np.random.Generator, longest: int) -> int:
        """Frames that something lasts: any power of two that is long enough, or as many as fit."""
        return int(rng.choice([n for n in EVENT_LENGTHS if self._shortest <= n < longest] + [longest, longest]))

    def _runs(self, label: str, runs: int, n: int, rng: np.random.Generator) -> list[Happening]:
        """`runs` happenings of `n` frames with a quiet frame or more between two."""
        spare = self.length - runs * (n + 1) + 1
        firsts = np.sort(rng.integers(0, spare + 1, runs)) + (n + 1) * np.arange(runs)
        return [Happening(label, int(one) / self.rate, (int(one) + n - 1) / self.rate) for one in firsts]

    def film(self, happenings: Sequence[Happening], seed: int, *, camera: int | None = None) -> SyntheticClip:
        """A clip in which the given things happen, of one class or of several."""
        empty = background(seed if camera is None else camera, self.size)
        cast = self.cast(seed)
        sensor = np.random.default_rng([seed, 4])
        times = tuple(i / self.rate for i in range(self.length))
        frames, masks = [], []
        for time in times:
            now = [one for one in happenings if one.covers(time)]
            frame, mask = _picture(empty, cast, time, now)
            frames.append(_sensed(frame, sensor))
            masks.append(mask)
        mask = np.stack(masks)
        anomalies = [one for one in happenings if one.label in KINDS]
        label = anomalies[0].label if anomalies else "normal"
        return SyntheticClip(np.stack(frames), times, label, mask, _seen(anomalies, mask, times))

    def cast(self, seed: int) -> Cast:
        """Who is there."""
        one_way = "wrong-way" in self.kinds
        return draw_cast(np.random.default_rng([seed, 2]), self.size[1] / self.size[0], one_way=one_way)


SCENE = Synthetic(size=(288, 384), length=128)


def scene_settings(kinds: tuple[str, ...] = RIDES, *, size: tuple[int, int] = SCENE.size) -> Synthetic:
    """Settings of scenes of a size (h, w) with events of these kinds: `SCENE`, or as long as they have to be."""
    made = replace(SCENE, kinds=kinds, size=size)
    return replace(made, length=max(SCENE.length, round(_scene_s(made) * SCENE.rate) + 1))


def _picture(
    empty: np.ndarray, cast: Cast, time: float, happenings: Sequence[Happening]
) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free pixels (h, w, 3) and mask (h, w), drawn large and shrunk by area."""
    h, w = empty.shape[:2]
    times = min(4, max(2, ceil(FINE / h)))
    figures = placed(cast, time, happenings)
    ground = cast_shadow(empty, [figure.at for figure in figures])
    fine = cv2.resize(ground, (w * times, h * times), interpolation=cv2.INTER_NEAREST)
    canvas = Canvas(fine, np.zeros(fine.shape[:2], np.uint8))
    for figure in figures:
        x, y = figure.at
        unit = person_height(y) * h * times
        canvas.draw(figure.strokes, (x * h * times, y * h * times), unit=unit, marked=figure.marked)
    small = cv2.resize(canvas.picture, (w, h), interpolation=cv2.INTER_AREA)
    share = cv2.resize(canvas.plane, (w, h), interpolation=cv2.INTER_AREA)
    return small, share >= 128


def _sensed(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add what a camera adds: a flicker of the light and noise in every pixel."""
    light = 1 + 0.008 * rng.standard_normal()
    noise = rng.standard_normal(frame.shape[:2], np.float32)[..., None] * 1.6
    return np.clip(frame * np.float32(light) + noise + 0.5, 0, 255).astype(np.uint8)


def _seen(
    happenings: Sequence[Happening], mask: np.ndarray, times: Sequence[float]
) -> tuple[tuple[str, float, float], ...]:
    """The happenings, cut to the frames in which the mask (t, h, w) is not empty; unseen ones are left out."""
    visible = [time for time, frame in zip(times, mask, strict=True) if frame.any()]
    cut = [(one.label, [time for time in visible if one.covers(time)]) for one in happenings]
    return tuple((label, inside[0], inside[-1]) for label, inside in cut if inside)


def write(folder: str | Path, n: int, seed: int = 0, *, settings: Synthetic | None = None) -> list[Sample]:
    """Write `n` labelled clips as H.264 files with their masks; `classes` take turns, 12 clips share a camera.

    `clips.csv` has the columns file, label, group (the camera), mask, first_s, last_s (of the first event, else empty);
    `events.csv` has a row per event: file, label, first_s, last_s. A mask file holds `mask` bool (t, h, w) and `times`.
    """
    if n < 1:
        raise DataError(f"a synthetic set needs at least one clip; got n={n}.")
    made = settings or Synthetic()
    places = ((i, made.classes[i % len(made.classes)], i // CAMERA_CLIPS) for i in range(n))
    films = (
        (f"{label}-{i:04d}", camera, made.clip(label, _seed(seed, i), camera=_seed(seed, camera)))
        for i, label, camera in places
    )
    return _write(Path(folder), films, n, rate=made.rate)


def write_scenes(
    folder: str | Path, n: int, seed: int = 0, *, settings: Synthetic | None = None, camera: int | None = None
) -> list[Sample]:
    """Write `n` longer films with quiet stretches in the layout of `write`, each by its own camera or all by `camera`.

    In turn: the last kind, each kind and later the next, the first kind, nothing. Events come at random times; riders
    stay two to four seconds, walkers cross the picture at their pace. Without events (`events=0`) nothing ever happens.
    """
    made = settings or SCENE
    if n < 1 or (made.length - 1) / made.rate < _scene_s(made):
        raise DataError(
            f"scenes need n of at least 1 and {_scene_s(made):g} seconds each if the kinds are "
            f"{', '.join(made.kinds)}; got n={n} and {(made.length - 1) / made.rate:g} s."
        )
    programmes = _programmes(made.kinds) if made.events else [()]
    plans = ((i, _happenings(made, programmes[i % len(programmes)], _seed(seed, i))) for i in range(n))
    films = (
        (f"scene-{i:02d}", i if camera is None else camera, made.film(happenings, _seed(seed, i), camera=camera))
        for i, happenings in plans
    )
    return _write(Path(folder), films, n, rate=made.rate)


def _programmes(kinds: Sequence[str]) -> list[tuple[str, ...]]:
    """What happens in one scene and the next, so that every kind is there twice."""
    return [(kinds[-1],), *reversed(list(pairwise(kinds))), (kinds[0],), ()]


def _scene_s(made: Synthetic) -> float:
    """Seconds that a scene must have: room for two riders, or for two who walk and a passer-by."""
    return 3.0 * ceil(QUIET_S + slowest_crossing_s(made.size[1] / made.size[0])) if made.has_walks else 12.0


def _happenings(made: Synthetic, programme: Sequence[str], seed: int) -> list[Happening]:
    """The programme at random times, a slot for each; in a set with walks a passer-by crosses in a slot of his own."""
    rng = np.random.default_rng([seed, 5])
    labels = list(programme)
    if made.has_walks:
        labels.insert(int(rng.integers(len(labels) + 1)), "passer-by")
    slot = (made.length - 1) / made.rate / max(len(labels), 1)
    found = []
    for place, label in enumerate(labels):
        lasts = float(rng.uniform(2.2, 3.5)) if label in RIDES else crossing_s(made.cast(seed), label)
        first = place * slot + float(rng.uniform(1.5, slot - lasts - 0.5))
        found.append(Happening(label, first, first + lasts))
    return found


def _seed(seed: int, i: int) -> int:
    """Distinct sets use distinct people and places."""
    return seed * 1_000_003 + i


def _write(folder: Path, films: Iterable[tuple[str, int, SyntheticClip]], n: int, *, rate: float) -> list[Sample]:
    for name in ("clips", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    samples = []
    clips: list[list[object]] = [["file", "label", "group", "mask", "first_s", "last_s"]]
    events: list[list[object]] = [["file", "label", "first_s", "last_s"]]
    shown = track(films, f"filming {folder.name}", total=n, console=Console(stderr=True), transient=True)
    for stem, camera, film in shown:
        file, mask, group = f"clips/{stem}.mp4", f"masks/{stem}.npz", f"camera-{camera:02d}"
        encode(folder / file, film.pixels, rate=rate)
        aside = folder / f"masks/.{stem}.npz"
        np.savez_compressed(aside, mask=film.mask, times=np.array(film.times))
        os.replace(aside, folder / mask)
        first = film.events[0][1:] if film.events else ("", "")
        clips.append([file, film.label, group, mask, *first])
        events += [[file, *event] for event in film.events]
        samples.append(Sample(str(folder / file), film.label, group, str(folder / mask)))
    for name, rows in (("clips.csv", clips), ("events.csv", events)):
        aside = folder / f".{name}"
        with aside.open("w", newline="", encoding="utf-8") as table:
            csv.writer(table, lineterminator="\n").writerows(rows)
        os.replace(aside, folder / name)
    return samples


def encode(path: Path, pixels: np.ndarray, *, rate: float) -> None:
    """Write frames uint8 RGB (t, h, w, 3), sides even, as H.264; equal frames give equal bytes."""
    aside = path.with_name(f".{path.name}")
    with av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast", "x264-params": REPEATABLE_X264}
        for frame in pixels:
            planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    os.replace(aside, path)
