"""The report in a real browser: nothing is blocked or loaded, pictures and bars are drawn, it is read and printed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidence.record.store import Store
from vidence.review.report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture
def shown(store: Store, opened: Callable[[Path], Any]) -> tuple[Any, list[str]]:
    """The page, and what the browser says of it."""
    page, said = opened(write_report(store, store.path.parent / "report.html"))
    return page, said


def test_the_browser_has_nothing_to_complain_about(shown: tuple[Any, list[str]]) -> None:
    page, said = shown
    assert page.title() == "Vidence report: 3 sources were examined; 2 alarms were raised."
    assert said == []
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") == "14px"  # the style is on


def test_every_picture_is_drawn(shown: tuple[Any, list[str]]) -> None:
    page, _ = shown
    assert page.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])") == [[320, 180]] * 6


def test_the_score_bar_is_as_long_as_the_score(shown: tuple[Any, list[str]]) -> None:
    page, _ = shown
    widths = "bar => ['.fill', '.track'].map(each => bar.querySelector(each).getBoundingClientRect().width)"
    fill, track = page.eval_on_selector("article .bar", widths)
    assert fill / track == pytest.approx(0.93, abs=0.01)


def test_an_alarm_is_reached_from_the_top(shown: tuple[Any, list[str]]) -> None:
    page, _ = shown
    page.emulate_media(reduced_motion="reduce")  # jumps at once, as those who ask for it expect
    page.click("nav a >> nth=1")
    assert abs(page.evaluate("document.querySelectorAll('article')[1].getBoundingClientRect().top")) < 60


def test_it_prints(shown: tuple[Any, list[str]], tmp_path: Path) -> None:
    page, _ = shown
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('article details')).display") == "none"
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
