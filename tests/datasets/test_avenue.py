import numpy as np
import pytest
from scipy.io import savemat

from vidence.datasets.avenue import Avenue, read_cells
from vidence.errors import DataError


def test_both_unpackings_are_read(lay_out, tmp_path):
    lay_out("avenue")
    made = Avenue(str(tmp_path))
    groups = [*(f"training_videos/0{i}" for i in (1, 2, 3)), "testing_videos/01"]
    assert [sample.group for sample in made.samples()] == groups
    (tmp_path / "ground_truth_demo" / "testing_label_mask").rename(tmp_path / "Avenue Dataset" / "testing_label_mask")
    inside = Avenue(str(tmp_path / "Avenue Dataset"))
    assert inside.samples()[-1].mask == str(tmp_path / "Avenue Dataset" / "testing_label_mask" / "1_label.mat")
    assert made.samples() == inside.samples()


def test_masks_become_bool_and_give_the_labels(lay_out):
    made = Avenue(str(lay_out("avenue")))
    (sample,) = made.split("test")
    truth = made.truth(sample, 12)
    assert np.flatnonzero(truth.anomalous).tolist() == [4, 5, 6, 7, 8]
    assert truth.masks is not None
    assert truth.masks[4].sum() == 40
    with pytest.raises(DataError, match="has 12 for 13 frames"):
        made.truth(sample, 13)


def test_a_label_that_is_missing_is_named(lay_out):
    root = lay_out("avenue")
    (root / "ground_truth_demo" / "testing_label_mask" / "1_label.mat").unlink()
    with pytest.raises(DataError, match=r"testing_label_mask/1_label\.mat"):
        Avenue(str(root)).split("test")


def cells(*masks):
    made = np.empty((1, len(masks)), dtype=object)
    for i, mask in enumerate(masks):
        made[0, i] = mask
    return made


def test_a_file_of_matlabs_later_format_is_told_how_to_be_saved(tmp_path):
    path = tmp_path / "1_label.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(16))
    with pytest.raises(DataError, match="save it again with -v7 "):
        read_cells(str(path))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file, cut off"),
        lambda path: savemat(path, {"other": 1}),
        lambda path: savemat(path, {"volLabel": cells(np.zeros((2, 2)), np.zeros((2, 3)))}),
        lambda path: savemat(path, {"volLabel": cells()}),
    ],
)
def test_a_file_without_masks_is_named(tmp_path, write):
    path = tmp_path / "1_label.mat"
    write(path)
    with pytest.raises(DataError, match=r"volLabel, one mask per frame; .*1_label\.mat"):
        read_cells(str(path))
