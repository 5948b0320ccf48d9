"""`vidence report`, `verify` and `replay`: what a reviewer runs on a store."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from vidence.record.store import Store

Call = Callable[..., Result]


def records(why: Path) -> list[str]:
    return [entry.id for entry in Store.open(why / "records.db").records()]


def test_an_untouched_store_is_intact(call: Call, explained: Path) -> None:
    done = call("verify", explained / "records.db")
    assert done.exit_code == 0
    assert "intact" in done.output
    listed = {name for entry in Store.open(explained / "records.db").records() for name in entry.readable().files}
    assert f"files    {len(listed)} listed, {len(listed)} as recorded" in done.output
    assert "unseen" in done.output  # what cannot be seen without head and key


def test_files_that_are_gone_or_altered_are_found(call: Call, why: Path, tmp_path: Path) -> None:
    record = next(Store.open(why / "records.db").records()).readable()
    gone, changed = sorted(record.files)[:2]
    (why / gone).unlink()
    (why / changed).write_bytes(b"another")
    done = call("verify", why / "records.db")
    assert done.exit_code == 1
    assert f"PROBLEM  the file {gone} is missing" in done.output
    assert f"PROBLEM  the file {changed} was altered" in done.output
    assert done.output.endswith("2 problems found\n")
    alone = call("verify", why / "records.db", "--no-files")
    assert alone.exit_code == 0
    assert "files" not in alone.output.rsplit("unseen", 1)[1].partition("\n")[2]
    told = call("report", why / "records.db", "--out", tmp_path / "report.html")
    assert told.exit_code == 0
    assert f"note: the file {gone} is missing" in told.stderr


def test_a_flipped_byte_is_found(call: Call, why: Path, damage: Callable[..., None]) -> None:
    with sqlite3.connect(why / "records.db") as database:
        which, content = database.execute("select digest, content from body order by digest limit 1").fetchone()
    database.close()
    changed = bytes([content[0]]) + bytes([content[1] ^ 1]) + content[2:]
    damage(why, "update body set content = ? where digest = ?", changed, which)
    done = call("verify", why / "records.db")
    assert done.exit_code == 1
    assert "PROBLEM" in done.output


def test_a_removed_row_is_found(call: Call, why: Path, damage: Callable[..., None]) -> None:
    damage(why, "delete from chain where position = (select min(position) from chain)")
    done = call("verify", why / "records.db")
    assert done.exit_code == 1
    assert "PROBLEM" in done.output


def test_a_cut_tail_is_found_with_the_head(call: Call, why: Path, damage: Callable[..., None]) -> None:
    _, head = Store.open(why / "records.db").head()
    assert call("verify", why / "records.db", "--head", head).exit_code == 0
    damage(why, "delete from chain where position = (select max(position) from chain)")
    blind = call("verify", why / "records.db")
    assert "unseen" in blind.output
    done = call("verify", why / "records.db", "--head", head)
    assert done.exit_code == 1
    assert "PROBLEM" in done.output


def test_a_replay_agrees(call: Call, explained: Path) -> None:
    for each in records(explained):
        done = call("replay", explained / "records.db", each[:12])
        assert done.exit_code == 0, done.output
        assert done.output.count("agrees") == 3  # score, two maps
        assert "DISAGREES" not in done.output


def test_a_replay_of_another_source_is_refused(call: Call, explained: Path, quiet_film: Path) -> None:
    done = call("replay", explained / "records.db", records(explained)[0], "--source", quiet_film)
    assert done.exit_code == 1
    assert "the source must have the recorded SHA-256" in done.stderr


def test_a_moved_source_replays(call: Call, explained: Path, film: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(film, tmp_path / "archived.mp4"))
    assert call("replay", explained / "records.db", records(explained)[0], "--source", moved).exit_code == 0


def test_a_replay_with_other_weights_is_refused(
    call: Call, explained: Path, detector_folder: Path, tmp_path: Path
) -> None:
    from vidence.models.classifier_detector import ClassifierSettings

    other = ClassifierSettings.load(detector_folder)
    next(other.network.parameters()).data[0] += 1
    other.save(tmp_path / "other")
    done = call("replay", explained / "records.db", records(explained)[0], "--detector", tmp_path / "other")
    assert done.exit_code == 1
    assert "the weights must have the recorded SHA-256" in done.stderr


def test_a_replay_sees_a_changed_map(call: Call, why: Path) -> None:
    first = records(why)[0]
    name = Store.open(why / "records.db").get(first).readable().evidence[0].map
    with np.load(why / str(name)) as held:
        changed = {key: held[key] for key in held.files}
    changed["values"] = changed["values"] * 1.01
    np.savez_compressed(why / str(name), **changed)
    done = call("replay", why / "records.db", first)
    assert done.exit_code == 1
    assert "maps.npz must have the recorded SHA-256" in done.stderr
    (why / str(name)).unlink()
    assert call("replay", why / "records.db", first).exit_code == 1


def test_a_replay_that_differs_disagrees(call: Call, explained: Path) -> None:
    done = call("replay", explained / "records.db", records(explained)[0], "--tolerance", "-1")
    assert done.exit_code == 1
    assert done.output.count("DISAGREES") == 3


def test_a_report_of_one_record(call: Call, explained: Path, tmp_path: Path) -> None:
    first, second = records(explained)
    done = call("report", explained / "records.db", first[:10], "--out", tmp_path / "one.html")
    assert done.exit_code == 0
    text = (tmp_path / "one.html").read_text()
    assert first[:12] in text
    assert second[:12] not in text


@pytest.mark.parametrize(
    "command",
    [("report", "--out", "x.html"), ("verify",), ("replay", "abcd"), ("review",), ("erase", "abcd", "--reason", "x")],
    ids=lambda each: each[0],
)
def test_a_missing_store_is_told(call: Call, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = call(command[0], tmp_path / "none.db", *command[1:])
    assert done.exit_code == 1
    assert "no record store" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_record_is_told(call: Call, explained: Path, tmp_path: Path) -> None:
    for command in (("replay", explained / "records.db", "0000"),):
        done = call(*command)
        assert done.exit_code == 1
        assert "exactly one record id" in done.stderr
    done = call("report", explained / "records.db", "0000", "--out", tmp_path / "one.html")
    assert done.exit_code == 1
    assert not (tmp_path / "one.html").exists()
