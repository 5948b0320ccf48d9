"""Every page in a real browser: nothing runs off the side, and the text can be read in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidence.record.store import Store
from vidence.review.comparison_page import write_comparison_page
from vidence.review.report import write_report

pytestmark = pytest.mark.browser
OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true; })"


@pytest.fixture(params=["report", "comparison"])
def page(request: pytest.FixtureRequest, store: Store, compared: Path, opened: Callable[[Path], Any]) -> Any:
    """A page with everything unfolded."""
    written = {
        "report": lambda: write_report(store, store.path.parent / "report.html"),
        "comparison": lambda: write_comparison_page(compared),
    }
    shown, _ = opened(written[request.param]())
    shown.evaluate(OPEN)
    return shown


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_nothing_runs_off_the_side(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(page: Any, contrast: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate(contrast) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(19, 22, 28)") == (scheme == "dark")
