"""Under which conditions a decision was made (methods.md E, lines 8 to 12): occasion, reading, model, outcome, action.

Every field is explained in docs/records.md, which also says when one may be null. Nothing here depends on the machine
or on the time of writing, so that the same work gives the same record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Where and when: deployment `site`, `role` of the operator, the span in UTC (ISO 8601) and the `clock` it is from.

    Times elsewhere in a record are seconds on the clock named here.
    """

    site: str | None = None
    role: str | None = None
    utc_first: str | None = None
    utc_last: str | None = None
    clock: str = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the source was read: windows of `length` frames every `stride`, `rate` sampled frames per second (None:
    every frame), `partial` rule for the last window, `fit` (how a frame becomes the network's input), `size` (h, w)
    of the source, nominal `fps`, frames `dropped`, `notes` on what went wrong, and where the media is kept.
    """

    length: int
    stride: int
    fit: str
    size: tuple[int, int]
    rate: float | None = None
    partial: str = "pad"
    fps: float | None = None
    dropped: int | None = None
    notes: tuple[str, ...] = ()
    media: str | None = None
    media_expires: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Which model, trained on what: `config` is the digest of its settings, `training` of its training data,
    `calibration` of what the threshold was fitted on; `metrics` are its test figures, `libraries` public versions.
    """

    name: str
    config: str
    code: str
    device: str
    precision: str
    classes: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    commit: str | None = None
    training: str | None = None
    calibration: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out: the scores as they are compared with the threshold, its `rule` and `origin` with the false alarms
    per hour it promises (`false_alarms` low, high), `warnings` of the rule and on the footage, class `probabilities`,
    least and greatest possible score (`bounds`), normalisation constants, smoothing, and how uncertain the model says
    it is.
    """

    rule: str
    origin: str
    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    false_alarms: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    normalisation: Mapping[str, float] | None = None
    smoothing: str = "none"
    uncertainty: float | None = None
    out_of_distribution: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is proposed, whether a machine carries it out alone, and whether that has a legal or similar effect."""

    action: str = "show this to a person"
    automated: bool = False
    legal_effect: bool = False
