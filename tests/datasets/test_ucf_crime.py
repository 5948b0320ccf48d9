import numpy as np
import pytest

from vidence.datasets.ucf_crime import UcfCrime
from vidence.errors import DataError

LIST = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"


def test_labels_are_classes_and_training_is_normal(lay_out):
    made = UcfCrime(str(lay_out("ucf-crime")))
    assert [(sample.group, sample.label) for sample in made.samples()] == [
        *((f"Normal_Videos00{i}_x264", "normal") for i in (1, 2, 3)),
        ("Abuse028_x264", "Abuse"),
        ("Normal_Videos_003_x264", "normal"),
    ]


def test_two_intervals_the_second_cut_to_the_video(lay_out):
    made = UcfCrime(str(lay_out("ucf-crime")))
    abuse, normal = made.split("test")
    assert np.flatnonzero(made.truth(abuse, 12).anomalous).tolist() == [1, 2, 3, 9, 10, 11]
    assert not made.truth(normal, 12).anomalous.any()
    with pytest.raises(DataError, match=r"must lie in 1 to 8; the annotation of Abuse028_x264\.mp4 has 10 to 8"):
        made.truth(abuse, 8)


@pytest.mark.parametrize("line", ["Abuse028_x264.mp4  Abuse  165  240", "Abuse028_x264.mp4 Abuse 1 2 -1 x"])
def test_another_line_is_named(lay_out, line):
    root = lay_out("ucf-crime")
    (root / LIST).write_text(f"\n{line}\n")
    with pytest.raises(DataError, match="line 2 is "):
        UcfCrime(str(root)).split("test")


def test_what_is_there_of_the_videos_is_used_and_the_rest_counted(lay_out):
    root = lay_out("ucf-crime")
    (root / "Training-Normal-Videos-Part-1" / "Normal_Videos001_x264.mp4").unlink()
    with pytest.warns(UserWarning, match=r"1 of the 3 videos of the train part.*Normal_Videos001_x264\.mp4 the first"):
        assert [sample.group for sample in UcfCrime(str(root)).part("train")] == [
            "Normal_Videos002_x264",
            "Normal_Videos003_x264",
        ]
    assert len(UcfCrime(str(root)).part("test")) == 2  # nothing of that part is missing, and nothing is said


def test_none_of_the_videos_is_refused(lay_out):
    root = lay_out("ucf-crime")
    for video in (root / "Training-Normal-Videos-Part-1").iterdir():
        video.unlink()
    with pytest.raises(DataError, match=r"Normal_Videos001_x264\.mp4 \(and 2 more listed videos\) is missing"):
        UcfCrime(str(root)).part("train")


def test_the_other_name_of_the_annotations(lay_out):
    root = lay_out("ucf-crime")
    (root / LIST).rename(root / "Temporal_Anomaly_Annotation.txt")
    assert [sample.label for sample in UcfCrime(str(root)).part("test")] == ["Abuse", "normal"]
