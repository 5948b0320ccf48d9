"""Where a score becomes an alarm. Rules are values; each says what it was fitted on and how sure it is.

A threshold is never fitted on test data: `fit` takes curves of validation or normal footage only, and the
text it writes says which. An alarm is an event (a stretch above the threshold), not a frame: neighbouring frames
are correlated, and an operator is called once per stretch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2
from sklearn.metrics import precision_recall_curve, roc_curve

from vidence.errors import DataError, SpecError
from vidence.scoring.timeline import MERGE_S, Curve, events
from vidence.spec import Settings

Labels = Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A fitted threshold: `value`; `rule` as a spec line; `origin` in words; for a budget the expected alarms per
    hour with their interval (`low`, `high`); `warnings` in plain words; `merge_s` seconds at most lie between stretches
    above it that are one alarm.
    """

    value: float
    rule: str
    origin: str
    low: float | None = None
    high: float | None = None
    warnings: tuple[str, ...] = ()
    merge_s: float = MERGE_S

    def facts(self, data: str) -> dict[str, Any]:
        """Plain values for a detector's JSON and for records; `data` is the digest of what it was fitted on."""
        return asdict(self) | {"warnings": list(self.warnings), "data": data}


class ThresholdRule(Settings, ABC):
    """A frozen dataclass of settings. `needs_labels` says whether bool labels per frame must be given."""

    needs_labels = False

    @abstractmethod
    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Choose the threshold on curves of validation or normal footage; `line` is the rule's spec line."""

    def __call__(self, scores: np.ndarray, labels: np.ndarray | None = None) -> float:
        """The threshold of plain scores (t,), one second apart."""
        curve = Curve(np.arange(len(scores), dtype=np.float64), np.asarray(scores, dtype=np.float64))
        return self.fit([curve], None if labels is None else [labels]).value


@dataclass(frozen=True)
class Fixed(ThresholdRule):
    """A number the user gives."""

    value: float = 0.5

    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Return the number."""
        return Threshold(self.value, line, "set by the user")


@dataclass(frozen=True)
class Quantile(ThresholdRule):
    """The score that a share `q` of the normal frames stays below."""

    q: float = 0.99

    def __post_init__(self) -> None:
        _check_share("q", self.q)

    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Use frames labelled normal, or all frames where no labels are given."""
        scores = _normal_scores(curves, labels)
        warnings: tuple[str, ...] = ()
        if len(scores) * (1 - self.q) < 1:
            warnings = (f"{len(scores)} normal frames are too few for a {self.q:g} quantile: it is their maximum.",)
        origin = f"{self.q:g} quantile of {len(scores)} normal frames"
        return Threshold(float(np.quantile(scores, self.q)), line, origin, warnings=warnings)


@dataclass(frozen=True)
class FalseAlarmBudget(ThresholdRule):
    """At most `per_hour` alarms in an hour of normal footage, chosen from normal footage alone.

    The threshold is the lowest score down to which, from the maximum on, the footage would never have raised more
    alarms than the budget allows; at least the median, below which alarms merge into few long ones. Frames above it at
    most `merge_s` seconds apart are one alarm, so correlated frames count once; so are the alarms that the detector
    raises. The interval of the rate is the exact Poisson one (Garwood 1936) of the alarm count, widened by the counts'
    dispersion over one-minute blocks. `strict` puts the interval's upper end under the budget.
    """

    per_hour: float = 1.0
    confidence: float = 0.95
    merge_s: float = MERGE_S
    strict: bool = False

    def __post_init__(self) -> None:
        _check_share("confidence", self.confidence)
        if self.per_hour <= 0 or self.merge_s < 0:
            raise SpecError(f"per_hour must be positive and merge_s not negative; got {self.per_hour}, {self.merge_s}.")

    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Try the scores themselves: the alarm count changes nowhere else."""
        if labels is not None and any(np.any(each) for each in labels):
            raise DataError("a false-alarm budget needs normal footage alone; some frames are labelled anomalous.")
        scores = _scores(curves)
        hours = sum(curve.seconds for curve in curves) / 3600
        if not len(scores) or hours <= 0:
            raise DataError("a false-alarm budget needs normal footage with times; got none. Pass normal videos.")
        value = self._lowest(curves, scores, hours)
        count = self._alarms(curves, value)
        low, high = self._interval(curves, value, hours)
        origin = f"{count} alarms in {hours * 60:.1f} minutes of normal footage, budget {self.per_hour:g} per hour"
        return Threshold(value, line, origin, low, high, self._warnings(hours, high), self.merge_s)

    def _alarms(self, curves: Sequence[Curve], value: float) -> int:
        return sum(len(events(curve, value, merge_s=self.merge_s)) for curve in curves)

    def _fits(self, curves: Sequence[Curve], value: float, hours: float) -> bool:
        if self.strict:
            return self._interval(curves, value, hours)[1] <= self.per_hour
        return self._alarms(curves, value) <= self.per_hour * hours

    def _lowest(self, curves: Sequence[Curve], scores: np.ndarray, hours: float) -> float:
        """Walk down from the maximum to the median while the budget holds."""
        lowest = scores.max()  # which itself raises no alarm
        for value in np.unique(scores[scores >= np.median(scores)])[::-1]:
            if not self._fits(curves, value, hours):
                break
            lowest = value
        return float(lowest)

    def _interval(self, curves: Sequence[Curve], value: float, hours: float) -> tuple[float, float]:
        starts = [
            event.first_s - curve.times[0] + offset
            for curve, offset in zip(curves, _offsets(curves), strict=True)
            for event in events(curve, value, merge_s=self.merge_s)
        ]
        blocks = np.histogram(starts, bins=max(math.ceil(hours * 60), 1), range=(0, hours * 3600))[0]
        mean = float(blocks.mean())
        spread = max(float(blocks.var(ddof=1)) / mean, 1.0) if len(blocks) > 1 and mean > 0 else 1.0
        count, tail = len(starts) / spread, (1 - self.confidence) / 2
        low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
        high = float(chi2.ppf(1 - tail, 2 * count + 2)) / 2
        return low * spread / hours, high * spread / hours

    def _warnings(self, hours: float, high: float) -> tuple[str, ...]:
        wanted = 3 / self.per_hour  # no alarm in 3 / rate hours excludes a higher rate at 95 %
        if hours >= wanted:
            return ()
        return (
            f"{hours * 60:.1f} minutes of normal footage are too little to assure {self.per_hour:g} alarms per hour: "
            f"the true rate may be as high as {high:.3g} per hour. Give at least {wanted:.3g} hours.",
        )


@dataclass(frozen=True)
class BestF1(ThresholdRule):
    """The threshold with the best F1 of the anomalous class, on labelled validation data."""

    needs_labels = True

    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Alarm means strictly above, so the threshold lies halfway to the next lower score."""
        scores, truth = _labelled(curves, labels)
        precision, recall, values = precision_recall_curve(truth, scores)
        sums = precision + recall
        f1 = np.divide(2 * precision * recall, sums, out=np.zeros_like(sums), where=sums > 0)[:-1]
        best = int(np.argmax(f1))
        origin = f"best F1 ({f1[best]:.3f}) on {len(truth)} validation frames, {int(truth.sum())} anomalous"
        return Threshold(_below(scores, values[best]), line, origin)


@dataclass(frozen=True)
class GMean(ThresholdRule):
    """The threshold with the best sqrt(TPR (1 - FPR)), on labelled validation data (Ravi's thesis, eq. 3.21)."""

    needs_labels = True

    def fit(self, curves: Sequence[Curve], labels: Labels | None = None, *, line: str = "") -> Threshold:
        """Alarm means strictly above, so the threshold lies halfway to the next lower score."""
        scores, truth = _labelled(curves, labels)
        fpr, tpr, values = roc_curve(truth, scores, drop_intermediate=False)  # the best may lie on a straight stretch
        gmean = np.sqrt(tpr * (1 - fpr))
        best = int(np.argmax(gmean))
        origin = f"best G-mean ({gmean[best]:.3f}) on {len(truth)} validation frames, {int(truth.sum())} anomalous"
        return Threshold(_below(scores, values[best]), line, origin)


def _offsets(curves: Sequence[Curve]) -> list[float]:
    """Seconds of footage before each curve, when they are laid end to end."""
    return np.concatenate([[0.0], np.cumsum([curve.seconds for curve in curves])])[:-1].tolist()


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise SpecError(f"{name} must lie between 0 and 1, ends excluded; got {value}.")


def _scores(curves: Sequence[Curve]) -> np.ndarray:
    """All values, end to end."""
    scores = np.concatenate([curve.values for curve in curves]) if curves else np.empty(0)
    if not np.isfinite(scores).all():
        raise DataError(
            f"a threshold is chosen on finite scores; {int((~np.isfinite(scores)).sum())} of {len(scores)} are not. "
            "Train the detector again, at a lower rate."
        )
    return scores


def _truth(labels: Labels) -> np.ndarray:
    return np.concatenate([np.asarray(each, dtype=bool) for each in labels])


def _normal_scores(curves: Sequence[Curve], labels: Labels | None) -> np.ndarray:
    scores = _scores(curves)
    if labels is not None and curves:
        scores = scores[~_truth(labels)]
    if not len(scores):
        raise DataError("this threshold rule needs normal frames; got none. Pass normal footage.")
    return scores


def _labelled(curves: Sequence[Curve], labels: Labels | None) -> tuple[np.ndarray, np.ndarray]:
    if labels is None:
        raise DataError("this threshold rule needs labels; got none. Pass labelled validation data or another rule.")
    scores, truth = _scores(curves), _truth(labels)
    if len(scores) != len(truth) or truth.all() or not truth.any():
        raise DataError(
            f"this threshold rule needs a label per frame and both kinds; got {len(truth)} labels for {len(scores)} "
            f"scores, {int(truth.sum())} anomalous."
        )
    return scores, truth


def _below(scores: np.ndarray, value: float) -> float:
    """Halfway between the lowest score that must alarm and the next lower one."""
    lower = scores[scores < value]
    value = min(float(value), float(scores.max()))
    return (value + float(lower.max())) / 2 if len(lower) else float(np.nextafter(value, -math.inf))


THRESHOLDS: dict[str, type] = {
    "fixed": Fixed,
    "quantile": Quantile,
    "false-alarm-budget": FalseAlarmBudget,
    "best-f1": BestF1,
    "g-mean": GMean,
}
