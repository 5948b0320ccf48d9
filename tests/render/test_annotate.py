import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.record.facts import Event
from vidence.render import RENDERERS
from vidence.render.annotate import Page, annotated, panel_size

TIMES = [0.0, 0.04, 0.2, 0.24]
SCORES = [0.1, 0.7, 0.8, 0.2]


def page(**settings):
    given = {"name": "gate.mp4", "threshold": 0.5, "events": [Event(0.04, 0.2, 0.8)], "peak": 1.0} | settings
    return Page(times=TIMES, scores=SCORES, **given)


def frames(h=120, w=330, *, value=1.0):
    rng = np.random.default_rng(0)
    for time in TIMES:
        values = np.zeros((h, w), np.float32)
        values[h // 3 : h // 2, w // 3 : w // 2] = value
        yield rng.integers(0, 256, (h, w, 3), dtype=np.uint8), time, values


def holds(picture, panel):
    """Where the panel lies in the picture, bit for bit; None where it does not."""
    h, w = panel.shape[:2]
    corners = np.argwhere((picture[: -h + 1, : -w + 1] == panel[0, 0]).all(axis=-1))
    return next(((y, x) for y, x in corners.tolist() if np.array_equal(picture[y : y + h, x : x + w], panel)), None)


@pytest.mark.parametrize(("layout", "plain"), [("beside", True), ("above", True), ("alone", False)])
def test_picture_and_evidence_lie_where_the_layout_says(layout, plain):
    h, w = 120, 500
    given = list(frames(h, w))
    shown = list(annotated(page(layout=layout), given))
    assert len(shown) == len(TIMES)
    assert len({picture.shape for picture in shown}) == 1
    for picture, (pixels, _, values) in zip(shown, given, strict=True):
        assert picture.dtype == np.uint8
        assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
        drawn = RENDERERS["both"]()(pixels[None], values[None], peak=1.0)[0]
        where, before = holds(picture, drawn), holds(picture, pixels)
        assert where is not None
        assert (before is not None) == plain
        if before is not None:
            assert (where[1] > before[1] + w) if layout == "beside" else (where[0] > before[0] + h)


def test_no_evidence_shows_the_same_picture_twice():
    for values in (np.zeros((120, 330), np.float32), None):
        (picture, *_) = annotated(page(), [(pixels, time, values) for pixels, time, _ in frames()])
        pixels = next(frames())[0]
        left = holds(picture, pixels)
        assert left is not None
        rest = picture[:, left[1] + 330 :]
        same = holds(rest, pixels if values is not None else pixels[:90])  # a label lies at the bottom otherwise
        assert same is not None


def test_frames_come_one_by_one():
    asked = []

    def counted():
        for index, frame in enumerate(frames()):
            asked.append(index)
            yield frame

    stream = annotated(page(), counted())
    next(stream)
    assert asked == [0]


def test_all_frames_share_the_pages_scale():
    given = list(frames(value=0.5))
    picture = next(annotated(page(peak=1.0), given))
    half = RENDERERS["both"]()(given[0][0][None], given[0][2][None], peak=1.0)[0]
    assert holds(picture, half) is not None
    picture = next(annotated(page(peak=1.0, renderer=RENDERERS["both"](scope="frame")), given))
    assert holds(picture, half) is None


def test_streamed_smoothing_equals_that_of_the_clip():
    calm = RENDERERS["heatmap"](smooth=0.6)
    given = [
        (pixels, time, values * scale) for (pixels, time, values), scale in zip(frames(), (1, 0, 0.5, 0), strict=True)
    ]
    whole = calm(np.stack([pixels for pixels, _, _ in given]), np.stack([values for _, _, values in given]), peak=1.0)
    for picture, drawn in zip(annotated(page(renderer=calm), given), whole, strict=True):
        assert holds(picture, drawn) is not None


def test_the_state_follows_the_threshold():
    first, second, *_ = annotated(page(), frames())
    alarm = np.array((245, 166, 35))
    assert (first[:40] == alarm).all(axis=-1).sum() == 0
    assert (second[:40] == alarm).all(axis=-1).sum() > 500
    without, _, *_ = annotated(page(threshold=None, events=()), frames())
    assert without.shape == first.shape


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((240, 360), (240, 360)),
        ((64, 64), (320, 320)),
        ((1080, 1920), (450, 800)),
        ((1920, 1080), (640, 360)),
        ((241, 361), (240, 360)),
    ],
)
def test_panels_are_readable_and_fit_a_screen(size, shown):
    assert panel_size(size) == pytest.approx(shown, abs=2)


def test_a_frame_of_another_size_is_scaled_into_its_panel():
    given = [*frames(), *((p, t + 1, v) for p, t, v in frames(90, 100))]
    assert len({picture.shape for picture in annotated(page(), given)}) == 1


@pytest.mark.parametrize("layout", ["beside", "alone"])
def test_long_words_are_cut_to_fit(layout):
    words = "a name far too long for a small picture " * 8
    (picture, *_) = annotated(
        page(name=words, measure=words, evidence=words, note=words, layout=layout), frames(60, 80)
    )
    assert picture.shape[1] < 720


def test_a_layout_must_be_known():
    with pytest.raises(ShapeError, match="'beside', 'above' or 'alone'; got 'left'"):
        page(layout="left")


def test_smoothing_does_not_reach_over_a_gap():
    calm = RENDERERS["heatmap"](smooth=0.6)
    given = list(frames())
    given[1] = (*given[1][:2], None)
    drawn = calm(given[2][0][None], given[2][2][None] * 0.3, peak=1.0)[0]
    given[2] = (*given[2][:2], given[2][2] * 0.3)
    shown = list(annotated(page(renderer=calm), given))
    assert holds(shown[2], drawn) is not None
