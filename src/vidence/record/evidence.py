"""Why a decision came out as it did (methods.md E, line 13): one `Evidence` per explainer that was asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidence.record.facts import Certificate
from vidence.record.plain import LATER
from vidence.record.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenScore:
    """The detector's score, measured again with the marked region hidden.

    `value` is on the detection's scale, `share` the part of the pixels hidden, `fill` what was put there in words,
    `control` the score with as large a region hidden elsewhere.
    """

    value: float
    share: float
    fill: str
    control: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to show: `file` is a name in the record's files, `time` in seconds, `caption` what it shows."""

    file: str
    caption: str
    time: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of time, and a box in it, that carries a `weight` (share of the positive map, 0 to 1).

    `box` is (left, top, right, bottom) in shares of the picture's width and height; None: the whole picture.
    """

    first_s: float
    last_s: float
    weight: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One explanation. `explainer` and `score` are spec lines (method with its parameters, what was explained);
    `map`, `contours` and `movie` name files of the record; the certificate holds layer, seed and completeness gap.

    `reference` says what "absent" meant to the method, `mode` the autoencoder's sub-mode (live or fixed);
    `profile` is a weight per frame at `profile_times`, `segments` the strongest parts, strongest first; `trust` is the
    short check (schema 2), None where it was not made.
    """

    explainer: str
    score: str
    sentence: str
    certificate: Certificate = field(default_factory=Certificate)
    reference: str | None = None
    mode: str | None = None
    map: str | None = None
    contours: str | None = None
    movie: str | None = None
    hidden_score: HiddenScore | None = None
    counterfactual: str | None = None
    segments: tuple[Segment, ...] = ()
    profile_times: tuple[float, ...] = ()
    profile: tuple[float, ...] = ()
    pictures: tuple[Picture, ...] = ()
    trust: Trust | None = field(default=None, metadata=LATER)

    @property
    def named(self) -> tuple[str, ...]:
        """The files that this explanation refers to."""
        single = (self.map, self.contours, self.movie)
        return tuple(name for name in single if name) + tuple(picture.file for picture in self.pictures)
