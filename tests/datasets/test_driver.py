import shutil

import pytest

from vidence.datasets.driver import Driver
from vidence.errors import DataError


def test_either_folder_may_come_first(lay_out, tmp_path_factory):
    root = lay_out("driver")
    other = tmp_path_factory.mktemp("by_class")
    for picture in sorted(root.glob("*/*/*.jpg")):
        driver, kind = picture.parts[-3:-1]
        (other / kind / driver).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, other / kind / driver)
    found = [sorted((sample.label, sample.group) for sample in Driver(str(place)).samples()) for place in (root, other)]
    assert found[0] == found[1]
    assert {label for label, _ in found[0]} == {"normal", "talking", "texting", "operating gps"}


def test_a_driver_is_learned_from_or_tested(lay_out):
    train, val, test = Driver(str(lay_out("driver"))).normal_split()
    assert [len({sample.group for sample in part}) for part in (train, val, test)] == [3, 1, 2]
    assert len(test) == 2 * 4 * 2


def test_a_class_must_be_normal(lay_out):
    root = lay_out("driver")
    for folder in root.glob("*/Normal"):
        folder.rename(folder.with_name("Attentive"))
    with pytest.raises(DataError, match="a class folder called normal"):
        Driver(str(root)).samples()
