from pathlib import Path

import cv2
import numpy as np
import pytest

from vidence.datasets import DATASETS, Folder
from vidence.datasets.opened import open_dataset
from vidence.errors import DataError


def test_a_key_with_its_root(lay_out):
    root = lay_out("mvtec")
    made = open_dataset("mvtec", root=root)
    assert type(made) is DATASETS["mvtec"]
    assert len(made.samples()) == 12


def test_a_path_a_csv_and_the_key_folder_are_the_users_own(lay_out, tmp_path):
    root = lay_out("fight-surv")
    own = open_dataset(str(root / "clips.csv"), root=None, group="source_video", normal=["nofight"])
    assert own == Folder(str(root / "clips.csv"), "source_video", ("nofight",))
    assert len({sample.group for sample in own.samples()}) == 6
    asked = ["noFight"]
    assert open_dataset("folder", root=root, normal=asked) == open_dataset(str(root), root=None, normal=asked)


def test_own_folders_of_frames_get_their_rate(tmp_path):
    for number in range(4):
        frame = tmp_path / "normal" / str(number) / "frame.png"
        frame.parent.mkdir(parents=True)
        cv2.imwrite(str(frame), np.full((4, 4, 3), number, np.uint8))
    made = open_dataset(str(tmp_path), root=None, fps=25.0)
    assert {each.open().fps for part in made.normal_split() for each in part} == {25.0}
    assert {each.fps for each in open_dataset("folder", root=tmp_path, fps=5.0).samples()} == {5.0}
    assert {each.fps for each in open_dataset(str(tmp_path), root=None).samples()} == {None}


def test_a_dot_makes_a_path_of_a_key(lay_out, tmp_path, monkeypatch):
    lay_out("folder")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mvtec").mkdir()
    for name in ("normal", "fight"):
        (tmp_path / name).rename(tmp_path / "mvtec" / name)
    assert len(open_dataset("./mvtec", root=None).samples()) == 8
    with pytest.raises(DataError, match=r"'mvtec' needs --root DIR.*write \./mvtec"):
        open_dataset("mvtec", root=None)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(DataError, match=r"nothing at 'ucsd-ped3'.*avenue, .*ucsd-ped2"):
        open_dataset("ucsd-ped3", root=None)
    with pytest.raises(DataError, match="--root goes with the name of a published set; got 'ucsd-ped3'"):
        open_dataset("ucsd-ped3", root=tmp_path)
    with pytest.raises(DataError, match="knows its groups, normal classes and frame rate"):
        open_dataset("avenue", root=tmp_path, group="camera")
    with pytest.raises(DataError, match="leave out --group, --normal and --fps"):
        open_dataset("avenue", root=tmp_path, fps=25.0)
    with pytest.raises(DataError, match=r"nowhere' is none, which must hold .*Get the set from http"):
        open_dataset("avenue", root=Path("nowhere"))
    with pytest.raises(DataError, match=r"nowhere' is none\.$"):
        open_dataset("fight-surv", root=Path("nowhere"))
