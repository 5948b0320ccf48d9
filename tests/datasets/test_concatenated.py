"""Two clips behind each other, in both orders, and which half is the event's."""

import numpy as np
import pytest

from vidence.datasets.concatenated import write_pairs
from vidence.datasets.dataset import Sample
from vidence.datasets.folder import Folder
from vidence.datasets.synthetic import encode
from vidence.errors import DataError
from vidence.frames.windows import Windows

WINDOWS = Windows(length=8, stride=4, rate=4.0)


@pytest.fixture
def samples(tmp_path):
    """Two bright anomalous and one dark normal film of 4 frames a second; the normal one is larger."""
    made = []
    for name, label, level, size in (
        ("a", "fight", 200, (33, 49)),
        ("b", "fight", 240, (32, 48)),
        ("c", "calm", 20, 64),
    ):
        h, w = (size, size) if isinstance(size, int) else (size[0] // 2 * 2, size[1] // 2 * 2)
        encode(tmp_path / f"{name}.mp4", np.full((12, h, w, 3), level, np.uint8), rate=4.0)
        made.append(Sample(str(tmp_path / f"{name}.mp4"), label, name))
    return made


def test_the_mask_holds_in_the_events_half(samples, tmp_path):
    table = write_pairs(tmp_path / "pairs", samples, 2, normal=("calm",), windows=WINDOWS)
    held = Folder(str(table), group="group", calm=("calm",))
    found = held.samples()
    assert len(found) == 4
    assert {one.label for one in found} == {"fight"}
    for one in found:
        (clip,) = WINDOWS.cut(one.open())
        truth = held.truth(one, 8)
        bright = clip.pixels.mean(axis=(1, 2, 3)) > 100
        assert truth.masks is not None
        assert np.array_equal(truth.anomalous, bright)
        assert np.array_equal(truth.masks.all(axis=(1, 2)), bright)
        assert bright.sum() == 4
    assert [bool(held.truth(one, 8).anomalous[0]) for one in found] == [True, False, True, False]
    assert len({one.group for one in found}) == 2


def test_each_sample_is_drawn_before_one_is_drawn_again(samples, tmp_path):
    table = write_pairs(tmp_path / "pairs", samples, 2, normal=("calm",), windows=WINDOWS, seed=3)
    levels = set()
    for one in Folder(str(table), calm=("calm",)).samples():
        (clip,) = WINDOWS.cut(one.open())
        levels.add(round(float(clip.pixels.max()) / 40))
    assert levels == {5, 6}


def test_one_kind_alone_is_refused(samples, tmp_path):
    with pytest.raises(DataError, match="anomalous and normal"):
        write_pairs(tmp_path / "pairs", samples[:2], 1, normal=("calm",), windows=WINDOWS)
