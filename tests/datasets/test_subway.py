import numpy as np
import pytest

from vidence.datasets.subway import SubwayEntrance, SubwayExit
from vidence.errors import DataError


def test_the_beginning_is_cut_into_sections_and_the_rest_is_the_test(lay_out):
    made = SubwayExit(str(lay_out("subway-exit")))
    train, (test,) = made.part("train"), made.split("test")
    assert [sample.frames for sample in train] == [(10 * i, 10 * i + 10) for i in range(10)]
    assert test.frames == (100, None)
    # the event at frame 35 reaches with its tolerance over frames 25 to 45, which lie in sections 2, 3 and 4
    assert [sample.label for sample in train] == ["normal"] * 2 + ["anomalous"] * 3 + ["normal"] * 5
    assert sum(1 for _ in test.open()) == 50


def test_events_are_widened(lay_out):
    root = str(lay_out("subway-entrance"))
    wide, narrow = SubwayEntrance(root), SubwayEntrance(root, tolerance=0)
    (sample,) = wide.split("test")
    assert np.flatnonzero(narrow.truth(sample, 50).anomalous).tolist() == [27, 28, 29, 30]  # frames 128 to 131
    assert np.flatnonzero(wide.truth(sample, 50).anomalous).tolist() == list(range(17, 41))
    section = wide.part("train")[2]
    assert np.flatnonzero(wide.truth(section, 10).anomalous).tolist() == [4, 5, 6, 7, 8, 9]  # from frame 25


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["first_frame", "3"], "missing: last_frame"),
        (["first_frame,last_frame", "3,x"], "whole numbers of frames"),
        (["first_frame,last_frame", "9,3"], "end after it begins"),
        (["first_frame,last_frame", "0,3"], "begin at frame 1"),
    ],
)
def test_an_event_list_that_cannot_be_used(lay_out, lines, message):
    root = lay_out("subway-exit")
    (root / "exit_events.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        SubwayExit(str(root)).part("train")


def test_an_event_after_the_end_means_another_video(lay_out):
    made = SubwayExit(str(lay_out("subway-exit")))
    with pytest.raises(DataError, match=r"has 130 frames; got \(128, 131\)"):
        made.truth(made.split("test")[0], 30)
