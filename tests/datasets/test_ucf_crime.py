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


def test_missing_videos_are_counted(lay_out):
    root = lay_out("ucf-crime")
    for i in (1, 3):
        (root / "Training-Normal-Videos-Part-1" / f"Normal_Videos00{i}_x264.mp4").unlink()
    with pytest.raises(DataError, match=r"Normal_Videos001_x264\.mp4 \(and 1 more listed videos\) is missing"):
        UcfCrime(str(root)).part("train")
