import numpy as np
import pytest

from vidence.datasets.shanghaitech import ShanghaiTech
from vidence.errors import DataError


def test_clips_are_labelled_by_their_frames(lay_out):
    made = ShanghaiTech(str(lay_out("shanghaitech")))
    wrong, calm = made.split("test")
    assert (wrong.label, calm.label) == ("anomalous", "normal")
    assert wrong.fps == 24.0
    assert next(iter(wrong.open())).pixels.shape == (32, 48, 3)


def test_truth_beside_the_parts_and_without_pixels(lay_out):
    root = lay_out("shanghaitech")
    (root / "testing" / "test_frame_mask").rename(root / "test_frame_mask")
    for file in (root / "testing" / "test_pixel_mask").iterdir():
        file.unlink()
    made = ShanghaiTech(str(root))
    truth = made.truth(made.split("test")[0], 12)
    assert truth.masks is None
    assert np.flatnonzero(truth.anomalous).tolist() == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("held", "message"), [(np.zeros((12, 2)), "one number per frame; got the shape"), (None, "must be a NumPy file")]
)
def test_truth_that_is_none(lay_out, held, message):
    root = lay_out("shanghaitech")
    place = root / "testing" / "test_frame_mask" / "01_0014.npy"
    place.write_bytes(b"no") if held is None else np.save(place, held)
    with pytest.raises(DataError, match=message):
        ShanghaiTech(str(root)).split("test")


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_a_row_or_a_column_is_a_list_too(lay_out, shape):
    root = lay_out("shanghaitech")
    place = root / "testing" / "test_frame_mask" / "01_0014.npy"
    np.save(place, np.load(place).reshape(shape))
    made = ShanghaiTech(str(root))
    assert np.flatnonzero(made.truth(made.split("test")[0], 12).anomalous).tolist() == [4, 5, 6, 7, 8]


def test_a_clip_without_truth_is_named(lay_out):
    root = lay_out("shanghaitech")
    (root / "testing" / "test_frame_mask" / "01_0015.npy").unlink()
    with pytest.raises(DataError, match=r"test_frame_mask/01_0015\.npy"):
        ShanghaiTech(str(root)).split("test")


def test_the_root_may_hold_the_archives_folder(lay_out):
    root = lay_out("shanghaitech")
    (root / "shanghaitech").mkdir()
    for part in ("training", "testing"):
        (root / part).rename(root / "shanghaitech" / part)
    made = ShanghaiTech(str(root))
    assert len(made.part("train")) == 3
    wrong, _ = made.part("test")
    assert made.truth(wrong, 12).masks is not None
