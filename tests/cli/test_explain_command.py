"""`vidence explain`: where the files lie and what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import Result

from vidence.attribution.frame_maps import FrameMaps
from vidence.frames.source import open_source
from vidence.models.detector import load_detector
from vidence.pipeline import explain
from vidence.record.provenance import digest, file_digest
from vidence.record.store import Store

Call = Callable[..., Result]


def place(out: Path, source: Path, line: str) -> Path:
    (folder,) = (out / f"{source.stem}-{file_digest(source)[:8]}").iterdir()
    return folder / f"{line.split('(')[0]}-{digest(line)[:8]}"


def maps(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "maps.npz", allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


@pytest.mark.parametrize("line", ["when-where", "grad-cam"])
def test_the_files_lie_where_others_look_for_them(explained: Path, film: Path, line: str) -> None:
    folder = place(explained, film, line)
    held = maps(folder)
    assert held["values"].dtype == np.float32
    assert held["values"].ndim == 3
    assert len(held["times"]) == len(held["values"])
    assert np.all(np.diff(held["times"]) > 0)
    assert held["affine"].shape == (2, 3)
    h, w = held["values"].shape[1:]
    corners = held["affine"] @ np.array([[-0.5, w - 0.5], [-0.5, h - 0.5], [1, 1]])  # outer edges of the map's grid
    np.testing.assert_allclose(corners, [[-0.5, 47.5], [-0.5, 31.5]], atol=1e-4)
    contours = json.loads((folder / "contours.json").read_text())
    assert contours
    with av.open(str(folder / "overlay.mp4")) as movie:
        assert movie.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in movie.decode(video=0)) == 60
    assert cv2.imread(str(folder / "sheet.png")) is not None
    assert {path.name for path in folder.iterdir()} == {
        *("maps.npz", "contours.json", "overlay.mp4", "sheet.png", "event-1.jpg", "event-2.jpg")
    }


def test_the_report_and_the_records_tell_of_both(explained: Path, film: Path) -> None:
    text = (explained / "report.html").read_text()
    assert film.name in text
    assert "when-where" in text
    entries = list(Store.open(explained / "records.db").records())
    assert len(entries) == 2
    for entry in entries:
        record = entry.readable()
        assert [each.explainer for each in record.evidence] == ["when-where", "grad-cam"]
        assert all(file_digest(explained / name) == held for name, held in record.files.items())
    assert {path.name for path in explained.iterdir()} == {
        "report.html",
        "records.db",
        place(explained, film, "when-where").parents[1].name,
    }


def test_overlapping_windows_are_averaged_per_frame(explained: Path, film: Path, detector_folder: Path) -> None:
    held = maps(place(explained, film, "grad-cam"))
    detector, source = load_detector(detector_folder), open_source(film)
    expected = FrameMaps()
    for first in held["windows"].tolist():
        clip = detector.windows.at(source, first)
        expected.add(clip.times, explain(detector, clip, explainer="grad-cam").values[0].numpy())
    assert len(held["windows"]) > 2
    np.testing.assert_array_equal(held["times"], expected.times)
    np.testing.assert_allclose(held["values"], expected.values, atol=1e-6 * float(np.abs(expected.values).max()))


def test_a_stretch_of_time(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explainer", "grad-cam")
    done = call("explain", film, *asked, "--from", "2.5", "--to", "2.9")
    assert done.exit_code == 0, done.output
    times = maps(place(tmp_path, film, "grad-cam"))["times"]
    assert times.min() <= 2.5 < 2.9 <= times.max()
    assert times.min() > 2
    assert times.max() < 3.3
    assert "event-1.jpg" not in {path.name for path in place(tmp_path, film, "grad-cam").iterdir()}  # not explained
    assert (tmp_path / "report.html").exists()


def test_every_window(call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explainer", "grad-cam")
    done = call("explain", quiet_film, *asked, "--all")
    assert done.exit_code == 0, done.output
    assert len(maps(place(tmp_path, quiet_film, "grad-cam"))["times"]) == 20
    (entry,) = Store.open(tmp_path / "records.db").records()
    assert [each.explainer for each in entry.readable().evidence] == ["grad-cam"]


def test_the_same_work_twice_is_one_record(call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explainer", "grad-cam", "--from", "0", "--to", "0.5")
    for _ in range(3):
        call("explain", quiet_film, *asked)
    (entry,) = Store.open(tmp_path / "records.db").records()
    assert all(file_digest(tmp_path / name) == held for name, held in entry.readable().files.items())


def test_two_stretches_of_one_source_lie_side_by_side(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explainer", "grad-cam")
    for span in (("--from", "0", "--to", "0.3"), ("--from", "1.2", "--to", "1.5")):
        assert call("explain", quiet_film, *asked, *span).exit_code == 0
    entries = list(Store.open(tmp_path / "records.db").records())
    assert len(entries) == 2
    for entry in entries:
        assert all(file_digest(tmp_path / name) == held for name, held in entry.readable().files.items())
        done = call("replay", tmp_path / "records.db", entry.id[:12])
        assert done.exit_code == 0, done.output
    assert "was altered after" not in (tmp_path / "report.html").read_text()
    assert call("verify", tmp_path / "records.db").exit_code == 0


def test_no_alarm_is_told(call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path) -> None:
    done = call("explain", quiet_film, "--detector", detector_folder, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "0 alarms, 0 of 9 windows explained" in done.output
    assert "--all explains it nevertheless" in done.output
    assert (tmp_path / "report.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "records.db"}


def test_an_image_and_a_failing_source(call: Call, detector_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "still.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8))
    asked = ("--detector", detector_folder, "--out", tmp_path / "why", "--explainer", "grad-cam", "--all")
    done = call("explain", tmp_path / "absent.mp4", picture, *asked)
    assert done.exit_code == 1
    assert "absent.mp4" in done.stderr
    assert len(maps(place(tmp_path / "why", picture, "grad-cam"))["values"]) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--explainer", "grad-kam"), "when-where"),
        (("--explainer", "when-where", "--explainer", "grad-cam(layr=1)"), "layr"),
        (("--score", "contrast(class='fight')"), "flash, normal"),
        (("--threshold", "inf"), "finite"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(
    call: Call, film: Path, detector_folder: Path, tmp_path: Path, wrong: tuple[str, ...], said: str
) -> None:
    done = call("explain", film, "--detector", detector_folder, "--out", tmp_path / "why", *wrong)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "why").exists()


def test_a_stretch_that_ends_before_it_starts_is_refused(
    call: Call, film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path / "why")
    done = call("explain", film, *asked, "--from", "5", "--to", "2")
    assert done.exit_code == 2
    assert "--from must not lie after --to" in done.stderr
    assert not (tmp_path / "why").exists()


def test_a_stretch_outside_the_video_is_refused(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path / "why", "--from", 99, "--to", 100)
    done = call("explain", quiet_film, *asked)
    assert done.exit_code == 1
    assert "must meet the video" in done.stderr
    assert "0.00 to 1.90 s" in done.stderr
    assert not (tmp_path / "why").exists()
