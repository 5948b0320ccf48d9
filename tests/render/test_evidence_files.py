"""The files of one explanation, drawn from maps whose place is known."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidence.frames.source import open_source
from vidence.record.facts import ClipRef, Event
from vidence.render.annotate import Page
from vidence.render.evidence_files import CONTOURS, MAPS, MOVIE, SHEET, PlacedMaps, draw, sheet_of
from vidence.scoring.cases import Case
from vidence.scoring.run import ScoredWindow

AFFINE = np.array([[12.0, 0, 5.5], [0, 8.0, 3.5]])  # 4 x 4 cells on 32 x 48 pixels


@pytest.fixture
def placed() -> PlacedMaps:
    values = np.zeros((5, 4, 4), np.float32)
    values[2, 1, 2] = 2.0
    return PlacedMaps(np.arange(5) / 10 + 1.0, values, AFFINE, (32, 48), (10,))


def page(events: tuple[Event, ...]) -> Page:
    times = [t / 10 for t in range(60)]
    return Page("film.mp4", times, [0.2] * 60, 2.0, 0.5, events)


def test_the_files(film: Path, placed: PlacedMaps, tmp_path: Path) -> None:
    events = (Event(1.1, 1.3, 0.9), Event(5.0, 5.2, 0.9))  # the second was not explained
    cases = [Case((), event, name=f"event-{number}") for number, event in enumerate(events, 1)]
    draw(tmp_path, open_source(film), placed, page(events), cases)
    assert {path.name for path in tmp_path.iterdir()} == {MAPS, CONTOURS, MOVIE, SHEET, "event-1.jpg"}
    with np.load(tmp_path / MAPS, allow_pickle=False) as held:
        np.testing.assert_array_equal(held["values"], placed.values)
        np.testing.assert_array_equal(held["times"], placed.times)
        np.testing.assert_array_equal(held["affine"], AFFINE)
        assert held["values"].dtype == np.float32
        assert held["size"].tolist() == [32, 48]
        assert held["windows"].tolist() == [10]
    for name in (SHEET, "event-1.jpg"):
        assert cv2.imread(str(tmp_path / name)) is not None


def test_the_sheet_of_a_case_shows_its_frames(placed: PlacedMaps) -> None:
    late = ScoredWindow(ClipRef("a", "0" * 64, 3, (1.3, 1.4)), (0.1, 0.1))
    event = Event(1.2, 1.3, 0.9)
    besides, whole = Case((late,), None, (event,), "besides"), Case((late,))
    assert placed.shown(besides) == [1.4]  # the strongest frame, 1.2, and 1.3 are an alarm's
    assert placed.shown(whole) == [1.3, 1.4]
    assert placed.shown(Case((), event)) == placed.shown(None) == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert [sheet_of(case) for case in (besides, whole, Case((), event, name="event-3"))] == [
        *("besides.jpg", SHEET, "event-3.jpg")
    ]


def test_the_movie_shows_two_seconds_around(film: Path, placed: PlacedMaps, tmp_path: Path) -> None:
    draw(tmp_path, open_source(film), placed, page(()), ())
    with av.open(str(tmp_path / MOVIE)) as movie:
        times = [float(frame.time) for frame in movie.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(35) / 10, atol=2e-3)  # 0.0 to 3.4 s: all within 2 s of 1.0 to 1.4


def test_contours_lie_where_the_map_is_strong(film: Path, placed: PlacedMaps, tmp_path: Path) -> None:
    draw(tmp_path, open_source(film), placed, page(()), ())
    text = json.loads((tmp_path / CONTOURS).read_text())
    rows = text["contours"]
    assert {row["frame"] for row in rows} == {2}
    for row in rows:
        points = np.array(row["points"])
        assert np.all(np.abs(points - [29.5, 11.5]) <= [12, 8])  # around the cell's centre, at most a cell away


def test_equal_work_gives_equal_maps(film: Path, placed: PlacedMaps, tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw(tmp_path / name, open_source(film), placed, page(()), ())
    for file in (MAPS, CONTOURS, SHEET):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_a_map_stands_for_the_frames_around_its_own(placed: PlacedMaps) -> None:
    assert placed.reach_s == pytest.approx(0.1)
    assert placed.peak == 2.0
    near = placed.at(1.24)
    assert near is not None
    assert near.shape == (32, 48)
    assert np.unravel_index(near.argmax(), near.shape)[0] in (11, 12)
    assert placed.at(1.6) is None
