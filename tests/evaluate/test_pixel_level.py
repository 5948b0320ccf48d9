"""Pixels counted at levels against all pixels kept, and PRO against its definition, region by region."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from vidence.errors import DataError, ShapeError
from vidence.evaluate.pixel_level import PixelTally
from vidence.frames.transforms import Fit

SAME = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the map lies on the source's pixels


def masks_with_regions(scale: int = 1) -> np.ndarray:
    masks = np.zeros((6, 20, 24), dtype=bool)
    masks[0, 2:6, 3:9] = True
    masks[0, 12:18, 15:17] = True
    masks[1, 2:6, 3:9] = True  # touches frame 0's region in time, yet is its own
    masks[3, 5, 5] = masks[3, 6, 6] = True  # touch at a corner: one region
    masks[4, :, 20:] = True
    return masks.repeat(scale, axis=1).repeat(scale, axis=2)


def slow_pro(values: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """At every threshold the mean, over regions, of the share found; integrated over the false-positive rate."""
    regions = []
    for t, mask in enumerate(masks):
        labels, count = label(mask, structure=np.ones((3, 3)))
        regions += [values[t][labels == k + 1] for k in range(count)]
    normal = values[~masks]
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.quantile(values, np.linspace(0, 1, 1001)))[::-1]:
        points.append(((normal >= threshold).mean(), np.mean([(each >= threshold).mean() for each in regions])))
    x, y = np.array(points).T
    grid = np.linspace(0, limit, 20001)
    return float(np.trapezoid(np.interp(grid, x, y), grid) / limit)


@pytest.mark.parametrize("spread", ["wide", "narrow", "signed", "ties"])
def test_it_is_what_all_pixels_kept_would_say(spread: str) -> None:
    rng, masks = np.random.default_rng(0), masks_with_regions(4)
    noise = rng.normal(size=masks.shape) + 0.9 * masks
    made = {
        "wide": np.exp(4 * noise),
        "narrow": 0.5 + 0.02 * noise,
        "signed": noise,
        "ties": np.maximum(noise.round(), 0),
    }
    values = made[spread].astype(np.float32)
    tally = PixelTally()
    tally.add(values[:2], masks[:2], affine=SAME)  # source by source
    tally.add(values[2:], masks[2:], affine=SAME)
    found = tally.measures()
    assert found["pixel_auc"] == pytest.approx(roc_auc_score(masks.ravel(), values.ravel()), abs=1e-3)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(masks.ravel(), values.ravel()), abs=1e-3)
    assert found["pro"] == pytest.approx(slow_pro(values, masks), abs=1e-3)


def test_small_regions_weigh_as_much_as_large_ones() -> None:
    masks = np.zeros((1, 10, 10), dtype=bool)
    masks[0, :5, :4] = True
    masks[0, 9, 9] = True
    only_large, only_small = masks.astype(np.float32), np.zeros((1, 10, 10), np.float32)
    only_large[0, 9, 9] = 0.0
    only_small[0, 9, 9] = 1.0
    found = []
    for values in (only_large, only_small):
        tally = PixelTally()
        tally.add(values, masks, affine=SAME)
        found.append(tally.measures())
    assert found[0]["pixel_auc"] > found[1]["pixel_auc"] + 0.4
    # half the regions at no false positive, then straight to all of them at a rate of 1: 1/2 + 0.3 / 4
    assert [each["pro"] for each in found] == [pytest.approx(0.575)] * 2


def test_a_perfect_map_has_one_and_a_constant_one_chance() -> None:
    masks = masks_with_regions()
    perfect, constant = PixelTally(), PixelTally()
    perfect.add(masks.astype(np.float32), masks, affine=SAME)
    constant.add(np.full(masks.shape, 0.25, np.float32), masks, affine=SAME)
    assert perfect.measures() == {"pixel_auc": 1.0, "pixel_ap": pytest.approx(1.0), "pro": pytest.approx(1.0)}
    found = constant.measures()
    assert found["pixel_auc"] == 0.5
    assert found["pixel_ap"] == pytest.approx(masks.mean())
    assert found["pro"] == pytest.approx(0.15)


def test_maps_are_brought_to_source_pixels_and_what_is_not_seen_is_zero() -> None:
    density = np.zeros((1, 4, 4), np.float32)
    density[0, 0, 0] = 1.0
    masks = np.zeros((1, 16, 40), dtype=bool)
    masks[0, :4, 20:24] = True  # the cell (0, 0) of the crop, in source pixels
    tally = PixelTally()
    fit = Fit(size=16, crop=(0, 20, 16, 16))
    tally.add(density, masks, affine=fit.to_source((16, 40), (4, 4)))
    found = tally.measures()
    assert found["pixel_auc"] > 0.98
    moved = PixelTally()
    moved.add(density, masks[:, :, ::-1].copy(), affine=fit.to_source((16, 40), (4, 4)))
    assert moved.measures()["pixel_auc"] < 0.6  # 16:20 lies outside the crop


def test_one_kind_of_pixel_has_no_measure() -> None:
    tally = PixelTally()
    nothing = {"pixel_auc": None, "pixel_ap": None, "pro": None}
    assert tally.measures() == nothing
    tally.add(np.ones((2, 4, 4), np.float32), np.zeros((2, 4, 4), dtype=bool), affine=SAME)
    assert tally.measures() == nothing


def test_what_cannot_be_counted_is_refused() -> None:
    density, masks = np.ones((2, 4, 4), np.float32), np.zeros((3, 4, 4), dtype=bool)
    with pytest.raises(ShapeError, match="2 maps and 3 masks"):
        PixelTally().add(density, masks, affine=SAME)
    density[1, 2, 2] = np.nan
    with pytest.raises(DataError, match="finite"):
        PixelTally().add(density, masks[:2], affine=SAME)
