import json

import cv2
import numpy as np
import pytest

from vidence.errors import ShapeError
from vidence.render.contours import LEVELS, contours, draw, to_json

H, W = 90, 140


def shoelace(points):
    x, y = points.T.astype(np.float64)
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def cone(radius, *, x=70.3, y=44.6, h=H, w=W):
    """Falls from 1 at the centre to 0 at `radius`: the level L is a circle of radius (1 - L) * radius."""
    rows, columns = np.mgrid[:h, :w]
    return np.clip(1 - np.hypot(columns - x, rows - y) / radius, 0, 1).astype(np.float32)[None]


def disc(radius, **where):
    return (cone(1e6, **where) >= 1 - radius / 1e6).astype(np.float32)


@pytest.mark.parametrize("radius", [12, 20, 40])
def test_every_level_of_a_cone_is_one_circle_of_the_right_area(radius):
    found = contours(cone(radius), peak=1.0, min_area=0)
    assert [contour.level for contour in found] == list(LEVELS)
    for contour in found:
        true = (1 - contour.level) * radius
        if true < 5:
            continue
        assert contour.area == pytest.approx(np.pi * true**2, rel=0.03)
        assert shoelace(contour.points) == pytest.approx(np.pi * true**2, rel=0.03)
        away = np.hypot(*(contour.points - [70.3, 44.6]).T)
        assert np.abs(away - true).max() < 0.25
        # a cone's mean over a disc: the edge's value and a third of the rise
        assert contour.mean == pytest.approx(contour.level + (1 - contour.level) / 3, rel=0.03)


@pytest.mark.parametrize("radius", [6, 10, 30])
def test_a_hard_disc_has_its_area_at_half_height(radius):
    (contour,) = contours(disc(radius, x=70, y=44), levels=(0.5,))
    assert contour.area == pytest.approx(np.pi * radius**2, rel=0.03)
    assert shoelace(contour.points) == pytest.approx(np.pi * radius**2, rel=0.03)


def test_higher_levels_lie_inside_lower_ones():
    smooth = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(H, W)).astype(np.float32), (0, 0), 9)[None]
    found = contours(smooth, min_area=0)
    assert len({contour.sign for contour in found}) == 2
    checked = 0
    for inner in found:
        lower = [
            c
            for c in found
            if c.sign == inner.sign and c.level == max((x for x in LEVELS if x < inner.level), default=0)
        ]
        for point in inner.points if lower else ():
            deepest = max(cv2.pointPolygonTest(outer.points, tuple(map(float, point)), True) for outer in lower)
            assert deepest > -0.25
            checked += 1
    assert checked > 50


def test_regions_match_a_count_of_pixels():
    smooth = cv2.GaussianBlur(np.random.default_rng(3).normal(size=(80, 90)).astype(np.float32), (0, 0), 5)[None]
    for sign in (1, -1):
        mask = (sign * smooth[0] >= 0.3 * np.abs(smooth).max()).astype(np.uint8)
        count, parts = cv2.connectedComponents(mask)
        mine = [c for c in contours(smooth, levels=(0.3,), min_area=0) if c.sign == sign]
        big = [int((parts == part).sum()) for part in range(1, count) if (parts == part).sum() > 30]
        assert len(big) > 2
        for area in big:
            assert min(abs(contour.area - area) / area for contour in mine) < 0.1


def test_a_ring_has_a_hole_and_its_area_leaves_it_out():
    ring = np.maximum(disc(30, x=70, y=44) - disc(12, x=70, y=44), 0)
    ring += disc(3, x=70, y=44)  # an island inside the hole is a region of its own
    island, outer = sorted(contours(ring, levels=(0.5,)), key=lambda contour: contour.area)
    assert len(outer.holes) == 1
    assert len(island.holes) == 0
    assert outer.area == pytest.approx(np.pi * (30**2 - 12**2), rel=0.03)
    assert shoelace(outer.holes[0]) == pytest.approx(np.pi * 12**2, rel=0.04)
    assert outer.mean == pytest.approx(1, abs=0.03)


def test_signed_maps_have_contours_of_both_signs_on_one_scale():
    values = cone(30, x=40) - 0.8 * cone(30, x=100)
    found = contours(values)
    assert {c.level for c in found if c.sign > 0} == {0.3, 0.5, 0.7, 0.9}
    assert {c.level for c in found if c.sign < 0} == {0.3, 0.5, 0.7}
    for contour in found:
        assert np.sign(contour.threshold) == np.sign(contour.mean) == contour.sign
        assert (contour.points[:, 0] > 70).all() == (contour.sign < 0)


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_an_empty_map_has_no_contours(scope):
    assert contours(np.zeros((2, H, W), np.float32), scope=scope, min_area=0) == []


def test_scope_frame_scales_each_frame_to_itself():
    values = np.concatenate([cone(30), 0.2 * cone(30)])
    assert {c.frame for c in contours(values)} == {0}
    assert {c.frame for c in contours(values, scope="frame")} == {0, 1}
    assert {c.frame for c in contours(values, scope="frame", first=7)} == {7, 8}


def test_a_single_pixel_is_a_region():
    values = np.zeros((1, 20, 30), np.float32)
    values[0, 5, 9] = 1
    for level in (0.5, 0.9, 1.0):
        (contour,) = contours(values, levels=(level,), min_area=0)
        assert len(contour.points) >= 3
        assert shoelace(contour.points) > 0
        assert np.abs(contour.points.mean(axis=0) - [9, 5]).max() < 0.2
        assert 0 < contour.area <= 1
    assert contours(values, levels=(0.5,)) == []  # under the least area


def test_a_line_of_pixels_and_a_full_frame_are_regions():
    values = np.zeros((1, 20, 30), np.float32)
    values[0, 5, 4:20] = 1
    (line,) = contours(values, levels=(0.5,), min_area=0)
    assert line.area == pytest.approx(16, rel=0.1)
    (full,) = contours(np.ones((1, 20, 30), np.float32), levels=(1.0,))
    assert full.area == pytest.approx(600)
    assert full.points.min() > -0.5
    assert (full.points.max(axis=0) < [29.5, 19.5]).all()


def test_drawing_touches_only_the_frame_and_keeps_the_picture_it_was_given():
    pixels = np.random.default_rng(0).integers(0, 256, (2, H, W, 3), dtype=np.uint8)
    before = pixels.copy()
    found = contours(np.concatenate([cone(30), cone(30) * 0]))
    drawn = draw(pixels, found)
    assert np.array_equal(pixels, before)
    assert np.array_equal(drawn[1], pixels[1])
    changed = (drawn[0] != pixels[0]).any(axis=-1)
    assert 100 < changed.sum() < 0.5 * changed.size
    assert not changed[:8].any()
    assert np.array_equal(draw(pixels, []), pixels)


def test_lines_brighten_and_widen_with_the_level():
    black = np.zeros((1, H, W, 3), np.uint8)
    low, high = (contours(cone(40), levels=(level,), peak=1.0) for level in (0.3, 0.9))
    assert draw(black, high).max(axis=-1).max() > draw(black, low).max(axis=-1).max()
    per_length = [(draw(black, c, width=2).any(axis=-1)).sum() / cv2.arcLength(c[0].points, True) for c in (low, high)]
    assert per_length[1] > per_length[0]


def test_json_is_plain_and_complete():
    found = contours(np.concatenate([cone(30), -cone(20)]))
    text = json.dumps(to_json(found, [0.5, 0.54], (H, W)), allow_nan=False)
    data = json.loads(text)
    assert (data["height"], data["width"], len(data["contours"])) == (H, W, len(found))
    assert set(data["contours"][0]) == {
        "frame", "time", "level", "sign", "threshold", "points", "holes", "area", "mean_value",
    }  # fmt: skip
    assert {(c["frame"], c["time"], c["sign"]) for c in data["contours"]} == {(0, 0.5, 1), (1, 0.54, -1)}
    with pytest.raises(ShapeError, match="needs a time; got frame 1 and 1 times"):
        to_json(found, [0.5], (H, W))


@pytest.mark.parametrize("levels", [(), (0,), (0.5, 1.1)])
def test_levels_must_be_shares_of_the_peak(levels):
    with pytest.raises(ShapeError, match="shares of the peak"):
        contours(cone(30), levels=levels)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e6])
def test_a_plateau_of_any_scale_has_finite_edges(scale: float) -> None:
    values = np.zeros((1, 32, 48), np.float32)
    values[:, 8:24, 12:] = scale  # flat up to the picture's edge
    found = contours(values)
    assert found
    for each in found:
        assert np.isfinite(each.points).all()
        np.testing.assert_allclose(each.points.max(axis=0), [47.5, 23.5], atol=0.6)
