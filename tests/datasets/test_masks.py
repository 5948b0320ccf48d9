import cv2
import numpy as np
import pytest

from vidence.datasets.intervals import covered, same_length
from vidence.datasets.masks import read_mask, read_mask_array, read_masks
from vidence.errors import DataError


@pytest.mark.parametrize("levels", [[0, 1], [0, 255], [100, 140]])
def test_a_picture_is_a_mask_whatever_its_levels(tmp_path, levels):
    expected = np.eye(6, 8, dtype=bool)
    cv2.imwrite(str(tmp_path / "m.png"), np.where(expected, levels[1], levels[0]).astype(np.uint8))
    assert np.array_equal(read_mask(tmp_path / "m.png"), expected)


def test_an_empty_mask_stays_empty(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((6, 8), np.uint8))
    assert not read_mask(tmp_path / "m.png").any()


def test_a_folder_of_masks_needs_one_per_frame(tmp_path):
    for i in range(11):  # 10 comes after 9
        cv2.imwrite(str(tmp_path / f"{i}.bmp"), np.full((4, 4), 255 * (i == 10), np.uint8))
    assert np.flatnonzero(read_masks(str(tmp_path), 11).any(axis=(1, 2))).tolist() == [10]
    with pytest.raises(DataError, match="has 11 for 12 frames"):
        read_masks(str(tmp_path), 12)


def test_arrays(tmp_path):
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 2, 3] = 7
    np.save(tmp_path / "a.npy", mask)
    np.savez(tmp_path / "b.npz", mask=mask, times=np.zeros(3))
    np.savez(tmp_path / "c.npz", other=mask)
    np.save(tmp_path / "d.npy", mask[0])
    np.save(tmp_path / "e.npy", np.array([{"no": "pickle"}]), allow_pickle=True)
    for name in ("a.npy", "b.npz"):
        read = read_mask_array(str(tmp_path / name), 3)
        assert read.dtype == bool
        assert np.array_equal(read, mask > 0)
    for name, message in {"c.npz": "array `mask`", "d.npy": r"\(t, h, w\)", "e.npy": "must be .npy"}.items():
        with pytest.raises(DataError, match=message):
            read_mask_array(str(tmp_path / name), 3)


def test_intervals_count_from_one_and_hold_both_ends():
    assert np.flatnonzero(covered([(2, 3), (3, 5)], 5, where="x")).tolist() == [1, 2, 3, 4]
    assert not covered([], 5, where="x").any()
    for wrong in ((0, 2), (3, 2), (4, 6)):
        with pytest.raises(DataError, match="must lie in 1 to 5; x has"):
            covered([wrong], 5, where="x")
    with pytest.raises(DataError, match="x has 4 for 5 frames"):
        same_length(4, 5, where="x")
