"""The short check of an explanation in plain words: what each figure means, and what it does not.

The limits below are conventions, stated in docs/trust.md; they were not fitted to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from vidence.record.decision import DecisionRecord
from vidence.record.trust import Trust
from vidence.review.wording import count, percent, sentence

Degree: TypeAlias = Literal["good", "mixed", "poor", "not measured"]
TWICE = 2.0  # times what chance reaches, from which a share is said to be more than that
LEAST = 0.1  # share of the score that a region must carry at least, to be said to carry some
EARLIER = 0.05  # area between the curves from which the map's order is said to be better than a random one
ALIKE, SOME = 0.5, 0.2  # rank correlations of two families that are called alike, and partly alike
SAME, SIMILAR = 0.9, 0.5  # rank correlations of a map made twice that are called the same, and similar
CLAIM = "The check says how well the picture fits the model. Whether the model is right, a person must see."
QUIET = "There was no alarm: the picture shows what spoke most for a score that stayed low, and need not show an event."


class Line(NamedTuple):
    """One statement, and how it speaks for the picture."""

    degree: Degree
    text: str


def verdict(record: DecisionRecord, trust: Trust) -> str:
    """All of it in one or two sentences, without a certainty that no check can give."""
    told = [line.degree for line in statements(trust)]
    made = [degree for degree in told if degree != "not measured"]
    poor, mixed = made.count("poor"), made.count("mixed")
    of = f"{len(made)} of {len(told)} checks could be made"
    if not made:
        said = "Nothing could be measured: take this picture as an illustration, not as evidence."
    elif trust.sane is False or 2 * poor >= len(made):
        said = f"Poor: there is little reason to trust this picture ({poor} of {count(len(made), 'check')} failed)."
    elif poor or mixed:
        said = f"Mixed: {of}, with reason for doubt in {poor + mixed}."
    else:
        said = f"Good: {of}, and none gives reason for doubt."
    return said if record.detection.anomalous else f"{said} {QUIET}"


def statements(trust: Trust) -> list[Line]:
    """Everything that was measured, and what was not."""
    return [_marked(trust), _gain(trust), _sanity(trust), _families(trust), _rerun(trust)]


def lines(record: DecisionRecord) -> Iterator[str]:
    """The short checks of a record's explanations as text; nothing where none was made."""
    for each in record.evidence:
        if each.trust is not None:
            yield f"{each.explainer}: {verdict(record, each.trust)}"
            yield from (f"  {line.degree}: {line.text}" for line in statements(each.trust))


def _marked(trust: Trust) -> Line:
    if trust.marked is None or trust.chance is None or trust.region is None:
        return _unmeasured(trust, "marked", "How much of the score the marked region carries")
    size = f"The marked region ({percent(trust.region)} of the clip)"
    random = f"a random region of that size carries {_carried(trust.chance)}"
    if trust.marked <= trust.chance or trust.marked <= 0:
        return Line("poor", f"{size} carries {_carried(trust.marked)} of the score, no more than by chance: {random}.")
    if trust.marked < TWICE * trust.chance or trust.marked < LEAST:
        return Line("mixed", f"{size} carries only {_carried(trust.marked)} of the score; {random}.")
    return Line("good", f"{size} carries {_carried(trust.marked)} of the score; {random}.")


def _carried(share: float) -> str:
    """A share of the score; hiding a region may also raise it, or take more than everything does."""
    return "none" if share <= 0 else "all" if share >= 1 else percent(share)


def _gain(trust: Trust) -> Line:
    if trust.gain is None:
        return _unmeasured(trust, "gain", "Whether the map's order is better than a random one")
    area = f"(area between the curves {trust.gain:.2f})"
    if trust.gain <= 0:
        return Line("poor", f"Shown in the map's order, the clip regains its score no earlier than at random {area}.")
    if trust.gain < EARLIER:
        return Line(
            "mixed", f"Shown in the map's order, the clip regains its score hardly earlier than at random {area}."
        )
    return Line("good", f"Shown in the map's order, the clip regains its score earlier than in a random order {area}.")


def _sanity(trust: Trust) -> Line:
    if trust.sane is None:
        return _unmeasured(trust, "sanity", "Whether the map depends on what the model learnt")
    if not trust.sane:
        return Line("poor", " ".join(map(sentence, trust.flags)))
    also = "" if "class" in trust.unmeasured else ", and so it does when another class is asked about"
    return Line("good", f"The map changes when what the model learnt is replaced by random numbers{also}.")


def _families(trust: Trust) -> Line:
    if trust.other is None or trust.agreement is None:
        return _unmeasured(trust, "agreement", "Whether an explanation of another kind marks the same")
    overlap, chance = trust.overlap or 0.0, trust.overlap_chance or 0.0
    common = f"{percent(overlap)} of the strongest part, {percent(chance)} by chance"
    figures = f"(rank correlation {trust.agreement:.2f}; in common {common})"
    if trust.agreement >= ALIKE and overlap > chance:
        return Line("good", f"Made in another way, by {trust.other}, the map looks alike {figures}.")
    if trust.agreement >= SOME or overlap >= TWICE * chance:
        return Line("mixed", f"Made in another way, by {trust.other}, the map looks only partly alike {figures}.")
    return Line("poor", f"Two ways of explaining contradict each other: {trust.other} marks other places {figures}.")


def _rerun(trust: Trust) -> Line:
    if trust.rerun is None:
        return _unmeasured(trust, "rerun", "Whether the map comes out the same again")
    how = f"Made once more with {trust.varied}, the map"
    rank = f"(rank correlation {trust.rerun:.2f})"
    if trust.rerun >= SAME:
        return Line("good", f"{how} is nearly the same {rank}.")
    if trust.rerun >= SIMILAR:
        return Line("mixed", f"{how} is similar, but not the same: do not read fine detail into it {rank}.")
    return Line("poor", f"{how} is another one: it cannot be relied on {rank}.")


def _unmeasured(trust: Trust, name: str, what: str) -> Line:
    why = trust.unmeasured.get(name)
    return Line("not measured", f"{what} could not be measured{f': {why}' if why else ''}.")
