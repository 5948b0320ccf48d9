"""People and a bicycle as strokes: poses in units of a person's height, drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import Literal, TypeAlias

import cv2
import numpy as np

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]

SHIRTS: tuple[Colour, ...] = (
    (176, 92, 78), (84, 116, 158), (196, 164, 96), (106, 142, 112), (222, 216, 204),
    (128, 96, 142), (72, 84, 104), (206, 134, 104), (92, 150, 158), (150, 150, 154),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((52, 58, 74), (82, 74, 66), (44, 44, 48), (96, 104, 120), (118, 104, 84))
SKINS: tuple[Colour, ...] = ((232, 196, 166), (206, 160, 126), (158, 112, 82), (106, 74, 56))
HAIRS: tuple[Colour, ...] = ((48, 38, 32), (92, 66, 44), (156, 122, 78), (30, 28, 30), (170, 166, 160))


@dataclass(frozen=True, slots=True)
class Look:
    """A person's colours and build. `height` is a factor around 1."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    height: float
    suitcase: bool


@dataclass(frozen=True, slots=True)
class Pose:
    """Joint angles in radians, positive towards where the person faces; limbs hang down at 0. `knees` and `elbows` bend
    the lower half of a limb; pairs are (far side, near side).
    """

    lean: float = 0.0
    legs: Point = (0.0, 0.0)
    knees: Point = (0.0, 0.0)
    arms: Point = (0.0, 0.0)
    elbows: Point = (0.25, 0.25)
    hip: Point = (0.0, 0.49)


@dataclass(frozen=True, slots=True)
class Stroke:
    """A round-ended line through `points` (a disc if there is one); `width` in the units of the points. `fill` says
    where its convex inside counts too: nowhere, in the mask alone (a wheel), or everywhere.
    """

    points: tuple[Point, ...]
    width: float
    colour: Colour
    fill: Literal["none", "mask", "all"] = "none"


def draw_look(rng: np.random.Generator) -> Look:
    """A person's looks at random."""
    shirt, trousers, skin, hair = (
        palette[int(rng.integers(len(palette)))] for palette in (SHIRTS, TROUSERS, SKINS, HAIRS)
    )
    return Look(shirt, trousers, skin, hair, height=float(rng.uniform(0.92, 1.08)), suitcase=bool(rng.random() < 0.3))


def walking(travelled: float) -> Pose:
    """The pose after walking `travelled` body heights: feet do not slide, one cycle is 0.86 heights."""
    phase = 2 * pi * travelled / 0.86
    swing, back = 0.45 * sin(phase), 0.5 * (1 - cos(phase)) / 2
    return Pose(0.05, (swing, -swing), (-0.15 - back, -0.65 + back), (-0.8 * swing, 0.8 * swing), (0.3, 0.3))


def talking(time: float, phase: float) -> Pose:
    """Standing, with a slow gesture of one hand."""
    gesture = max(0.0, sin(0.9 * time + phase))
    return Pose(
        0.03 * sin(time + phase), (0.06, -0.06), (0, 0), (0.05, 0.1 + 0.3 * gesture), (0.2, 0.3 + 0.8 * gesture)
    )


def person(look: Look, pose: Pose) -> list[Stroke]:
    """Strokes from far to near, facing right, feet about (0, 0), y upwards."""
    hip = pose.hip
    shoulder = _along(hip, 0.3, pi - pose.lean)
    neck = _along(hip, 0.4, pi - 1.1 * pose.lean)
    head = _along(hip, 0.435, pi - 1.1 * pose.lean)
    legs = [_limb(hip, 0.245, leg, knee) for leg, knee in zip(pose.legs, pose.knees, strict=True)]
    arms = [_limb(shoulder, 0.165, arm, elbow) for arm, elbow in zip(pose.arms, pose.elbows, strict=True)]
    strokes = [
        Stroke(arms[0], 0.065, _shade(look.shirt, 0.72)),
        Stroke((arms[0][2],), 0.065, _shade(look.skin, 0.8)),
        Stroke(legs[0], 0.095, _shade(look.trousers, 0.75)),
        Stroke((legs[0][2], _along(legs[0][2], 0.05, pi / 2)), 0.055, (38, 34, 32)),
        Stroke(legs[1], 0.1, look.trousers),
        Stroke((legs[1][2], _along(legs[1][2], 0.05, pi / 2)), 0.055, (38, 34, 32)),
        Stroke((hip, shoulder), 0.18, look.shirt),
        Stroke((neck,), 0.08, _shade(look.skin, 0.85)),
        Stroke((_along(head, 0.012, -pi / 2 - 0.8),), 0.15, look.hair),
        Stroke((_along(head, 0.022, pi / 2 - 0.5),), 0.125, look.skin),
        Stroke(arms[1], 0.07, _shade(look.shirt, 0.88)),
        Stroke((arms[1][2],), 0.07, look.skin),
    ]
    return strokes


def suitcase(look: Look) -> list[Stroke]:
    """A rolling case behind a walker."""
    body = _shade(look.trousers, 1.25)
    return [
        Stroke(((-0.12, 0.42), (-0.3, 0.24)), 0.02, (60, 60, 62)),
        Stroke(((-0.3, 0.2), (-0.38, 0.08)), 0.16, body),
    ]


def cyclist(look: Look, travelled: float) -> list[Stroke]:
    """A person riding a bicycle, feet on turning pedals."""
    wheels = [(-0.3, 0.2), (0.32, 0.2)]
    saddle, bar, crank = (-0.14, 0.5), (0.24, 0.56), (-0.02, 0.22)
    steel: Colour = _shade(look.trousers, 0.9)
    strokes = [Stroke(_ring(wheel, 0.2), 0.05, (42, 42, 46), "mask") for wheel in wheels]
    frame = (wheels[0], saddle, (0.2, 0.46), crank, wheels[0], crank, saddle)
    strokes += [Stroke(frame, 0.04, steel), Stroke((wheels[1], (0.2, 0.46), bar), 0.04, steel)]
    turn = travelled / 0.35
    hip = (-0.13, 0.58)
    for offset, shade in ((pi, 0.75), (0.0, 1.0)):
        foot = (crank[0] + 0.085 * cos(turn + offset), crank[1] - 0.085 * sin(turn + offset))
        knee = ((hip[0] + foot[0]) / 2 + 0.14, (hip[1] + foot[1]) / 2 + 0.05)
        strokes.append(Stroke((hip, knee, foot), 0.095, _shade(look.trousers, shade)))
    rider = person(look, Pose(0.55, (0, 0), (0, 0), (0.95, 1.0), (0.1, 0.1), hip))
    return strokes + [stroke for i, stroke in enumerate(rider) if i not in (2, 3, 4, 5)]


def cart(look: Look) -> list[Stroke]:
    """A small electric delivery cart with somebody at the wheel; its box has the colour of the driver's shirt."""
    box, cabin, dark = look.shirt, _shade(look.shirt, 0.78), (50, 52, 56)
    strokes = [
        Stroke(((-0.66, 0.2), (0.66, 0.2)), 0.1, dark),
        Stroke(((-0.66, 0.26), (0.14, 0.26), (0.14, 0.92), (-0.66, 0.92)), 0.06, box, "all"),
        Stroke(((-0.6, 0.56), (0.08, 0.56)), 0.05, _shade(box, 0.84)),
        Stroke(((0.2, 0.26), (0.68, 0.26), (0.66, 0.5), (0.52, 0.84), (0.2, 0.84)), 0.05, cabin, "all"),
        Stroke(((0.27, 0.5), (0.6, 0.5), (0.49, 0.78), (0.27, 0.78)), 0.03, (206, 220, 226), "all"),
        Stroke(((0.36, 0.5), (0.36, 0.54)), 0.14, _shade(look.trousers, 1.2)),
        Stroke(((0.37, 0.65),), 0.13, look.skin),
        Stroke(((0.35, 0.68),), 0.12, look.hair),
        Stroke(((0.67, 0.36),), 0.07, (244, 232, 186)),
    ]
    for x in (-0.4, 0.42):
        strokes += [Stroke(((x, 0.14),), 0.28, (42, 42, 46)), Stroke(((x, 0.14),), 0.12, (150, 152, 154))]
    return strokes


def mirrored(strokes: Sequence[Stroke]) -> list[Stroke]:
    """The same, facing left."""
    return [replace(stroke, points=tuple((-x, y) for x, y in stroke.points)) for stroke in strokes]


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A picture uint8 RGB (h, w, 3), and a plane uint8 (h, w) that is 255 where what was drawn last is `marked`."""

    picture: np.ndarray
    plane: np.ndarray

    def draw(self, strokes: Sequence[Stroke], at: Point, *, unit: float, marked: bool = False) -> None:
        """Paint strokes with their origin at pixel `at` (x, y), `unit` pixels long."""
        for stroke in strokes:
            points = np.array([(at[0] + unit * x, at[1] - unit * y) for x, y in stroke.points])
            fixed = np.round(points * 16).astype(np.int32)
            for target, colour in ((self.picture, stroke.colour), (self.plane, (255 if marked else 0,))):
                _paint(target, fixed, max(1, round(unit * stroke.width)), colour)
            if stroke.fill == "all":
                cv2.fillConvexPoly(self.picture, fixed, stroke.colour, shift=4)
            if stroke.fill != "none":
                cv2.fillConvexPoly(self.plane, fixed, (255 if marked else 0,), shift=4)


def _paint(target: np.ndarray, fixed: np.ndarray, width: int, colour: Sequence[int]) -> None:
    if len(fixed) == 1:
        cv2.circle(target, fixed[0].tolist(), width * 8, colour, cv2.FILLED, shift=4)
    else:
        cv2.polylines(target, [fixed], False, colour, width, shift=4)


def _along(start: Point, length: float, angle: float) -> Point:
    """The point `length` away, `angle` from straight down towards the front."""
    return start[0] + length * sin(angle), start[1] - length * cos(angle)


def _limb(start: Point, length: float, angle: float, bend: float) -> tuple[Point, Point, Point]:
    joint = _along(start, length, angle)
    return start, joint, _along(joint, length, angle + bend)


def _ring(centre: Point, radius: float) -> tuple[Point, ...]:
    return tuple(_along(centre, radius, 2 * pi * i / 24) for i in range(25))


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue
