"""Plain facts: what was looked at, what was found. No pixels, no tensors; importing this is light."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClipRef:
    """Which frames of which source. `digest` is the SHA-256 of the source's bytes, `first` the index of the
    clip's first sampled frame, `times` the frames' times in seconds.
    """

    source: str
    digest: str
    first: int
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of time above the threshold: seconds, and the highest score inside."""

    first_s: float
    last_s: float
    peak: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One scored window. `detector` is its spec line, `weights` the SHA-256 of its weights, `score` a spec line."""

    clip: ClipRef
    detector: str
    weights: str
    score: str
    value: float
    threshold: float

    @property
    def anomalous(self) -> bool:
        """Whether the value exceeds the threshold."""
        return self.value > self.threshold


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far an explanation can be trusted. `gap` is the completeness gap (share of the score change that the map
    misses, below 0 where it adds up to more), `deletion_rank` the rank correlation between frame weights and
    measured frame deletions, `same_top_frame` whether both name the same frame; `flags` are warnings in plain
    words. None: not measured.
    """

    gap: float | None = None
    deletion_rank: float | None = None
    same_top_frame: bool | None = None
    seed: int = 0
    layer: str | None = None
    flags: tuple[str, ...] = ()
