"""Segments of a clip: they cover it, follow what moves, and come from a detector's file."""

import json

import pytest
import torch
from torch.nn.functional import interpolate

from vidence.attribution.perturb.detected_boxes import detected_boxes
from vidence.attribution.perturb.supervoxels import check_kind, segmented
from vidence.errors import SpecError


def square(t=5, size=40, side=14):
    """A textured red square that moves by (1, 2) a frame over a blue ground."""
    generator = torch.Generator().manual_seed(0)
    texture = interpolate(torch.rand(1, 1, 4, 4, generator=generator), size=(side, side), mode="bicubic")[0, 0].clamp(
        0, 1
    )
    x = torch.zeros(1, 3, t, size, size)
    x[:, 2] = 0.4
    inside = torch.zeros(t, size, size, dtype=torch.bool)
    for i in range(t):
        r, c = 6 + i, 4 + 2 * i
        x[0, :, i, r : r + side, c : c + side] = torch.stack([0.6 + 0.4 * texture, texture, torch.zeros_like(texture)])
        inside[i, r : r + side, c : c + side] = True
    return x, inside


@pytest.mark.parametrize("kind", ["slic", "tracked", "frames", "grid"])
@pytest.mark.parametrize("shape", [(5, 14, 12), (1, 9, 30), (1, 1, 1)])
def test_labels_count_from_zero_without_gaps(kind, shape):
    x = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    labels = segmented(x, kind, count=9)
    assert labels.shape == shape
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert torch.equal(labels, segmented(x, kind, count=9))


def test_depth_limits_how_many_frames_a_segment_has():
    x = torch.rand(1, 3, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    for kind, frames in (("slic", 2), ("grid", 2), ("tracked", 8), ("frames", 1)):
        labels = segmented(x, kind, count=32)
        seen = torch.stack([(labels == i).any(dim=(1, 2)).sum() for i in range(int(labels.max()) + 1)])
        assert int(seen.max()) == frames
    assert len(segmented(x, "grid", count=32).unique()) == 36  # 4 slabs of 3 x 3 blocks
    halves = segmented(x, "grid", count=2, depth=4)
    assert torch.equal(halves, torch.tensor([0, 1]).repeat_interleave(4)[:, None, None].expand(8, 24, 24))


@pytest.mark.parametrize("kind", ["slic", "tracked"])
def test_segments_keep_to_the_square(kind):
    x, inside = square()
    labels = segmented(x, kind, count=40, depth=5)
    shares = torch.stack([inside[labels == i].float().mean() for i in range(int(labels.max()) + 1)])
    sizes = labels.flatten().bincount()
    mixed = (torch.minimum(shares, 1 - shares) * sizes).sum() / inside.sum()
    assert float(mixed) < 0.15  # pixels that lie in a segment of the other side
    assert len(sizes) > 4


def test_tracked_segments_move_with_the_square():
    x, _ = square()
    labels = segmented(x, "tracked", count=40)
    for number in labels[0, 8:18, 6:16].unique().tolist():
        places = [(labels[i] == number).nonzero().float().mean(dim=0) for i in (0, 4)]
        if bool((labels[0] == number)[6:20, 4:18].sum() == (labels[0] == number).sum()):
            assert abs(float(places[1][0] - places[0][0]) - 4) < 2
            assert abs(float(places[1][1] - places[0][1]) - 8) < 3


def test_boxes_of_a_track_are_one_segment(tmp_path):
    path = tmp_path / "found.json"
    boxes = [
        {"frame": 0, "x": 0, "y": 0, "w": 4, "h": 4, "track": 7},
        {"frame": 1, "x": 1, "y": 1, "w": 4, "h": 4, "track": 7},
        {"frame": 1, "x": 2, "y": 2, "w": 2, "h": 2},
    ]
    path.write_text(json.dumps(boxes))
    found = detected_boxes(path, (2, 6, 8))
    expected = torch.zeros(2, 6, 8, dtype=torch.int64)
    expected[0, :4, :4] = expected[1, 1:5, 1:5] = 1
    expected[1, 2:4, 2:4] = 2  # the smaller is on top
    assert torch.equal(found.labels, expected)
    assert found.names == ("background", "track 7", "box 2")
    assert len(found.digest) == 64
    path.write_text(json.dumps({"width": 16, "height": 12, "boxes": [{"frame": 0, "x": 2, "y": 4, "w": 4, "h": 2}]}))
    assert detected_boxes(path, (2, 6, 8)).labels[0, 2, 1:3].tolist() == [1, 1]
    assert int(detected_boxes(path, (2, 6, 8)).labels.sum()) == 2


GOOD = {"frame": 0, "x": 0, "y": 0, "w": 4, "h": 4}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "must be JSON"),
        ("[]", "at least one box"),
        ('{"boxes": [], "width": 4, "height": 4}', "at least one box"),
        ('{"boxes": []}', "'height'"),
        ("[3]", "box 0 must be an object"),
        (json.dumps([GOOD, {**GOOD, "frame": 9}]), "box 1: frame must be a place in the clip, 0 to 1; got 9"),
        (json.dumps([{**GOOD, "x": "left"}]), "box 0 must have a number 'x'"),
        (json.dumps([{**GOOD, "w": 0}]), "box 0: w and h must be above 0"),
        (json.dumps([{**GOOD, "x": 200}]), "box 0 lies outside the picture of 8 x 6"),
    ],
)
def test_errors_name_the_entry(tmp_path, content, said):
    path = tmp_path / "found.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=said):
        detected_boxes(path, (2, 6, 8))


def test_a_missing_file_and_an_unknown_kind(tmp_path):
    with pytest.raises(SpecError, match="can be read"):
        detected_boxes(tmp_path / "none.json", (2, 6, 8))
    with pytest.raises(SpecError, match="segments must be"):
        check_kind("quickshift")
