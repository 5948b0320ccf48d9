"""The page of a comparison in a real browser: it sorts, and says the same where no script runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidence.review.comparison_page import write_comparison_page

pytestmark = pytest.mark.browser
NAMES = "[...document.querySelectorAll('.board tbody th')].map(each => each.dataset.value)"


@pytest.fixture
def shown(compared: Path, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """The page and everything that the browser complained about or asked the outside for."""
    path = write_comparison_page(compared)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url))
    page.goto(path.as_uri())
    yield page, said
    page.close()


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


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_runs_off_the_side(shown: tuple[Any, list[str]], width: int) -> None:
    page, _ = shown
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(shown: tuple[Any, list[str]], contrast: str, scheme: str) -> None:
    page, _ = shown
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate(contrast) == []
