import dataclasses

import numpy as np
import pytest

from vidence import spec
from vidence.errors import ShapeError, SpecError
from vidence.render import RENDERERS
from vidence.render.renderer import describe

every = pytest.mark.parametrize("key", sorted(RENDERERS))


@pytest.fixture(params=[1, 4], ids=["image", "clip"])
def pixels(request):
    return np.random.default_rng(0).integers(0, 256, (request.param, 40, 60, 3), dtype=np.uint8)


def bump(t, *, sign=1.0):
    rows, columns = np.mgrid[:40, :60]
    one = np.exp(-((columns - 20) ** 2 + (rows - 18) ** 2) / 80).astype(np.float32)
    return sign * np.stack([one * (frame + 1) / t for frame in range(t)])


@every
def test_a_zero_map_leaves_the_picture_unchanged(key, pixels):
    drawn = RENDERERS[key]()(pixels, np.zeros(pixels.shape[:3], np.float32))
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, pixels)


@every
def test_evidence_shows_where_it_is_and_keeps_the_shape(key, pixels):
    before = pixels.copy()
    for sign in (1.0, -1.0):
        values = bump(len(pixels), sign=sign)
        drawn = RENDERERS[key]()(pixels, values)
        assert drawn.shape == pixels.shape
        changed = (drawn != pixels).any(axis=-1)
        assert changed[-1, 8:28, 10:30].any()
        assert not changed[:, :, 50:].any()
    assert np.array_equal(pixels, before)


@every
def test_signs_look_different(key, pixels):
    towards, against = (RENDERERS[key]()(pixels, bump(len(pixels), sign=sign)) for sign in (1, -1))
    assert not np.array_equal(towards, against)


@every
def test_a_fixed_peak_makes_pieces_look_like_the_whole(key, pixels):
    renderer, values = RENDERERS[key](), bump(len(pixels))
    whole = renderer(pixels, values)
    for frame in range(len(pixels)):
        piece = slice(frame, frame + 1)
        assert np.array_equal(renderer(pixels[piece], values[piece], peak=float(values.max()))[0], whole[frame])


@every
def test_scope_frame_is_blind_to_the_other_frames(key, pixels):
    renderer, values = RENDERERS[key](scope="frame"), bump(len(pixels))
    whole = renderer(pixels, values)
    assert np.array_equal(whole[:1], renderer(pixels[:1], values[:1]))


@every
def test_smoothing_is_off_unless_asked_for_and_is_announced(key, pixels):
    values = bump(len(pixels))
    calm = RENDERERS[key](smooth=0.7)
    assert "smooth" not in describe(RENDERERS[key]())
    assert "smoothed in time for display (70%" in describe(calm)
    same = np.array_equal(calm(pixels, values, peak=1.0), RENDERERS[key]()(pixels, values, peak=1.0))
    assert same == (len(pixels) == 1)


@every
def test_it_is_a_value_with_a_spec_line(key, pixels):
    renderer = RENDERERS[key](scope="frame", smooth=0.5)
    assert spec.build(spec.line(renderer, RENDERERS), RENDERERS) == renderer
    with pytest.raises(dataclasses.FrozenInstanceError):
        renderer.smooth = 0.1


@every
def test_a_map_of_another_size_is_refused(key, pixels):
    with pytest.raises(ShapeError):
        RENDERERS[key]()(pixels, np.ones((len(pixels), 40, 59), np.float32))


WRONG = [("scope", "all"), ("smooth", 1.0), ("alpha", 2), ("levels", (0,)), ("levels", ())]


@every
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_settings_are_checked_when_made(key, name, value):
    known = {field.name for field in dataclasses.fields(RENDERERS[key])}
    with pytest.raises(SpecError if name in known else TypeError):
        RENDERERS[key](**{name: value})
