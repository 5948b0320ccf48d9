"""Figures in words that a person without training in statistics can act on. Nothing here knows about HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from vidence.record.decision import DecisionRecord, Review
from vidence.record.evidence import Evidence
from vidence.record.timecode import timecode

State = Literal["good", "warn", "open"]
FAITHFUL, PARTLY = 0.7, 0.3  # rank correlations that are called good agreement, and some
HARDLY = 0.1  # share of the way to the threshold that hiding must at least take the score
UNMEASURED = {  # why hiding is not, by explainer
    "evidence": ": what appears or vanishes moves, so hiding it would itself be unusual to this detector",
}
MISSED = 0.05  # completeness gap above which a map is said to miss something


class Check(NamedTuple):
    """One statement about how far an explanation can be trusted."""

    state: State
    text: str


GLOSS = {
    "accuracy": "share of clips judged right",
    "balanced accuracy": "share of clips judged right, each class counting alike",
    "precision": "share of alarms that were right",
    "recall": "share of anomalies that raised an alarm",
    "f1": "precision and recall in one figure; 1 is perfect",
    "macro f1": "precision and recall in one figure, averaged over the classes",
    "average precision": "precision averaged over all thresholds; 1 is perfect",
    "clips": "how many clips were judged",
    "auc": "chance that an anomalous clip scores above a normal one; .5 is guessing",
}


VERDICTS = {"confirm": "Confirmed", "override": "Overruled", "unclear": "Left open"}


def verdict(review: Review) -> str:
    """What was judged, and by whom."""
    second = f" with {review.second}" if review.second else ""
    return f"{VERDICTS[review.verdict]} by {review.reviewer}{second}"


def moment(written: str) -> str:
    """A time of writing (ISO 8601, UTC) to the minute."""
    return f"{written[:10]}, {written[11:16]} UTC"


def span(first_s: float, last_s: float) -> str:
    """A stretch of time with its duration, or a moment."""
    if timecode(first_s) == timecode(last_s):
        return f"at {timecode(first_s)}"
    return f"{timecode(first_s)} to {timecode(last_s)} ({last_s - first_s:.1f} s)"


def number(value: float) -> str:
    """Three significant digits, without needless zeros; scores close to 1 keep what sets them apart from it."""
    if 0.9 < abs(value) < 1:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(share: float) -> str:
    """A share as a percentage that never claims certainty."""
    if 0 < share < 0.01:
        return "less than 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def count(n: int, one: str, many: str = "") -> str:
    """``1 alarm``, ``2 alarms``."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def certainty(record: DecisionRecord) -> str:
    """How far the score lies from the threshold, on the way to the end of its range: a rule of thumb, no probability.

    The nearest 15 % of the way are "only just", beyond half of it is "far".
    """
    value, threshold = record.detection.value, record.detection.threshold
    side = "above" if record.detection.anomalous else "below"
    if record.outcome.bounds is None:
        return f"{side} the alarm threshold"
    end = record.outcome.bounds[1 if side == "above" else 0]
    way = abs(value - threshold) / abs(end - threshold) if end != threshold else 0.0
    near = "only just " if way < 0.15 else "far " if way > 0.5 else "clearly "
    return f"{near}{side} the alarm threshold"


def caution(record: DecisionRecord) -> str:
    """What that distance means for whoever reads it."""
    said = certainty(record)
    if said.startswith("only just"):
        return "So close to the threshold a small change of the picture may tip the decision: treat it as a maybe."
    return "The score says how unusual this looks to the model. It is not the chance that something really happened."


def title(record: DecisionRecord) -> str:
    """What the model takes it for: a likeness, not a fact, and named only where one class that fits the decision
    outweighs all others that do.
    """
    normal = set(record.model.normal)
    fitting = {
        name: share
        for name, share in record.outcome.probabilities.items()
        if (name not in normal) == record.detection.anomalous
    }
    if not fitting or max(fitting.values()) <= 0.5 * sum(fitting.values()):
        return "Something unusual" if record.detection.anomalous else "No alarm"
    return f"Looks like “{max(fitting, key=lambda name: fitting[name])}”"


def metric(name: str) -> str:
    """What a test figure means; empty for one that has no gloss."""
    plain = name.lower().replace("_", " ")
    fitting = [known for known in GLOSS if plain == known or plain.endswith(f" {known}")]
    return GLOSS[max(fitting, key=len)] if fitting else ""


def checks(record: DecisionRecord, evidence: Evidence) -> list[Check]:
    """Everything that was measured about an explanation, good or bad, and what was not."""
    told = [Check("warn", sentence(flag)) for flag in evidence.certificate.flags]
    told += _hidden(record, evidence) + _agreement(evidence) + _gap(evidence)
    if not told:
        return [Check("open", "Nothing was measured that would show whether this explanation is right.")]
    order = {"warn": 0, "good": 1, "open": 2}
    return sorted(told, key=lambda check: order[check.state])


def hidden_change(record: DecisionRecord, evidence: Evidence) -> str:
    """What hiding the marked region did to the decision, in one sentence."""
    hidden = evidence.hidden_score
    if hidden is None:
        return f"This was not measured{UNMEASURED.get(evidence.explainer, '')}."
    before, threshold = record.detection.value, record.detection.threshold
    path = f"goes from {number(before)} to {number(hidden.value)}"
    if number(before) == number(hidden.value):
        path = f"stays at {number(before)}"
    moved = f"With the marked region hidden, the score {path}"
    if (before > threshold) == (hidden.value > threshold):
        stays = "there would still be an alarm" if before > threshold else "there would still be no alarm"
        return f"{moved}: {stays}."
    return f"{moved}: {'no alarm would have been raised' if before > threshold else 'an alarm would have been raised'}."


def _hidden(record: DecisionRecord, evidence: Evidence) -> list[Check]:
    hidden = evidence.hidden_score
    if hidden is None:
        return [Check("open", "What happens with the marked region hidden was not measured.")]
    drop = record.detection.value - hidden.value
    if drop <= 0:
        return [
            Check("warn", "Hiding the marked region did not lower the score: the decision may rest on something else.")
        ]
    if drop < HARDLY * abs(record.detection.value - record.detection.threshold):
        said = "Hiding the marked region hardly changes the score: the decision may rest on something else."
        return [Check("warn", said)]
    if hidden.control is None:
        return [
            Check("open", "Hiding the marked region lowers the score, but nothing else was hidden to compare with.")
        ]
    if record.detection.value - hidden.control >= drop:
        said = "Hiding as large a region elsewhere lowers the score just as much: the marked place may not matter."
        return [Check("warn", said)]
    return [Check("good", "Hiding the marked region lowers the score more than hiding as large a region elsewhere.")]


def _agreement(evidence: Evidence) -> list[Check]:
    held, told = evidence.certificate, []
    if held.deletion_rank is not None:
        rank = f"(rank correlation {held.deletion_rank:.2f})"
        if held.deletion_rank >= FAITHFUL:
            told.append(Check("good", f"Frames that the map calls important are those whose removal matters {rank}."))
        else:
            degree = "only partly" if held.deletion_rank >= PARTLY else "hardly"
            told.append(Check("warn", f"The map's important frames are {degree} those whose removal matters {rank}."))
    if held.same_top_frame is not None:
        told.append(
            Check("good", "The strongest frame of the map is also the one whose removal changes the score most.")
            if held.same_top_frame
            else Check("warn", "Removing another frame than the map's strongest one changes the score more.")
        )
    return told


def _gap(evidence: Evidence) -> list[Check]:
    gap = evidence.certificate.gap
    if gap is None:
        return []
    if gap > MISSED:
        return [Check("warn", f"The map accounts for {percent(max(1 - gap, 0))} of the score only.")]
    if gap < -MISSED:
        return [Check("warn", f"The map adds up to {percent(1 - gap)} of the score: to more than there is.")]
    return [Check("good", f"The map accounts for {percent(1 - gap)} of the score.")]


def sentence(flag: str) -> str:
    """A flag as a sentence."""
    text = flag.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def probabilities(shares: Mapping[str, float]) -> list[tuple[str, str]]:
    """Class names with their shares, greatest first."""
    return [(name, percent(shares[name])) for name in sorted(shares, key=lambda name: -shares[name])]
