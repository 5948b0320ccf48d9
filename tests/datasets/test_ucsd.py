import json

import cv2
import numpy as np
import pytest

from vidence.datasets.ucsd import UcsdPed1, UcsdPed2, read_script
from vidence.errors import DataError, SourceError
from vidence.frames.source import open_source


def script(tmp_path, *lines):
    (tmp_path / "UCSDped1.m").write_text("\r\n".join(lines), encoding="latin-1")
    return tmp_path / "UCSDped1.m"


def test_the_script_is_read_and_not_run(tmp_path):
    lines = (
        "% ground truth é",
        "TestVideoFile = {};",
        "TestVideoFile{end+1}.gt_frame = [60:152];",
        "",
        "TestVideoFile{end+1}.gt_frame = [5:90, 140:200]; % two",
        "TestVideoFile{end+1}.gt_frame=[ 7 9:10 ]",
        "TestVideoFile{end+1}.gt_frame = [];",
    )
    assert read_script(script(tmp_path, *lines)) == [[(60, 152)], [(5, 90), (140, 200)], [(7, 7), (9, 10)], []]


@pytest.mark.parametrize(
    "line",
    ["delete('x')", "TestVideoFile{end+1}.gt_frame = [1:2:9];", "TestVideoFile{end+1}.gt_frame = [1:n];", "x = {};"],
)
def test_another_line_in_the_script_is_named(tmp_path, line):
    with pytest.raises(DataError, match="line 2 is "):
        read_script(script(tmp_path, "TestVideoFile = {};", line))


def test_the_published_form(lay_out):
    root = lay_out("ucsd-ped1")
    made = UcsdPed1(str(root))
    first, second = made.split("test")
    assert (first.label, first.group, first.fps) == ("anomalous", "Test001", 10.0)
    assert first.mask == str(root / "UCSDped1/Test/Test001_gt")
    assert second.mask is None
    assert np.flatnonzero(made.truth(second, 12).anomalous).tolist() == [1, 3, 4, 10, 11]
    masks = made.truth(first, 12).masks
    assert masks is not None
    assert masks.sum() == 5 * 4 * 10
    assert UcsdPed1(str(root / "UCSDped1")).samples() == made.samples()


def test_frames_that_are_missing_are_noticed(lay_out):
    root = lay_out("ucsd-ped1") / "UCSDped1" / "Test"
    made = UcsdPed1(str(root.parent))
    first, second = made.split("test")
    (root / "Test002" / "003.tif").unlink()
    with pytest.raises(DataError, match="the last frame's name, Test002, has 12 for 11 frames"):
        made.truth(second, 11)  # labels would be one frame late
    (root / "Test001_gt" / "012.bmp").unlink()
    with pytest.raises(DataError, match=r"Test001_gt' has 11 for 12 frames"):
        made.truth(first, 12)


def test_a_damaged_frame_as_published_repeats_the_one_before(lay_out):
    place = lay_out("ucsd-ped1") / "UCSDped1" / "Test" / "Test001" / "006.tif"
    place.write_bytes(place.read_bytes()[:1000])
    made = UcsdPed1(str(place.parents[2]))
    first, _ = made.split("test")
    source = first.open()
    for _ in range(2):
        frames = [frame.pixels for frame in source]
        assert len(made.truth(first, len(frames)).anomalous) == 12
        assert np.array_equal(frames[5], frames[4])
        assert not np.array_equal(frames[6], frames[4])
        assert (source.dropped, source.notes) == (
            1,
            ["006.tif does not decode; the frame before it stands in its place."],
        )
    with pytest.raises(SourceError, match=r"006\.tif"):
        list(open_source(first.path))  # of one's own footage it is refused


def test_the_script_must_fit_the_clips(lay_out):
    root = lay_out("ucsd-ped1")
    place = root / "UCSDped1" / "Test" / "UCSDped1.m"
    text = place.read_text()
    place.write_text(text + "TestVideoFile{end+1}.gt_frame = [1:2];")
    with pytest.raises(DataError, match="it has 3 for 2 clips"):
        UcsdPed1(str(root)).split("test")
    place.unlink()
    with pytest.raises(DataError, match=r"Test/UCSDped1\.m is missing"):
        UcsdPed1(str(root)).split("test")
    assert UcsdPed1(str(root)).part("train")


def test_the_mp4_form(lay_out):
    root = lay_out("ucsd-ped2")
    made = UcsdPed2(str(root))
    (sample,) = made.split("test")
    with pytest.raises(DataError, match=r"frame_labels\.json, Test001, has 12 for 11 frames"):
        made.truth(sample, 11)
    np.savez(root / "masks" / "Test001.npz", mask=np.zeros((11, 4, 4), bool))
    with pytest.raises(DataError, match="has 11 for 12 frames"):
        made.truth(sample, 12)
    (root / "frame_labels.json").write_text("{}")
    with pytest.raises(DataError, match="missing: Test001"):
        made.split("test")
    (root / "frame_labels.json").write_text('{"Test001": {"frames": 12}}')
    with pytest.raises(DataError, match="anomalous_1based_inclusive"):
        made.split("test")


@pytest.mark.data
def test_ped2_is_complete_and_its_masks_agree_with_its_labels(shared_data):
    made = UcsdPed2(str(shared_data / "ucsd_ped2"))
    train, val, test = made.normal_split()
    assert (len(train), len(val), len(test)) == (14, 2, 12)
    listed = json.loads((shared_data / "ucsd_ped2" / "frame_labels.json").read_text())
    frames = anomalous = 0
    for sample in test:
        truth = made.truth(sample, listed[sample.group]["frames"])
        assert truth.masks is not None
        assert truth.masks.shape[1:] == (240, 360)
        assert np.array_equal(truth.masks.any(axis=(1, 2)), truth.anomalous)
        frames, anomalous = frames + len(truth.anomalous), anomalous + int(truth.anomalous.sum())
    assert (frames, anomalous) == (2010, 1648)


@pytest.mark.data
def test_a_ped2_clip_decodes_to_as_many_frames_as_are_labelled(shared_data):
    made = UcsdPed2(str(shared_data / "ucsd_ped2"))
    sample = made.split("test")[8]  # the shortest, 120 frames
    frames = [frame.pixels.shape for frame in sample.open()]
    assert len(made.truth(sample, len(frames)).anomalous) == 120
    assert set(frames) == {(240, 360, 3)}


def test_a_tiff_of_one_channel_is_a_frame(lay_out):
    root = lay_out("ucsd-ped1") / "UCSDped1"
    for file in (root / "Train" / "Train001").iterdir():
        cv2.imwrite(str(file), np.full((32, 48), 90, np.uint8))
    frame = next(iter(UcsdPed1(str(root)).part("train")[0].open()))
    assert frame.pixels.shape == (32, 48, 3)
    assert (frame.pixels == 90).all()
