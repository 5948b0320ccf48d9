"""The page of a comparison from the tables in its folder, without torch; what was typed stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vidence.errors import DataError
from vidence.review.comparison_page import write_comparison_page


def test_the_page_says_what_the_tables_say(compared: Path) -> None:
    text = write_comparison_page(compared).read_text()
    rows = re.findall(r'<th scope="row" data-value="([^"]*)">.*?</tr>', text, re.DOTALL)
    assert rows == ["gradient", "random-map", "smooth(of=&#39;&lt;b&gt;&#39;)"]  # by mean place
    assert "2 explainers beside 1 controls, on 4 clips" in text
    assert "▲ 2" in text
    assert "▼ 0.5" in text
    assert text.count('<span class="tag">control</span>') == 1
    assert ">1.9 to 2.1</span>" in text
    assert ">4 clips of 3 sources</span>" in text
    assert ">place 0.0</span>" in text
    assert 'data-value="4">3 F, 1 G' in text


def test_the_order_is_that_of_the_measures_that_count(compared: Path) -> None:
    facts = json.loads((compared / "comparison.json").read_text())
    (compared / "comparison.json").write_text(json.dumps(facts | {"mean_places": {"random-map": 1.25}}))
    text = write_comparison_page(compared).read_text()
    rows = re.findall(r'<th scope="row" data-value="([^"]*)">.*?</th>\s*<td data-value="([^"]*)">', text, re.DOTALL)
    assert rows == [("random-map", "1.25"), ("gradient", ""), ("smooth(of=&#39;&lt;b&gt;&#39;)", "")]
    assert text.count("not in mean place") == 1  # flicker


def test_a_cell_without_a_number_says_why(compared: Path) -> None:
    text = write_comparison_page(compared).read_text()
    assert text.count('–<span class="tag">says nothing of these clips</span>') == 3


def test_a_failure_stands_out_from_a_refusal(compared: Path) -> None:
    text = write_comparison_page(compared).read_text()
    assert text.count('<h3 class="stands bad">Failed</h3>') == 1
    assert '<li class="stands bad"><code>lrp</code>: failed: KeyError: &#39;x&#39;</li>' in text
    assert "<li><code>cam</code>: it needs" in text


def test_what_was_typed_is_escaped(compared: Path) -> None:
    text = write_comparison_page(compared).read_text()
    for tag in ("<b>", "<i>set", "<pooling>", "<tokens>"):
        assert tag not in text
    assert "&lt;tokens&gt;" in text
    assert "&lt;pooling&gt;" in text
    assert "a&amp;b.mp4" in text


def test_pictures_lie_in_the_page_and_missing_clips_are_passed_over(compared: Path) -> None:
    text = write_comparison_page(compared).read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert text.count("data:image/svg+xml;base64,") == 1
    assert "averages over a grid of 32 × 32 cells, the same for all" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def test_a_folder_without_a_comparison_is_refused(compared: Path) -> None:
    facts = json.loads((compared / "comparison.json").read_text())
    (compared / "comparison.json").write_text(json.dumps(facts | {"ranks": None}))
    assert "svg+xml" not in write_comparison_page(compared).read_text()
    (compared / "agreement.csv").unlink()
    with pytest.raises(DataError, match="Compare again"):
        write_comparison_page(compared)
