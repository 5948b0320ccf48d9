import numpy as np
import pytest
from PIL import Image

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render.sheet import pick_frames, write_sheet

TIMES = np.arange(100) / 10
WEIGHTS = np.exp(-((TIMES - 6.3) ** 2))


def test_an_event_is_shown_from_before_to_after_with_its_strongest_frame():
    picked = pick_frames(TIMES, WEIGHTS, event=Event(5, 8, 1))
    assert picked == sorted(set(picked))
    assert len(picked) == 8
    assert 63 in picked
    assert picked[0] < 50 <= picked[1] == 50
    assert picked[-1] > 80 >= picked[-2] == 80
    assert np.diff(picked).max() <= 12  # a fifth of the pace is at most two fifths of the event's thirty frames


def test_frames_with_most_to_see_are_shown_most():
    weights = np.where((TIMES >= 6) & (TIMES < 6.5), 1.0, 0.0)
    picked = pick_frames(TIMES, weights, event=Event(4, 9, 1))
    assert sum(weights[at] > 0 for at in picked) >= 3  # half of six
    assert {40, 90} <= set(picked)


def test_spread_is_even_in_time_not_in_frames():
    times = np.concatenate([np.linspace(0, 1, 50), np.linspace(1.1, 10, 10)])
    picked = pick_frames(times, np.ones(60), count=5)
    assert np.diff(times[picked]).max() < 3.5


@pytest.mark.parametrize("event", [Event(3, 3, 1), Event(0, 0, 1), Event(9.9, 9.9, 1), None, Event(40, 50, 1)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 200])
def test_never_more_than_asked_and_the_event_is_in(event, count):
    picked = pick_frames(TIMES, WEIGHTS, count=count, event=event)
    assert 1 <= len(picked) <= count
    assert picked == sorted(set(picked))
    assert set(picked) <= set(range(100))
    if event is not None and event.first_s < 10:
        assert round(event.first_s * 10) in picked
        assert len(picked) == min(count, 100)
    else:
        assert 63 in picked


def test_frames_at_one_time_and_single_frames():
    assert pick_frames([1.0], [0.5]) == [0]
    assert len(pick_frames(np.zeros(30), np.ones(30), count=4)) == 4


@pytest.mark.parametrize(("times", "weights", "count"), [([], [], 8), ([1], [1, 2], 8), ([1], [1], 0)])
def test_picking_refuses_what_does_not_fit(times, weights, count):
    with pytest.raises(ShapeError, match="picking frames"):
        pick_frames(times, weights, count=count)


@pytest.mark.parametrize(("h", "w"), [(240, 360), (64, 96), (1080, 1920), (640, 360), (33, 47)])
def test_the_sheet_is_readable_at_normal_size(tmp_path, h, w):
    pictures = [np.full((h, w, 3), 20 * index, dtype=np.uint8) for index in range(8)]
    write_sheet(tmp_path / "s.png", pictures, [f"{index} s" for index in range(8)], title="gate.mp4")
    with Image.open(tmp_path / "s.png") as page:
        sheet = np.asarray(page)
        assert page.format == "PNG"
    assert sheet.shape[1] <= 1500
    for index in range(1, 8):
        shown = (sheet == 20 * index).all(axis=-1)
        assert shown.sum() >= 200 * 200  # each picture is there, large enough
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]
    assert (rows[-1] - rows[0]) / (columns[-1] - columns[0]) == pytest.approx(h / w, rel=0.1)


def test_words_get_room(tmp_path):
    pictures = [np.zeros((240, 320, 3), np.uint8)] * 2
    for name, given in (("plain", {}), ("full", {"title": "a " * 400, "text": "b " * 400})):
        write_sheet(tmp_path / f"{name}.png", pictures, ["first " * 50, "second"], **given)
    plain, full = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("plain", "full"))
    assert full.shape[0] > plain.shape[0]
    assert full.shape[1] == plain.shape[1]


def test_other_shapes_keep_their_proportions(tmp_path):
    wide, tall = np.zeros((100, 400, 3), np.uint8), np.full((400, 100, 3), 77, np.uint8)
    write_sheet(tmp_path / "s.png", [wide, tall], ["", ""])
    shown = (np.asarray(Image.open(tmp_path / "s.png")) == 77).all(axis=-1)
    assert shown.any(axis=1).sum() / shown.any(axis=0).sum() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("pictures", "captions"),
    [
        ([], []),
        ([np.zeros((4, 4, 3), np.uint8)], []),
        ([np.zeros((4, 4), np.uint8)], [""]),
        ([np.zeros((4, 4, 3))], [""]),
    ],
)
def test_what_is_no_sheet_is_refused(tmp_path, pictures, captions):
    with pytest.raises(ShapeError, match="a sheet"):
        write_sheet(tmp_path / "s.png", pictures, captions)
    assert not list(tmp_path.iterdir())
