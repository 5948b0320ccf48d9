"""A score of `motion-attributes` read out: which cell, which attribute, what is normal there, and what came nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from vidence.models.attribute_memory import ATTRIBUTES, GROUPS, has
from vidence.models.attributions import Attributions
from vidence.models.usual_scene import SHAKEN
from vidence.record.facts import Certificate

if TYPE_CHECKING:
    from vidence.models.motion_attributes import MotionAttributesDetector
    from vidence.models.motion_session import MotionSession, Seen

_WORDS = {
    "speed": "mean speed",
    "burst": "root-mean-square speed",
    "peak": "highest speed",
    "right": "mean speed to the right",
    "left": "mean speed to the left",
    "down": "mean speed downwards",
    "up": "mean speed upwards",
    "rightwards": "speed to the right",
    "leftwards": "speed to the left",
    "downwards": "speed downwards",
    "upwards": "speed upwards",
    "turn": "change of motion",
    "unevenness": "unevenness of speed",
    "agreement": "agreement in direction",
    "row": "height in the picture",
    "column": "place across the picture",
    "size": "moving share of the cell",
    "crowd": "moving share of the surroundings",
    "width": "width",
    "height": "height",
    "area": "area",
    "aspect": "height in widths",
    "pace": "speed as a whole",
    "dwell": "time near one place",
}
_EDGE_WORDS = ("upright edges", "rising edges", "level edges", "falling edges")
_SHARES = ("size", "crowd", "unevenness", "agreement", "row", "column")
JUST = 1.05  # times the highest: what is below says 1.0 times
SHOWN = 96  # pixels a side of a picture of a cell
STILL = "Nothing moves, so nothing speaks for an anomaly."
NO_OBJECT = "There is no object, so nothing speaks for an anomaly."  # where all groups are of objects


class Sentences(NamedTuple):
    """What is said of a window that is part of an `alarm`, and of one that is not (`quiet`)."""

    alarm: str
    quiet: str

    def fitting(self, value: float, threshold: Mapping[str, Any] | None) -> str:
        """The one for a score `value`, by a detector's own threshold."""
        return self.quiet if threshold is not None and value <= threshold["value"] else self.alarm


@dataclass(frozen=True, slots=True)
class Observation:
    """One attribute of the cell that decided: its `value` and those of the `nearest` normal cells, all in `unit`;
    `top` is the highest value ever learnt, of this part of the picture alone if `near`. `row` and `column` are shares
    of the picture's height and width. `distance` is the group's, 1 what is usual at most and 0 what is usual; `times`
    the same from nothing on, as it is told.
    """

    time: float
    row: float
    column: float
    group: str
    attribute: str
    value: float
    nearest: tuple[float, ...]
    top: float
    unit: str
    distance: float
    times: float
    near: bool = False

    @property
    def sentence(self) -> str:
        """In words: beyond all that was learnt, unlike what is nearest to it, or far from it as a whole."""
        if self.group == "appearance":
            seen = "it looks unlike anything seen here" if self.distance > 1 else "it looks as usual"
            return f"{seen}, {_number(self.times)} times as far from the nearest normal examples as is usual at most"
        if self.group == "place":
            seen = (
                "things hardly ever move near this place" if self.distance > 1 else "things move at this place as usual"
            )
            return f"{seen}, {_number(self.times)} times as far from the nearest normal examples as is usual at most"
        said = f"its {self.attribute}, {_number(self.value)}{self.unit}"
        here = "in this part of the picture" if self.near else "here"
        if self.group == "dwell" and self.value > self.top:
            stood, longest = _number(self.value), _number(self.top)
            return f"it has stayed near this place for {stood} s; the longest ever seen {here} is {longest} s"
        if self.top > 0 and self.value > self.top:
            times = self.value / self.top
            beyond = f"{times:.1f} times the highest" if times >= JUST else "just above the highest"
            return f"{said}, is {beyond} ever seen {here} ({_number(self.top)})"
        if min(self.nearest) <= self.value <= max(self.nearest):
            whole = f"its {self.group} as a whole is {self.times:.1f} times as far from the nearest normal examples"
            return f"{whole} as is usual at most ({self.attribute} {_number(self.value)}{self.unit})"
        low, high = _number(min(self.nearest)), _number(max(self.nearest))
        usual = f"{low}{self.unit}" if low == high else f"{low} to {high}{self.unit}"
        return f"{said}, is unlike that of the nearest normal examples, {usual}"


def told(detector: MotionAttributesDetector, session: MotionSession, value: float) -> Attributions:
    """What the last window of a session, whose score is `value`, says of itself; `values` (1, t, i, j) are over its
    scored frames.

    In `extra`: `times` of these frames, `sentences` and the `sentence` that fits the detector's own threshold,
    `observations` (plain values, the group that says most first) and `examples`, an RGB picture of the cell that
    decided beside the nearest normal cells.
    """
    seen = session.seen
    peak = max(seen, key=lambda each: float(each.scores.max()))
    extra: dict[str, Any] = {"times": tuple(each.time for each in seen), "observations": []}
    sentences = Sentences(STILL, STILL)
    if len(peak.at) and detector.known.count:
        cell = int(peak.scores[peak.at[:, 0], peak.at[:, 1]].argmax())
        found = observations(detector, peak, cell, enlarged=session.enlarged)
        sentences = _sentences(found, shaken=detector.scene.shaken(peak.moving))
        extra["observations"] = [asdict(each) for each in found]
        if found:
            extra["examples"] = _examples(detector, peak, cell, found[0].group)
    extra |= {"sentences": sentences, "sentence": sentences.fitting(value, detector.threshold)}
    flags = (*session.remarks, *session.doubts)
    return Attributions(torch.from_numpy(session.density())[None], certificate=Certificate(flags=flags), extra=extra)


def observations(
    detector: MotionAttributesDetector, seen: Seen, cell: int, *, enlarged: float = 1.0
) -> list[Observation]:
    """Of each group, the attribute in which a cell lies furthest beyond its nearest normal ones; the group with the
    greatest distance first. `enlarged`: pixels of the source for one that was analysed.
    """
    memory, kept = detector.known, detector.known.cells()
    value, place = seen.cells.attributes[cell : cell + 1], seen.cells.places[cell : cell + 1]
    found = []
    for k, group in enumerate(detector.settings.groups):
        if not has(group, value)[0]:
            continue
        top, local = memory.highest(group, place[0])
        near = memory.levelled(kept.attributes[memory.nearest(group, value)[0]], row=float(place[0, 0]))
        columns = [ATTRIBUTES.index(name) for name in GROUPS[group]]
        beyond = np.maximum(near.min(axis=0) - value[0], value[0] - near.max(axis=0)) / memory.spread.numpy()
        column = max(columns, key=lambda one: float(beyond[one]))  # below 0: inside the range of the nearest
        name = ATTRIBUTES[column]
        unit, factor = _unit(name, detector.settings.scale, enlarged)
        found.append(
            Observation(
                time=seen.time,
                row=float(place[0, 0]),
                column=float(place[0, 1]),
                group=group,
                attribute=_words(name),
                value=float(value[0, column]) * factor,
                nearest=tuple((near[:, column] * factor).tolist()),
                top=float(top[column]) * factor,
                unit=unit,
                distance=float(seen.distances[cell, k]),
                times=memory.times(group, float(seen.distances[cell, k])),
                near=local,
            )
        )
    return sorted(found, key=lambda each: -each.distance)


def _sentences(found: list[Observation], *, shaken: bool) -> Sentences:
    if not found:
        return Sentences(NO_OBJECT, NO_OBJECT)
    first = found[0]
    others = [each for each in found[1:] if each.distance > 1 and each.attribute != first.attribute]
    reason = f"{first.sentence}; {others[0].sentence}." if others else f"{first.sentence}."
    where = f"{first.row:.0%} of the height and {first.column:.0%} of the width"
    if shaken:
        both = f"{SHAKEN[0].upper()}{SHAKEN[1:]}. Furthest from usual was the place at {where}: {reason}"
        return Sentences(both, f"Nothing stood out, but {both[0].lower()}{both[1:]}")
    return Sentences(
        f"At {where} something stands out because {reason}",
        f"Nothing stood out; furthest from usual was the place at {where}: {reason}",
    )


def _words(name: str) -> str:
    if name.startswith("look"):
        return "looks"
    return _EDGE_WORDS[int(name.split()[1])] if name.startswith("edge") else _WORDS[name]


def _unit(name: str, scale: float | None, enlarged: float) -> tuple[str, float]:
    """The unit an attribute is told in, and what its values are multiplied by."""
    if name in _SHARES:
        return " %", 100.0
    if name.startswith("edge"):
        return " gray levels a pixel", 1.0
    if name in ("aspect", "dwell") or name.startswith("look"):
        return (" s" if name == "dwell" else ""), 1.0
    if name in ("width", "height", "area"):
        power = 2 if name == "area" else 1
        unit, factor = ("pixels", enlarged) if scale is None else ("m", enlarged * scale)
        return f" {'square ' if power == 2 else ''}{unit}", factor**power
    return (" pixels/s", enlarged) if scale is None else (" m/s", enlarged * scale)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _examples(detector: MotionAttributesDetector, seen: Seen, cell: int, group: str) -> UInt8[np.ndarray, "h w 3"]:
    """The cell, and after a white bar the nearest normal ones in a group."""
    memory = detector.known
    value = seen.cells.attributes[cell : cell + 1]
    near = memory.cells().crops[memory.nearest(group, value)[0]]
    large = [
        cv2.resize(each, (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC) for each in (seen.cells.crops[cell], *near)
    ]
    bar = np.full((SHOWN, SHOWN // 12), 255, np.uint8)
    row = np.concatenate([large[0], bar, *large[1:]], axis=1)
    return np.repeat(row[..., None], 3, axis=2)
