"""The real clips: as many frames, of the size and at the rate that their tables say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from vidence.frames.source import open_source
from vidence.frames.windows import Windows

pytestmark = pytest.mark.data


def test_fight_clips_agree_with_their_table(shared_data: Path) -> None:
    """These files give every frame but the last a duration of 0, so that all are stamped 0 s: the times are counted
    at the codec's rate, which agrees with the table, and a note says that they are not the container's.
    """
    with (shared_data / "fight_surv" / "clips.csv").open() as table:
        rows = list(csv.DictReader(table))
    for row in rows[:: len(rows) // 8]:
        source = open_source(shared_data / "fight_surv" / row["file"])
        frames = list(source)
        assert len(frames) == int(row["frames"]), row["file"]
        assert source.size == (int(row["height"]), int(row["width"]))
        assert source.fps == pytest.approx(float(row["fps"]), rel=0.01)
        counted = np.arange(len(frames)) / float(row["fps"])
        np.testing.assert_allclose([frame.time for frame in frames], counted, atol=0.02)
        assert source.duration == pytest.approx(len(frames) / float(row["fps"]), rel=0.01)
        assert len(source.notes) == 1
        assert "stands still" in source.notes[0]


def test_pedestrian_clips_agree_with_their_labels(shared_data: Path) -> None:
    labels = json.loads((shared_data / "ucsd_ped2" / "frame_labels.json").read_text())
    for name in ("Test001", "Test004", "Test012"):
        source = open_source(shared_data / "ucsd_ped2" / "test" / f"{name}.mp4")
        times = [frame.time for frame in source]
        np.testing.assert_allclose(times, np.arange(labels[name]["frames"]) / 10, atol=1e-6)
        assert source.size == (240, 360)
        assert source.duration == pytest.approx(len(times) / 10)
        assert source.notes == []


def test_real_windows_are_found_again(shared_data: Path) -> None:
    source = open_source(shared_data / "ucsd_ped2" / "test" / "Test003.mp4")
    windows = Windows(16, 8, rate=5)
    clips = list(windows.cut(source))
    again = windows.at(source, clips[3].ref.first)
    assert again.ref == clips[3].ref
    np.testing.assert_array_equal(again.pixels, clips[3].pixels)
    np.testing.assert_allclose(np.diff(clips[0].times), 0.2, atol=1e-6)
