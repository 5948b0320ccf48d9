import re
from pathlib import Path

import numpy as np
import pytest

from vidence.datasets import Folder
from vidence.datasets.folder import read_folder
from vidence.datasets.synthetic import encode
from vidence.errors import DataError


@pytest.fixture
def classes(tmp_path):
    for name in ("good/a.mp4", "good/b.mp4", "crack/c.mp4", "crack/.hidden", "crack/notes.txt", "crack/frames/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "README.md").write_text("not a class")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def table(folder, text, name="clips.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_class_folders(classes):
    samples = read_folder(classes)
    assert [(s.path.removeprefix(f"{classes}/"), s.label, s.group) for s in samples] == [
        ("crack/c.mp4", "crack", "crack/c.mp4"),
        ("crack/frames", "crack", "crack/frames"),
        ("good/a.mp4", "good", "good/a.mp4"),
        ("good/b.mp4", "good", "good/b.mp4"),
    ]
    assert Folder(str(classes)).samples() == samples


def test_a_table_with_groups_and_masks(classes):
    path = table(classes, "file,label,camera,mask\ngood/a.mp4,ok,1,\ncrack/c.mp4, bad ,2,good/b.mp4\n")
    ok, bad = read_folder(path, group="camera")
    assert (ok.path, ok.label, ok.group, ok.mask) == (str(classes / "good/a.mp4"), "ok", "1", None)
    assert (bad.label, bad.group, bad.mask) == ("bad", "2", str(classes / "good/b.mp4"))
    assert [s.group for s in read_folder(path)] == ["good/a.mp4", "crack/c.mp4"]


def test_a_table_saved_by_a_spreadsheet(classes):
    (classes / "clips.csv").write_bytes("file,label\r\ngood/a.mp4,x\r\ncrack/c.mp4,y\r\n".encode("utf-8-sig"))
    assert [s.label for s in read_folder(classes / "clips.csv")] == ["x", "y"]


def test_absolute_paths_are_taken_as_given(classes, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = table(elsewhere, f"file,label\n{classes}/good/a.mp4,x\n{classes}/crack/c.mp4,y\n")
    assert read_folder(path)[0].path == f"{classes}/good/a.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing: file, label; it has: none"),
        ("name,label\na,b\n", "columns file, label; missing: file; it has: name, label"),
        ("file;label\ngood/a.mp4;x\n", "comma-separated.*missing: file, label; it has: file;label"),
        ("file,label\n", "a header and no rows"),
        ("file,label\ngood/a.mp4,x\ncrack/c.mp4,x\n", "at least two classes.*only 'x'"),
        ("file,label\ngood/a.mp4,x\ngone.mp4,y\nlost.mp4,y\n", "2 of 3 are missing: .*gone.mp4, .*lost.mp4"),
        ("file,label\ngood/a.mp4,x\n,y\ngood/b.mp4,\n", "rows without: 3, 4"),
        ("file,label\ngood/a.mp4,x\ngood/a.mp4,y\n", "listed more often: .*a.mp4"),
        ("file,label\n../secret.mp4,x\ngood/a.mp4,y\n", "stay below its folder; got '../secret.mp4'"),
        ("file,label\ngood/../../secret.mp4,x\ngood/a.mp4,y\n", "stay below its folder"),
        ("file,label,mask\ngood/a.mp4,x,gone.npz\ngood/b.mp4,y,\n", "1 of 2 are missing: .*gone.npz"),
    ],
)
def test_a_table_that_cannot_be_used(classes, text, message):
    with pytest.raises(DataError, match=message):
        read_folder(table(classes, text))


def test_many_missing_files_are_counted_and_five_are_named(classes):
    rows = "".join(f"gone{i}.mp4,{'xy'[i % 2]}\n" for i in range(9))
    with pytest.raises(DataError, match=r"9 of 9 are missing: .*gone4.mp4 and 4 more\."):
        read_folder(table(classes, "file,label\n" + rows))


def test_an_unknown_group_column_is_named(classes):
    path = table(classes, "file,label\ngood/a.mp4,x\ncrack/c.mp4,y\n")
    with pytest.raises(DataError, match="missing: camera; it has: file, label"):
        read_folder(path, group="camera")


def test_a_folder_has_no_groups(classes):
    path = table(classes, "file,label\n")
    with pytest.raises(DataError, match=f"'camera' needs a CSV.*Pass {re.escape(str(path))} instead"):
        read_folder(classes, group="camera")


def test_a_folder_without_videos(tmp_path):
    with pytest.raises(DataError, match="one folder per class"):
        read_folder(tmp_path)


def test_an_empty_class_is_named(classes):
    (classes / "zero").mkdir()
    with pytest.raises(DataError, match="empty: zero"):
        read_folder(classes)


def test_a_single_class(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"only 'good' \(1 samples\)"):
        read_folder(tmp_path)


def test_a_missing_place(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_folder(tmp_path / "nowhere")


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "clips.csv").write_bytes("file,label\nä.mp4,normal".encode("utf-16"))
    with pytest.raises(DataError, match="CSV file in UTF-8"):
        read_folder(tmp_path / "clips.csv")
    (tmp_path / "clips.txt").write_text("file;label\n")
    with pytest.raises(DataError, match="missing: file, label"):
        read_folder(tmp_path / "clips.txt")


@pytest.mark.parametrize("at", ["film.mp4", "."])
def test_one_normal_video_is_cut_in_time(tmp_path, at):
    encode(tmp_path / "film.mp4", np.zeros((10, 32, 32, 3), np.uint8), rate=10.0)
    made = Folder(str(tmp_path / at))
    train, val, test = made.normal_split()
    assert test == []
    assert [(each.path, each.label, each.frames) for each in train + val] == [
        (str(tmp_path / "film.mp4"), "normal", (0, 8)),
        (str(tmp_path / "film.mp4"), "normal", (8, 10)),
    ]
    with pytest.raises(DataError, match="'camera' needs a CSV"):
        read_folder(tmp_path / at, group="camera")


def test_one_normal_clip_beside_anomalies_is_cut_too(tmp_path):
    for name in ("normal/monday.mp4", "fight/a.mp4", "fight/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        encode(tmp_path / name, np.full((10, 32, 32, 3), len(name), np.uint8), rate=10.0)
    train, val, test = Folder(str(tmp_path)).normal_split()
    assert [each.frames for each in train + val] == [(0, 8), (8, 10)]
    assert {each.label for each in test} == {"fight"}


def test_one_normal_class_will_do_for_a_detector_of_the_abnormal(tmp_path):
    (tmp_path / "normal").mkdir()
    for i in range(6):
        (tmp_path / "normal" / f"{i}.mp4").write_bytes(bytes([i]))
    train, val, test = Folder(str(tmp_path)).normal_split()
    assert (len(train), len(val), len(test)) == (5, 1, 0)
    (tmp_path / "normal").rename(tmp_path / "monday")
    with pytest.raises(DataError, match=r"the classes are: monday.*--normal"):
        Folder(str(tmp_path)).normal_split()
    assert len(Folder(str(tmp_path), calm=("monday",)).normal_split()[0]) == 5


def test_a_folder_of_videos_is_normal_footage(tmp_path):
    for i in range(6):
        (tmp_path / f"{i}.avi").write_bytes(bytes([i]))
    (tmp_path / "notes.txt").write_text("monday")
    (tmp_path / "detector").mkdir()
    for name in ("detector.json", "model.safetensors"):
        (tmp_path / "detector" / name).write_text("ours")
    made = Folder(str(tmp_path))
    assert [(Path(s.path).name, s.label, s.group) for s in made.samples()[:2]] == [
        ("0.avi", "normal", "0.avi"),
        ("1.avi", "normal", "1.avi"),
    ]
    assert [len(part) for part in made.normal_split()] == [5, 1, 0]
    (tmp_path / "fight").mkdir()
    (tmp_path / "fight" / "a.avi").write_bytes(b"a")
    assert [s.label for s in read_folder(tmp_path, least=1)] == ["fight"]  # what has class folders is labelled by them


def test_a_folder_of_pictures_is_no_footage(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="one folder per class"):
        read_folder(tmp_path, least=1)
