"""A record with every field filled, and one with none that may stay empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from vidence.record import tables
from vidence.record.conditions import ModelFacts, Occasion, Outcome, Proposal, Reading
from vidence.record.decision import DecisionRecord
from vidence.record.evidence import Evidence, HiddenScore, Picture, Segment
from vidence.record.facts import Certificate, ClipRef, Detection, Event
from vidence.record.trust import Trust

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def smallest(name: str = "walk.mp4", value: float = 0.9) -> DecisionRecord:
    clip = ClipRef(name, A, 8, (0.5, 0.54))
    return DecisionRecord(
        detection=Detection(clip, "cnn-rnn", B, "anomaly", value, 0.5),
        reading=Reading(length=2, stride=1, fit="stretch(224)", size=(240, 320)),
        model=ModelFacts(name="cnn-rnn", config=C, code="vidence 0.1.0", device="cpu", precision="float32"),
        outcome=Outcome(rule="fixed", origin="set by the user"),
    )


def fullest() -> DecisionRecord:
    evidence = Evidence(
        explainer="when-where",
        score="logit",
        sentence="Most of the evidence lies between 0.5 s and 0.6 s.",
        certificate=Certificate(0.02, 0.9, True, 7, "features.18", ("class-agnostic",)),
        reference="the clip's mean colour",
        mode="live",
        map="w/maps.npz",
        contours="w/contours.json",
        movie="w/overlay.mp4",
        hidden_score=HiddenScore(value=0.2, share=0.1, fill="grey", control=0.85),
        counterfactual="Without the marked region there would be no alarm.",
        segments=(Segment(first_s=0.5, last_s=0.54, weight=0.8, box=(0.1, 0.2, 0.5, 1.0)),),
        profile_times=(0.5, 0.54),
        profile=(0.25, 0.75),
        pictures=(Picture(file="w/1.png", caption="the strongest frame", time=0.54),),
        trust=Trust(
            first=8, region=0.1, marked=0.71, chance=0.06, gain=0.3, sane=False, flags=("it ignores the weights",),
            other="rise", agreement=0.4, overlap=0.5, overlap_chance=0.1, rerun=0.98, varied="a tiny noise",
            unmeasured={"gain": "the score is flat"}, settings={"marked": "marked(share=0.1)"}, seed=7,
        ),
    )  # fmt: skip
    return replace(
        smallest(),
        events=(Event(0.5, 0.54, 0.9),),
        occasion=Occasion(site="gate 3", role="guard", utc_first="2026-01-01T00:00Z", utc_last="2026-01-01T00:01Z"),
        reading=Reading(
            length=2, stride=1, fit="stretch(224)", size=(240, 320), rate=5.0, fps=25.0, dropped=0,
            notes=("truncated at 3 s",), media="archive/7", media_expires="2027-01-01",
        ),
        model=ModelFacts(
            name="cnn-rnn", config=C, code="vidence 0.1.0", device="cpu", precision="float32", seed=0, commit="e" * 40,
            classes=("fight", "walk"), normal=("walk",), training=D, calibration=A, metrics={"auc": 0.9},
            libraries={"torch": "2.13.0"},
        ),
        outcome=Outcome(
            rule="fixed", origin="set by the user", times=(0.5, 0.54), values=(0.7, 0.9), false_alarms=(0.1, 2.0),
            warnings=("too little footage",), probabilities={"fight": 0.9, "walk": 0.1}, bounds=(0.0, 1.0),
            normalisation={"scale": 1.0}, uncertainty=0.1, out_of_distribution=False,
        ),
        proposal=Proposal(action="call a guard", automated=False, legal_effect=False),
        evidence=(evidence,),
        files=dict.fromkeys(("w/maps.npz", "w/contours.json", "w/overlay.mp4", "w/1.png"), D),
        corrects=None,
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """A test may lose its store when the power fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "PRAGMAS", (*tables.PRAGMAS, "synchronous = OFF"))
        yield


@pytest.fixture(scope="session")
def decision() -> Callable[..., DecisionRecord]:
    """Make a small record: decision(name=..., value=..., any other field=...)."""

    def make(name: str = "walk.mp4", value: float = 0.9, **changes: Any) -> DecisionRecord:
        return replace(smallest(name, value), **changes)

    return make


@pytest.fixture
def full_record() -> DecisionRecord:
    return fullest()
