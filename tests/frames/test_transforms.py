"""Pixels to the network's input and maps back, against slow twins and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidence.errors import ShapeError, SpecError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit, FitMode, resize, resize_map
from vidence.record.facts import ClipRef

ROUNDING = 1.01 / 255  # resizing works on 8 bits


def clip_of(pixels: np.ndarray) -> Clip:
    return Clip(ClipRef("made", "0" * 64, 0, tuple(range(len(pixels)))), pixels)


def random_pixels(t: int, h: int, w: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (t, h, w, 3), dtype=np.uint8)


def area_weights(n: int, m: int) -> np.ndarray:
    """(m, n): the share of each of n pixels in each of m larger ones."""
    weights = np.zeros((m, n))
    for j in range(m):
        low, high = j * n / m, (j + 1) * n / m
        for i in range(n):
            weights[j, i] = max(0.0, min(i + 1, high) - max(i, low)) / (high - low)
    return weights


@pytest.mark.parametrize(("h", "w"), [(64, 96), (37, 51), (16, 40)])
def test_shrinking_averages_areas(h: int, w: int) -> None:
    pixels = random_pixels(3, h, w)
    x = Fit(16)(clip_of(pixels))
    assert x.shape == (1, 3, 3, 16, 16)
    assert x.dtype == torch.float32
    expected = np.einsum("yh,xw,thwc->ctyx", area_weights(h, 16), area_weights(w, 16), pixels / 255.0)
    np.testing.assert_allclose(x[0].numpy(), expected, atol=ROUNDING)


def test_growing_interpolates() -> None:
    pixels = random_pixels(2, 9, 13)
    x = Fit(32)(clip_of(pixels))
    exact = torch.from_numpy(pixels / 255.0).permute(0, 3, 1, 2)
    expected = F.interpolate(exact, (32, 32), mode="bilinear", align_corners=False).permute(1, 0, 2, 3)
    np.testing.assert_allclose(x[0].numpy(), expected.numpy(), atol=ROUNDING)


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    pixels = random_pixels(1, 40, 10)
    averaged = np.einsum("yh,thwc->tcyw", area_weights(40, 20), pixels.astype(float))
    expected = F.interpolate(torch.from_numpy(averaged), (20, 20), mode="bilinear", align_corners=False)
    x = Fit(20)(clip_of(pixels))
    np.testing.assert_allclose(x[0, :, 0].numpy() * 255, expected[0].numpy(), atol=1.6)  # rounded twice


def test_the_same_size_is_left_alone() -> None:
    pixels = random_pixels(2, 24, 24)
    for mode in ("stretch", "letterbox"):
        x = Fit(24, mode)(clip_of(pixels))
        np.testing.assert_array_equal((x[0].permute(1, 2, 3, 0) * 255).round().numpy(), pixels)


def test_an_image_is_a_clip_of_length_one() -> None:
    assert Fit(8)(clip_of(random_pixels(1, 20, 30))).shape == (1, 3, 1, 8, 8)


def test_letterbox_keeps_the_aspect_and_pads_with_black() -> None:
    x = Fit(32, "letterbox")(clip_of(np.full((2, 20, 40, 3), 255, np.uint8)))[0]
    assert torch.all(x[:, :, 8:24] == 1)
    assert torch.all(x[:, :, :8] == 0)
    assert torch.all(x[:, :, 24:] == 0)
    tall = Fit(32, "letterbox")(clip_of(np.full((1, 400, 1, 3), 255, np.uint8)))[0]  # a sliver keeps one column
    assert int((tall.sum(dim=(0, 1, 2)) > 0).sum()) == 1


def test_the_affine_by_closed_form() -> None:
    np.testing.assert_allclose(Fit(8).to_source((8, 8), (8, 8)), [[1, 0, 0], [0, 1, 0]])
    # 224 wide to 448: a cell of 7 covers 64 source pixels, 0..63, whose middle is 31.5
    np.testing.assert_allclose(Fit(224).to_source((224, 448), (7, 7)), [[64, 0, 31.5], [0, 32, 15.5]])
    # letterbox of 100 x 200 in 200: 50 black rows above; cells of 20, the first one's middle at -50 + 10 - .5
    np.testing.assert_allclose(Fit(200, "letterbox").to_source((100, 200), (10, 10)), [[20, 0, 9.5], [0, 20, -40.5]])


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(90, 160), (160, 90), (256, 342), (30, 40)])
def test_what_a_cell_sees_lies_where_the_affine_says(mode: FitMode, size: tuple[int, int]) -> None:
    fit, grid = Fit(56, mode), (14, 14)
    affine = fit.to_source(size, grid)
    for share_y, share_x in ((0.2, 0.3), (0.5, 0.5), (0.85, 0.7)):
        y, x = round(share_y * size[0]), round(share_x * size[1])
        pixels = np.zeros((1, *size, 3), np.uint8)
        pixels[0, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 255
        seen = F.avg_pool2d(fit(clip_of(pixels))[0, 0], 4)[0]
        row, column = divmod(int(seen.argmax()), grid[1])
        found = affine @ [column, row, 1]
        cell = np.abs([affine[0, 0], affine[1, 1]])
        assert np.all(np.abs(found - [x, y]) <= 0.5 * cell + 3), (found, x, y)


def test_maps_are_brought_back_as_torch_does_it() -> None:
    values = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    size = (33, 48)
    ours = resize_map(values, Fit(64).to_source(size, (7, 5)), size)
    theirs = F.interpolate(torch.from_numpy(values)[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def bilinear_by_definition(values: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    t, h, w = values.shape
    out = np.zeros((t, *size))
    for y in range(size[0]):
        for x in range(size[1]):
            i = (x - affine[0, 2]) / affine[0, 0]
            j = (y - affine[1, 2]) / affine[1, 1]
            if not (-0.5 <= i <= w - 0.5 and -0.5 <= j <= h - 0.5):
                continue
            i, j = min(max(i, 0), w - 1), min(max(j, 0), h - 1)
            for row in range(h):
                for column in range(w):
                    share = max(0.0, 1 - abs(i - column)) * max(0.0, 1 - abs(j - row))
                    out[:, y, x] += share * values[:, row, column]
    return out


@pytest.mark.parametrize("grid", [(4, 6), (1, 1), (1, 5)])
@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_maps_are_brought_back_by_definition(grid: tuple[int, int], mode: FitMode) -> None:
    values = np.random.default_rng(0).normal(size=(2, *grid)).astype(np.float32)
    size = (11, 23)
    affine = Fit(16, mode).to_source(size, grid)
    np.testing.assert_allclose(
        resize_map(values, affine, size), bilinear_by_definition(values, affine, size), atol=1e-5
    )


def test_pixels_that_no_cell_covers_are_zero() -> None:
    affine = np.array([[4.0, 0, 9.5], [0, 4.0, 5.5]])  # the cells cover x 8..15 and y 4..11
    out = resize_map(np.ones((1, 2, 2), np.float32), affine, (16, 24))[0]
    expected = np.zeros((16, 24))
    expected[4:12, 8:16] = 1
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_a_constant_map_stays_constant(mode: FitMode) -> None:
    for size in ((7, 300), (300, 7), (64, 64)):
        out = resize_map(np.full((1, 7, 7), 2.5, np.float32), Fit(224, mode).to_source(size, (7, 7)), size)
        np.testing.assert_allclose(out, 2.5, atol=1e-5)


def test_resize_leaves_the_size_it_is_given_alone() -> None:
    pixels = random_pixels(1, 5, 6)[0]
    np.testing.assert_array_equal(resize(pixels, (5, 6)), pixels)


def test_bad_arguments_are_refused() -> None:
    values, affine = np.zeros((1, 2, 2), np.float32), Fit(4).to_source((4, 4), (2, 2))
    with pytest.raises(ShapeError, match="scale and shift only"):
        resize_map(values, np.array([[1.0, 0.2, 0], [0, 1.0, 0]]), (4, 4))
    with pytest.raises(ShapeError, match="scale and shift only"):
        resize_map(values, np.zeros((2, 3)), (4, 4))
    with pytest.raises(ShapeError, match="maps must be"):
        resize_map(values[0], affine, (4, 4))
    with pytest.raises(ShapeError, match="at least one pixel"):
        Fit(4).to_source((0, 4), (2, 2))
    for size in (0, -3, 2.0, True):
        with pytest.raises(SpecError, match="size"):
            Fit(size)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="mode"):
        Fit(8, "crop")  # type: ignore[arg-type]
