"""The short check's figures become words: good, mixed, poor and unmeasured, each case of each check."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidence.record.decision import DecisionRecord
from vidence.record.store import Store
from vidence.record.trust import Trust
from vidence.review import short_check
from vidence.review.report import write_report
from vidence.review.short_check import Line, lines, statements, verdict

Make = Callable[..., DecisionRecord]
FINE = Trust(
    first=0, region=0.1, marked=0.71, chance=0.06, gain=0.3, sane=True, other="occlusion", agreement=0.62, overlap=0.55,
    overlap_chance=0.1, rerun=0.97, varied="a tiny noise on the pixels",
)  # fmt: skip
NOTHING = Trust(first=0, unmeasured={"marked": "the map marks nothing", "rerun": "it is constant"})


def line(which: int, **changes: Any) -> Line:
    return statements(replace(FINE, **changes))[which]


def test_the_words_of_the_issue() -> None:
    assert line(0) == (
        "good",
        "The marked region (10 % of the clip) carries 71 % of the score; a random region of that size carries 6 %.",
    )


@pytest.mark.parametrize(
    ("marked", "chance", "degree", "said"),
    [
        (0.71, 0.06, "good", "carries 71 % of the score"),
        (1.2, -0.1, "good", "carries all of the score; a random region of that size carries none"),
        (0.11, 0.06, "mixed", "carries only 11 %"),
        (0.09, 0.01, "mixed", "carries only 9 %"),
        (0.06, 0.06, "poor", "no more than by chance"),
        (-0.2, -0.5, "poor", "carries none of the score"),
    ],
)
def test_the_share_of_the_marked_region(marked: float, chance: float, degree: str, said: str) -> None:
    found = line(0, marked=marked, chance=chance)
    assert (found.degree, said in found.text) == (degree, True), found.text


@pytest.mark.parametrize(("gain", "degree"), [(0.3, "good"), (0.05, "good"), (0.04, "mixed"), (0.0, "poor")])
def test_the_order(gain: float, degree: str) -> None:
    assert line(1, gain=gain).degree == degree


def test_what_ignores_the_model_is_said_in_its_own_words() -> None:
    flags = ("the map hardly changes with random weights", "the map is the same for another class.")
    found = line(2, sane=False, flags=flags)
    assert found.degree == "poor"
    assert found.text == "The map hardly changes with random weights. The map is the same for another class."
    assert "another class" in line(2).text
    assert "another class" not in line(2, unmeasured={"class": "there is one class"}).text


@pytest.mark.parametrize(
    ("agreement", "overlap", "degree", "said"),
    [
        (0.5, 0.3, "good", "alike"),
        (0.6, 0.1, "mixed", "only partly"),  # no more in common than by chance
        (0.3, 0.3, "mixed", "only partly"),
        (0.0, 0.2, "mixed", "only partly"),  # the weak places differ, the strong ones do not
        (0.1, 0.19, "poor", "contradict each other"),
        (-0.4, 0.0, "poor", "contradict each other"),
    ],
)
def test_two_families(agreement: float, overlap: float, degree: str, said: str) -> None:
    found = line(3, agreement=agreement, overlap=overlap)
    assert (found.degree, said in found.text) == (degree, True), found.text
    assert "occlusion" in found.text
    assert "10 % by chance" in found.text


@pytest.mark.parametrize(("rank", "degree"), [(0.9, "good"), (0.6, "mixed"), (0.2, "poor")])
def test_a_map_made_twice(rank: float, degree: str) -> None:
    found = line(4, rerun=rank)
    assert found.degree == degree
    assert found.text.startswith("Made once more with a tiny noise on the pixels, the map")


def test_what_was_not_measured_says_why() -> None:
    told = statements(NOTHING)
    assert {each.degree for each in told} == {"not measured"}
    assert (
        told[0].text == "How much of the score the marked region carries could not be measured: the map marks nothing."
    )
    assert told[1].text == "Whether the map's order is better than a random one could not be measured."


def test_the_verdict_follows_the_worst(make_alarm: Make) -> None:
    record = make_alarm()
    assert verdict(record, FINE) == "Good: 5 of 5 checks could be made, and none gives reason for doubt."
    assert verdict(record, replace(FINE, gain=0.01)).startswith(
        "Mixed: 5 of 5 checks could be made, with reason for doubt in 1."
    )
    assert verdict(record, replace(FINE, rerun=None, agreement=-1.0)).startswith("Mixed: 4 of 5")
    assert verdict(record, replace(FINE, sane=False, flags=("x",))).startswith("Poor: there is little reason")
    poor = replace(FINE, gain=-0.1, marked=0.0, rerun=0.1)
    assert "(3 of 5 checks failed)" in verdict(record, poor)
    assert verdict(record, NOTHING).startswith("Nothing could be measured")


def test_a_window_without_an_alarm_need_not_show_an_event(make_alarm: Make) -> None:
    assert short_check.QUIET not in verdict(make_alarm(), FINE)
    quiet = make_alarm(peak=0.4, events=())
    assert verdict(quiet, FINE).endswith(short_check.QUIET)


def test_the_lines_of_a_record(make_alarm: Make) -> None:
    record = make_alarm()
    told = list(lines(record))
    assert told[0].startswith("when-where: Poor")
    assert len(told) == 6
    assert list(lines(replace(record, evidence=(replace(record.evidence[0], trust=None),)))) == []


def test_the_report_tells_it(store: Store, tmp_path: Path) -> None:
    text = write_report(store, tmp_path / "report.html").read_text()
    assert text.count("a random region of that size carries 6 %") == 2
    assert text.count("How far to trust this picture") == 2
    assert text.count(short_check.CLAIM) == 2
    assert text.count("stands for what was explained, <code>logit</code>, not for the score above") == 2
