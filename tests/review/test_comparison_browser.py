"""The page of a comparison in a real browser: it sorts, and says the same where no script runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidence.review.comparison_page import write_comparison_page

pytestmark = pytest.mark.browser
NAMES = "[...document.querySelectorAll('.board tbody th')].map(each => each.dataset.value)"


@pytest.fixture
def shown(compared: Path, opened: Callable[[Path], Any]) -> tuple[Any, list[str]]:
    """The page, and what the browser says of it."""
    page, said = opened(write_comparison_page(compared))
    return page, said


def test_a_heading_sorts_and_sorts_back(shown: tuple[Any, list[str]]) -> None:
    page, said = shown
    order = page.evaluate(NAMES)
    page.click(".board thead th:nth-child(3) button")
    assert page.evaluate(NAMES) == ["smooth(of='<b>')", "random-map", "gradient"]
    assert page.get_attribute(".board thead th:nth-child(3)", "aria-sort") == "ascending"
    page.click(".board thead th:nth-child(3) button")
    assert page.evaluate(NAMES) == ["gradient", "random-map", "smooth(of='<b>')"]
    page.click(".board thead th:nth-child(2) button")
    assert page.evaluate(NAMES) == order
    assert page.evaluate("[...document.images].every(each => each.naturalWidth > 0)")
    assert said == []


def test_without_a_script_the_table_is_there(compared: Path, browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(write_comparison_page(compared).as_uri())
    assert page.locator(".board tbody tr").count() == 3
    assert page.locator("button").count() == 0
    page.context.close()
