"""Who is on the walkway, and where everybody is at a given second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import pi, sin

import numpy as np

from vidence.datasets.figures import (
    Look,
    Point,
    Stroke,
    cart,
    cyclist,
    draw_look,
    mirrored,
    person,
    suitcase,
    talking,
    walking,
)
from vidence.datasets.walkway import BOTTOM, TOP, person_height

RIDES = ("cyclist", "cart")
WALKS = ("runner", "wrong-way", "trespasser", "jitter")  # the passer-by, and what is wrong with the way he walks
PACES = (0.6, 1.0)  # of people who walk, in body heights a second
MARGIN = 0.25  # picture heights beyond the edge where walkers come and go
RUN = 3.0  # a runner's pace, in paces of the same person walking
JERK, JERKS = 0.3, 2.5  # how far jitter carries to and fro, in body heights, and how often a second
BEDS = ((0.27, 0.33), (0.945, 0.975))  # where nobody walks: the planting behind the walkway, the lawn before it


@dataclass(frozen=True, slots=True)
class Walker:
    """Somebody who crosses the picture again and again. `speed` in picture heights a second, signed."""

    look: Look
    start: float
    speed: float
    y: float


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody in a scene, whatever happens there: walkers, two who stand at `meet`, a visitor, a rider and a
    passer-by who wait for their moment. Positions are in picture heights, y downwards; `bed` is where nobody walks.
    """

    walkers: tuple[Walker, ...]
    pair: tuple[Look, Look]
    meet: Point
    phases: tuple[float, float]
    visitor: Walker
    rider: Look
    lane: float
    entry: float
    heading: int
    speed: float
    wide: float
    passer: Walker
    bed: float


@dataclass(frozen=True, slots=True)
class Happening:
    """What goes on from one second to another: an anomaly's `label`, or something harmless: a "visit" of one more
    walker, or the "passer-by" on his way.
    """

    label: str
    first_s: float
    last_s: float

    def covers(self, time: float) -> bool:
        """Whether it goes on at `time`; both ends belong to it."""
        return self.first_s - 1e-6 <= time <= self.last_s + 1e-6


@dataclass(frozen=True, slots=True)
class Placed:
    """A figure's strokes, where it stands on the ground (picture heights), and whether it is an anomaly."""

    strokes: list[Stroke]
    at: Point
    marked: bool = False


def draw_cast(rng: np.random.Generator, wide: float, *, one_way: bool = False) -> Cast:
    """A cast at random for a picture `wide` heights wide; `one_way` sends the same people all to the right."""
    cast = Cast(
        walkers=tuple(_draw_walker(rng, wide) for _ in range(int(rng.integers(1, 3)))),
        pair=(draw_look(rng), draw_look(rng)),
        meet=(float(rng.uniform(0.3, wide - 0.3)), float(rng.uniform(TOP + 0.06, BOTTOM - 0.12))),
        phases=(float(rng.uniform(0, 6)), float(rng.uniform(0, 6))),
        visitor=_draw_walker(rng, wide),
        rider=draw_look(rng),
        lane=float(rng.uniform(TOP + 0.2, BOTTOM - 0.03)),
        entry=float(rng.uniform(0, wide)),
        heading=1 if rng.random() < 0.5 else -1,
        speed=float(rng.uniform(0.5, 0.8)),
        wide=wide,
        passer=_draw_walker(rng, wide),
        bed=float(rng.uniform(*BEDS[int(rng.integers(len(BEDS)))])),
    )
    if not one_way:
        return cast
    return replace(
        cast,
        walkers=tuple(_to_the_right(walker) for walker in cast.walkers),
        visitor=_to_the_right(cast.visitor),
        passer=_to_the_right(cast.passer),
        heading=1,
    )


def _to_the_right(walker: Walker) -> Walker:
    return replace(walker, speed=abs(walker.speed))


def _draw_walker(rng: np.random.Generator, wide: float) -> Walker:
    y = float(rng.uniform(TOP + 0.04, BOTTOM - 0.08))
    pace = person_height(y) * float(rng.uniform(*PACES)) * (1 if rng.random() < 0.5 else -1)
    return Walker(draw_look(rng), float(rng.uniform(0, wide + 2 * MARGIN)), pace, y)


def placed(cast: Cast, time: float, happenings: Sequence[Happening]) -> list[Placed]:
    """All figures at `time` seconds, far ones first."""
    labels = {one.label for one in happenings}
    walkers = (*cast.walkers, cast.visitor) if "visit" in labels else cast.walkers
    figures = [_walker(walker, time, cast.wide) for walker in walkers]
    figures += _pair(cast, time)
    figures += [_rider(cast, time, one) for one in happenings if one.label in RIDES]
    figures += [_passer(cast, time, one) for one in happenings if one.label in (*WALKS, "passer-by")]
    return sorted(figures, key=lambda figure: figure.at[1])


def _walker(walker: Walker, time: float, wide: float) -> Placed:
    travelled = walker.start + walker.speed * time
    x = travelled % (wide + 2 * MARGIN) - MARGIN
    return Placed(_strokes(walker, abs(travelled)), (x, walker.y))


def _strokes(walker: Walker, travelled: float) -> list[Stroke]:
    """The pose after so many picture heights, and the case of who has one."""
    strokes = suitcase(walker.look) if walker.look.suitcase else []
    strokes = strokes + person(walker.look, walking(travelled / person_height(walker.y)))
    return mirrored(strokes) if walker.speed < 0 else strokes


def _pair(cast: Cast, time: float) -> list[Placed]:
    """Two who stand and talk."""
    x, y = cast.meet
    unit = person_height(y)
    figures = []
    for side, look, phase in zip((-1, 1), cast.pair, cast.phases, strict=True):
        strokes = person(look, talking(time, phase))
        at = (x + side * 0.3 * unit, y + 0.004 * side)
        figures.append(Placed(strokes if side < 0 else mirrored(strokes), at))
    return figures


def _rider(cast: Cast, time: float, event: Happening) -> Placed:
    """A short event shows the rider somewhere on the way; one of more than two seconds is a whole crossing."""
    lasts = event.last_s - event.first_s
    if lasts > 2:
        way, middle = cast.wide + 4 * MARGIN, cast.wide / 2
    else:
        way = min(cast.speed * lasts, 0.7 * cast.wide)
        middle = _middle(way, cast.wide, cast.entry / cast.wide)
    along = way * ((time - event.first_s) / lasts - 0.5) if lasts else 0.0
    turned = abs(along) / person_height(cast.lane)
    strokes = cart(cast.rider) if event.label == "cart" else cyclist(cast.rider, turned)
    at = (middle + cast.heading * along, cast.lane)
    return Placed(strokes if cast.heading > 0 else mirrored(strokes), at, True)


def _middle(way: float, wide: float, share: float) -> float:
    """Where a way has its middle, so that all of it is well inside the picture: the leftmost for a `share` of 0."""
    edge = way / 2 + 0.15 * wide
    return edge + (wide - 2 * edge) * share


def _passer(cast: Cast, time: float, event: Happening) -> Placed:
    """The passer-by; a way that is longer than the picture begins and ends outside."""
    walker = _behaving(cast, event.label)
    since = time - (event.first_s + event.last_s) / 2
    along = abs(walker.speed) * since
    if event.label == "jitter":
        along += JERK * person_height(walker.y) * sin(2 * pi * JERKS * (time - event.first_s))
    way = min(abs(walker.speed) * (event.last_s - event.first_s), 0.7 * cast.wide)
    middle = _middle(way, cast.wide, walker.start / (cast.wide + 2 * MARGIN))
    at = (middle + (along if walker.speed > 0 else -along), walker.y)
    return Placed(_strokes(walker, walker.start + along), at, event.label in WALKS)


def _behaving(cast: Cast, label: str) -> Walker:
    """The passer-by as the event has him. Paces keep to the height that a body has where it walks."""
    walker = cast.passer
    if label == "runner":
        return replace(walker, speed=RUN * walker.speed)
    if label == "wrong-way":
        return replace(walker, speed=-walker.speed)
    if label == "trespasser":
        return replace(walker, y=cast.bed, speed=walker.speed * person_height(cast.bed) / person_height(walker.y))
    return walker


def crossing_s(cast: Cast, label: str) -> float:
    """Seconds that the passer-by needs from beyond one edge to beyond the other."""
    return (cast.wide + 2 * MARGIN) / abs(_behaving(cast, label).speed)


def slowest_crossing_s(wide: float) -> float:
    """Seconds that nobody needs more of: the slowest pace where bodies are smallest."""
    return (wide + 2 * MARGIN) / (PACES[0] * person_height(BEDS[0][0]))
