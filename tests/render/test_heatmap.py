import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.render.heatmap import overlay, peaks, smoothed
from vidence.render.ramp import AGAINST, TOWARDS


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 10, 14, 3), dtype=np.uint8)


def test_zero_leaves_each_pixel_unchanged_bit_for_bit(pixels):
    values = np.random.default_rng(1).normal(size=(3, 10, 14)).astype(np.float32)
    values[:, :, :7] = 0
    drawn = overlay(pixels, values)
    assert np.array_equal(drawn[:, :, :7], pixels[:, :, :7])
    assert not np.array_equal(drawn, pixels)
    assert np.array_equal(overlay(pixels, np.zeros_like(values)), pixels)
    assert np.array_equal(overlay(pixels, np.zeros_like(values), scope="frame"), pixels)


def test_opaque_at_the_peak_shows_the_ramps_end_in_either_direction():
    values = np.zeros((1, 3, 2), dtype=np.float32)
    values[0, 0, 0], values[0, 2, 1] = 5, -5
    drawn = overlay(np.full((1, 3, 2, 3), 9, dtype=np.uint8), values, alpha=1)
    assert tuple(drawn[0, 0, 0]) == tuple(TOWARDS[-1])
    assert tuple(drawn[0, 2, 1]) == tuple(AGAINST[-1])
    assert (drawn[0, 1] == 9).all()


def test_opacity_rises_with_the_value():
    values = np.linspace(-1, 1, 201, dtype=np.float32)[None, None]
    black, white = (np.full((1, 1, 201, 3), grey, dtype=np.uint8) for grey in (0, 255))
    through = overlay(white, values, alpha=0.6)[0, 0].astype(int) - overlay(black, values, alpha=0.6)[0, 0]
    assert (np.diff(through[100:], axis=0) <= 1).all()
    assert (np.diff(through[:101], axis=0) >= -1).all()
    assert through[[0, 100, 200], 0] == pytest.approx([0.4 * 255, 255, 0.4 * 255], abs=1)


def test_the_pixels_given_are_not_written_to(pixels):
    before = pixels.copy()
    pixels.flags.writeable = False
    overlay(pixels, np.ones((3, 10, 14), dtype=np.float32))
    assert np.array_equal(pixels, before)


def test_scope_decides_whether_frames_share_a_scale(pixels):
    values = np.zeros((3, 10, 14), dtype=np.float32)
    values[0, 4, 4], values[1, 4, 4] = 1, 10
    assert peaks(values).tolist() == [10, 10, 10]
    assert peaks(values, "frame").tolist() == [1, 10, 0]
    white = np.full_like(pixels, 255)
    clip, frame = overlay(white, values), overlay(white, values, scope="frame")
    assert np.array_equal(frame[0], frame[1])
    assert clip[0, 4, 4].sum() > clip[1, 4, 4].sum()  # weaker, so more of the white shows
    assert np.array_equal(overlay(white, values, peak=1, scope="frame")[0], frame[0])
    assert np.array_equal(overlay(white[:1], values[:1], peak=10)[0], clip[0])


def test_a_peak_of_any_magnitude_is_drawn(pixels):
    values = np.random.default_rng(1).uniform(0.2, 1, size=(3, 10, 14)).astype(np.float32)
    drawn = overlay(pixels, values)
    for scale in (1e-30, 1e30):
        assert np.abs(overlay(pixels, values * np.float32(scale)).astype(int) - drawn).max() <= 2
    tiny = np.zeros((3, 10, 14), dtype=np.float32)
    tiny[0, 0, 0] = np.finfo(np.float32).smallest_subnormal
    assert not np.array_equal(overlay(pixels, tiny)[0, 0, 0], pixels[0, 0, 0])


def test_smoothing_is_the_recursion_and_never_ahead_of_time():
    values = np.random.default_rng(2).normal(size=(5, 2, 3)).astype(np.float32)
    calm, held = smoothed(values, 0.6), values[0]
    for frame in range(1, 5):
        held = 0.6 * held + 0.4 * values[frame]
        np.testing.assert_allclose(calm[frame], held, rtol=1e-5)
    assert np.array_equal(smoothed(values, 0), values)
    late = np.zeros((5, 1, 1), dtype=np.float32)
    late[3] = 1
    assert (smoothed(late, 0.6)[:3] == 0).all()


@pytest.mark.parametrize(
    ("values", "settings", "words"),
    [
        (np.zeros((3, 10, 13), np.float32), {}, "pixels must be uint8"),
        (np.zeros((10, 14), np.float32), {}, "a map must be floating"),
        (np.zeros((3, 10, 14), np.int64), {}, "a map must be floating"),
        (np.full((3, 10, 14), np.nan, np.float32), {}, "finite"),
        (np.full((3, 10, 14), np.inf, np.float32), {}, "finite"),
        (np.zeros((3, 10, 14), np.float32), {"alpha": 1.2}, "opacity"),
        (np.zeros((3, 10, 14), np.float32), {"scope": "video"}, "'clip' or 'frame'"),
        (np.zeros((3, 10, 14), np.float32), {"peak": -1.0}, "fixed peak"),
        (np.zeros((3, 10, 14), np.float32), {"peak": float("nan")}, "fixed peak"),
    ],
)
def test_what_cannot_be_drawn_is_refused(pixels, values, settings, words):
    with pytest.raises(ShapeError, match=words):
        overlay(pixels, values, **settings)


def test_blending_matches_real_arithmetic(pixels):
    values = np.random.default_rng(4).uniform(-1, 1, size=(3, 10, 14))
    drawn = overlay(pixels, (np.rint(values * 127) / 127).astype(np.float32), alpha=0.6, peak=1.0)
    share = np.abs(np.rint(values * 127) / 127)
    ramp = np.where(values[..., None] < 0, *(table[np.rint(share * 255).astype(int)] for table in (AGAINST, TOWARDS)))
    opacity = np.rint(256 * 0.6 * share * (1.6 - 0.6 * share))[..., None] / 256
    assert np.abs(drawn - (pixels * (1 - opacity) + ramp * opacity)).max() <= 0.51
