import numpy as np
import pytest

from vidence.datasets.mvtec import MVTec
from vidence.errors import DataError


def test_all_categories_or_one(lay_out):
    root = lay_out("mvtec")
    both, one = MVTec(str(root)), MVTec(str(root / "tile"))
    assert [sample.label for sample in both.split("test")] == ["bottle/crack", "good", "tile/crack", "good"]
    assert [sample.label for sample in one.split("test")] == ["crack", "good"]
    assert len(both.part("train")) == 2 * len(one.part("train")) == 8


def test_masks_are_in_the_pictures_pixels(lay_out):
    made = MVTec(str(lay_out("mvtec") / "tile"))
    crack, good = made.split("test")
    masks, none = made.truth(crack, 1).masks, made.truth(good, 1).masks
    assert masks is not None
    assert np.argwhere(masks[0]).min(axis=0).tolist() == [5, 10]
    assert masks.sum() == 40
    assert none is not None
    assert not none.any()
    with pytest.raises(DataError, match="has 1 for 2 frames"):
        made.truth(crack, 2)


def test_a_mask_that_is_missing_or_does_not_fit(lay_out):
    import cv2

    root = lay_out("mvtec")
    mask = root / "tile" / "ground_truth" / "crack" / "000_mask.png"
    made = MVTec(str(root))
    sample = made.split("test")[2]
    cv2.imwrite(str(mask), np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"the size of its picture; .* has \(8, 8\) for \(32, 48\)"):
        made.truth(sample, 1)
    mask.unlink()
    with pytest.raises(DataError, match=r"tile/ground_truth/crack/000_mask\.png is missing"):
        made.split("test")
