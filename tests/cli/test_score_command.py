"""`vidence score`: the CSV and the records that other programs read, with and without explanation."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

import vidence.cli.sources
from vidence.cli.beside import Beside
from vidence.models.trivial import PreviousFrame
from vidence.record.store import Store

Call = Callable[..., Result]
COLUMNS = ["source", "first_s", "last_s", "p_flash", "p_normal", "score", "threshold", "anomalous"]


def table(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_window_and_a_record_per_alarm(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    done = call("score", film, "--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert done.exit_code == 0, done.output
    assert "29 windows, 2 alarms\n" in done.output
    rows = table(tmp_path)
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 29
    assert {row["source"] for row in rows} == {str(film)}
    assert (rows[1]["first_s"], rows[1]["last_s"], rows[1]["threshold"]) == ("0.200", "0.500", "0.500000")
    for row in rows:
        assert float(row["score"]) == pytest.approx(1 - float(row["p_normal"]), abs=2e-6)
        assert float(row["p_flash"]) + float(row["p_normal"]) == pytest.approx(1, abs=2e-6)
        assert row["anomalous"] == str(int(float(row["score"]) > 0.5))
    records = [entry.readable() for entry in Store.open(tmp_path / "records.db").records()]
    assert [len(record.events) for record in records] == [1, 1]
    assert records[0].events[0].first_s < 1.5 < 4 < records[1].events[0].first_s
    assert records[0].detection.clip.source == film.name
    assert records[0].evidence == ()


def test_a_source_without_alarm_has_a_record_too(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    done = call("score", quiet_film, "--detector", detector_folder, "--out", tmp_path)
    assert done.exit_code == 0
    assert "0 alarms\n" in done.output  # nothing was explained, so no delay is told
    (entry,) = Store.open(tmp_path / "records.db").records()
    highest = max(float(row["score"]) for row in table(tmp_path))
    assert entry.readable().events == ()
    assert entry.readable().detection.value == pytest.approx(highest, abs=1e-6)


def test_scores_are_the_same_whatever_is_explained(
    call: Call, film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    texts, values = [], []
    for asked in ("off", "alarms", "grad-cam"):
        out = tmp_path / asked
        done = call("score", film, "--detector", detector_folder, "--out", out, "--explain", asked)
        assert done.exit_code == 0, done.output
        assert ("explanation added " in done.output) == (asked != "off")
        texts.append((out / "scores.csv").read_bytes())
        records = [entry.readable() for entry in Store.open(out / "records.db").records()]
        values.append([record.detection for record in records])
        keys = {each.explainer.split("(")[0] for record in records for each in record.evidence}
        assert keys == {"off": set(), "alarms": {"when-where"}, "grad-cam": {"grad-cam"}}[asked]
    assert texts[0] == texts[1] == texts[2]
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize(("asked", "workers"), [("off", 0), ("alarms", 1)])
def test_a_worker_runs_only_where_something_is_explained(detector_folder: Path, asked: str, workers: int) -> None:
    beside, before = Beside(detector_folder, asked, None, device="cpu"), threading.active_count()
    beside.start()
    assert threading.active_count() == before + workers
    assert beside.finish() >= 0
    assert threading.active_count() == before


def test_a_failing_source_is_reported_and_the_rest_scored(
    call: Call, film: Path, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"")
    sources = (quiet_film, broken, tmp_path / "absent.mp4", film)
    done = call("score", *sources, "--detector", detector_folder, "--out", tmp_path / "out", "--explain", "off")
    assert done.exit_code == 1
    assert "broken.mp4" in done.stderr
    assert "absent.mp4" in done.stderr
    assert "2 of 4 sources failed; the others are done" in done.stderr
    assert [row["source"] for row in table(tmp_path / "out") if row["first_s"] == "0.000"] == [
        str(quiet_film),
        str(film),
    ]


def test_an_unsuitable_source_is_reported_and_the_rest_scored(call: Call, film: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.zeros((32, 48, 3), np.uint8))
    PreviousFrame(size=32, length=5).build().save(tmp_path / "detector")
    asked = ("--detector", tmp_path / "detector", "--threshold", 1e9, "--out", tmp_path / "out", "--explain", "off")
    done = call("score", still, film, *asked)
    assert done.exit_code == 1
    assert f"{still} is too short" in done.stderr
    assert "1 of 2 sources failed; the others are done" in done.stderr
    assert {row["source"] for row in table(tmp_path / "out")} == {str(film)}
    (entry,) = Store.open(tmp_path / "out" / "records.db").records()
    assert entry.readable().detection.clip.source == film.name


def test_a_cut_film_is_scored_as_far_as_it_goes(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    whole = film.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index lies at the end and is gone
    done = call("score", tmp_path / "cut.mp4", film, "--detector", detector_folder, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "cut.mp4" in done.stderr
    assert len(table(tmp_path / "out")) == 29


def test_a_relative_source_keeps_its_name(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(quiet_film.parent)
    given = f"./{quiet_film.name}"
    done = call("score", given, "--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert done.exit_code == 0
    assert table(tmp_path)[0]["source"] == given
    (entry,) = Store.open(tmp_path / "records.db").records()
    assert entry.place == {"source": str(quiet_film.resolve()), "detector": str(detector_folder.resolve())}


def test_the_users_threshold_counts(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert "0 alarms" in call("score", film, *asked, "--threshold", "0.9999").output
    assert {row["anomalous"] for row in table(tmp_path)} == {"0"}
    assert {row["threshold"] for row in table(tmp_path)} == {"0.999900"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--explain", "grad-kam"), "grad-cam"),
        (("--explain", "grad-cam(layr='x')"), "layr"),
        (("--score", "logit(class='fight')"), "flash, normal"),
        (("--score", "logit(class=2)"), "0..1"),
        (("--threshold", "nan"), "finite"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(
    call: Call, film: Path, detector_folder: Path, tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    done = call("score", film, "--detector", detector_folder, "--out", tmp_path / "out", *wrong)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_explainer_that_fails_costs_no_scores(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explain", "grad-cam(layer='head.output')")
    done = call("score", film, *asked)
    assert done.exit_code == 1
    assert "must return maps" in done.stderr
    assert len(table(tmp_path)) == 29
    records = [entry.readable() for entry in Store.open(tmp_path / "records.db").records()]
    assert [(len(record.events), record.evidence) for record in records] == [(1, ()), (1, ())]  # told, not explained


@pytest.mark.parametrize(("line", "said"), [("grad-cam(layer='absent')", "absent"), ("cam", "Use grad-cam")])
def test_an_explainer_that_cannot_be_had_is_told_before_any_work(
    line: str, said: str, call: Call, film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    done = call("score", film, "--detector", detector_folder, "--out", tmp_path / "out", "--explain", line)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_the_same_work_twice_is_one_record(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        call("score", film, "--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert len(list(Store.open(tmp_path / "records.db").records())) == 2


def test_out_must_not_be_a_file(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = call("score", film, "--detector", detector_folder, "--out", tmp_path / "file")
    assert done.exit_code == 2
    assert (tmp_path / "file").read_text() == "kept"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_told(call: Call, film: Path, detector_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = call("score", film, "--detector", detector_folder, "--out", tmp_path / "file" / "below")
    assert done.exit_code == 1
    assert "must be a folder to write to" in done.stderr


@pytest.fixture
def footage(film: Path, quiet_film: Path, tmp_path: Path) -> Path:
    """A folder of two videos, with what users have beside them."""
    folder = tmp_path / "footage"
    (folder / "older").mkdir(parents=True)
    for video in (film, quiet_film):
        (folder / video.name).symlink_to(video)
    (folder / "notes.txt").write_text("monday")
    return folder


def test_a_folder_of_videos_is_scored_video_by_video(call: Call, footage: Path, detector_folder: Path) -> None:
    asked = ("score", footage, "--detector", detector_folder, "--out", footage / "scored", "--explain", "off")
    for _ in range(2):  # its own results are no source
        done = call(*asked)
        assert done.exit_code == 0, done.output
        assert {row["source"] for row in table(footage / "scored")} == {
            str(footage / name) for name in ("film.mp4", "quiet.mp4")
        }


def test_a_source_given_twice_is_scored_once(
    call: Call, footage: Path, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path / "out", "--explain", "off")
    done = call("score", quiet_film, quiet_film, footage, *asked)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("was given twice; it is done once") == 2
    firsts = [row["source"] for row in table(tmp_path / "out") if row["first_s"] == "0.000"]
    assert firsts == [str(quiet_film), str(footage / "film.mp4")]


def test_a_run_that_fails_leaves_nothing(call: Call, detector_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes" / "fight").mkdir(parents=True)
    (tmp_path / "classes" / "a.txt").write_text("x")
    done = call("score", tmp_path / "classes", "--detector", detector_folder, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "holds 1 folders (fight) and 1 other files (a.txt)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_whole_sources_and_says_which(
    call: Call, film: Path, quiet_film: Path, detector_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pressed while the second source is drawn, when all of it is scored."""
    drawn = vidence.cli.sources.write_down

    def pressed(detector: Any, source: Any, *rest: Any, **more: Any) -> Any:
        if source.name == str(film):
            raise KeyboardInterrupt
        return drawn(detector, source, *rest, **more)

    monkeypatch.setattr(vidence.cli.sources, "write_down", pressed)
    done = call("score", quiet_film, film, "--detector", detector_folder, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert f"Stopped in {film}. Whole are 1 of 2 sources: {quiet_film}." in done.stderr
    assert {row["source"] for row in table(tmp_path / "out")} == {str(quiet_film)}
    (entry,) = Store.open(tmp_path / "out" / "records.db").records()
    assert entry.readable().detection.clip.source == quiet_film.name


def test_a_later_run_adds_sources_and_renews_those_scored_again(
    call: Call, film: Path, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    asked = ("--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert call("score", film, quiet_film, *asked).exit_code == 0
    done = call("score", quiet_film, *asked, "--threshold", "0.9")
    assert "still has the rows of 1 sources of earlier runs" in done.stderr
    rows = table(tmp_path)
    assert len(rows) == 29 + len([row for row in rows if row["source"] == str(quiet_film)])
    assert {(row["source"], row["threshold"]) for row in rows} == {
        (str(film), "0.500000"),
        (str(quiet_film), "0.900000"),
    }
    assert len({tuple(row.values()) for row in rows}) == len(rows)


def test_the_table_of_another_detector_is_left_alone(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text("source,first_s,last_s,p_a,p_b,score,threshold,anomalous\n")
    done = call("score", quiet_film, "--detector", detector_folder, "--out", tmp_path, "--explain", "off")
    assert done.exit_code == 1
    assert "Another detector wrote it" in done.stderr
    assert os.listdir(tmp_path) == ["scores.csv"]
