"""A detector measured on labelled sources: both protocols, frames, pixels, alarms, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vidence.datasets.dataset import Dataset, Sample, digest
from vidence.errors import DataError
from vidence.evaluate import detection
from vidence.evaluate.alarms import alarms
from vidence.evaluate.cost import Meter
from vidence.evaluate.pixel_level import PixelTally
from vidence.evaluate.protocols import Protocol, mean_auc, other, overall_scores, paper_scores
from vidence.evaluate.tracks import Track, follow
from vidence.models.detector import Detector
from vidence.scoring.timeline import MERGE_S


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found: a track per source, the figures of the pixels and of the cost, and what was measured.

    `threshold` is the detector's own, on the live score; None where it has none.
    """

    tracks: tuple[Track, ...]
    threshold: dict[str, Any] | None
    pixels: dict[str, float | None]
    cost: dict[str, Any]
    facts: dict[str, Any]

    @property
    def stills(self) -> bool:
        """Whether all sources are single pictures, which have no time."""
        return all(len(track.times) == 1 for track in self.tracks)

    def scores(self, protocol: Protocol) -> list[Float[np.ndarray, " s"]]:
        """The scores of each track's scored frames."""
        other(protocol)  # refuses what is none
        raw = [track.raw for track in self.tracks]
        return [track.live for track in self.tracks] if protocol == "live" else paper_scores(raw)

    @property
    def truths(self) -> list[Bool[np.ndarray, " s"]]:
        """Which scored frames are anomalous, track by track."""
        return [track.truth for track in self.tracks]

    @property
    def error_per_step(self) -> list[float | None] | None:
        """The mean raw error of normal frames, one step ahead, two, ...; None where no window predicts two steps."""
        steps = np.concatenate([track.ahead for track in self.tracks]).T
        means = [float(each[~np.isnan(each)].mean()) if (~np.isnan(each)).any() else None for each in steps]
        return means if len(means) > 1 else None

    def metrics(self, protocol: Protocol = "live") -> dict[str, Any]:
        """Plain values as `metrics.json` holds them: fractions in [0, 1], None where undefined (see
        docs/evaluation.md); the other protocol's under `other_protocol`.
        """
        return {
            **self._figures(protocol),
            **self.pixels,
            "error_per_step": self.error_per_step,
            "frames": sum(len(track.times) for track in self.tracks),
            "frames_scored": sum(len(track.frames) for track in self.tracks),
            "sources": len(self.tracks),
            "told_s": None if self.stills else max(track.told_s for track in self.tracks),
            **self.facts,
            "cost": self.cost,
            "other_protocol": self._figures(other(protocol)),
        }

    def _figures(self, protocol: Protocol) -> dict[str, Any]:
        """What depends on the protocol."""
        videos, truths = self.scores(protocol), self.truths
        truth, scores = np.concatenate(truths), np.concatenate(videos)
        labels = [track.sample.label for track in self.tracks for _ in track.frames]
        interval = detection.auc_interval(truths, videos)
        found: dict[str, Any] = {
            "protocol": protocol,
            "causal": protocol == "live",
            "frame_auc": detection.frame_auc(truth, scores),
            "frame_auc_interval": None if interval is None else list(interval),
            "frame_ap": detection.average_precision(truth, scores),
            "eer": detection.equal_error_rate(truth, scores),
            "class_auc": detection.class_auc(labels, truth, scores),
            "oracle": detection.oracle(truth, scores),
        }
        if protocol == "live":
            return found | self._alarms(truth, scores)
        raw = [track.raw for track in self.tracks]
        found["frame_auc_overall"] = detection.frame_auc(truth, np.concatenate(overall_scores(raw)))
        found["frame_auc_mean"] = mean_auc(truths, raw)
        return found | dict.fromkeys(ALARMS)

    def _alarms(self, truth: Bool[np.ndarray, " s"], scores: Float[np.ndarray, " s"]) -> dict[str, Any]:
        """What the detector's own threshold does; a score that needs the whole video raises no alarm."""
        if self.threshold is None:
            return dict.fromkeys(ALARMS)
        value = float(self.threshold["value"])
        kept = {name: self.threshold.get(name) for name in ("value", "rule", "origin")}
        found: dict[str, Any] = {"threshold": kept | detection.at_threshold(truth, scores, value)}
        if self.stills:
            return dict.fromkeys(ALARMS) | found
        merge_s = self.threshold.get("merge_s", MERGE_S)
        raised = alarms([track.watched for track in self.tracks], value, merge_s=merge_s)
        return found | {
            "events": raised.events,
            "events_found": len(raised.delays_s),
            "event_delay_s": raised.delay_s,
            "false_alarms": raised.false_alarms,
            "false_alarms_per_hour": raised.false_alarms_per_hour,
            "normal_s": raised.normal_s,
        }


ALARMS = ("threshold", "events", "events_found", "event_delay_s", "false_alarms", "false_alarms_per_hour", "normal_s")


def evaluate(
    detector: Detector, dataset: Dataset, samples: Sequence[Sample], *, pixels: bool = True, progress: bool = False
) -> Evaluation:
    """Measure a detector on `samples` of a set, whose truth the set knows. One source at a time is held.

    `pixels` measures maps too, where the samples have masks and the score has a density; `progress` draws a bar on
    stderr. Raises `DataError` without samples, or if no frame of them gets a score.
    """
    if not samples:
        raise DataError(
            "an evaluation needs at least one source; got none. Data without an anomalous clip have no test part: give "
            "some that have one, or score videos instead."
        )
    meter = Meter()
    tally = PixelTally() if pixels and any(sample.mask is not None for sample in samples) else None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    tracks = []
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bars:
        bar = bars.add_task("evaluating", total=len(samples))
        for done, sample in enumerate(samples):
            step = partial(_advance, bars, bar, done)
            tracks.append(follow(detector, dataset, sample, meter=meter, tally=tally, step=step))
            bars.update(bar, completed=done + 1)
    meter.frames = sum(len(track.frames) for track in tracks)
    if not meter.frames:
        raise DataError(f"an evaluation needs frames with a score; none of the {len(samples)} sources is long enough.")
    return Evaluation(
        tracks=tuple(tracks),
        threshold=detector.threshold,
        pixels=(tally or PixelTally()).measures(),
        cost=meter.facts(detector),
        facts={"detector": detector.spec, "weights": detector.weights_digest, "data": digest(samples)},
    )


def _advance(bars: Progress, bar: TaskID, done: int, share: float) -> None:
    bars.update(bar, completed=done + min(share, 1.0))
