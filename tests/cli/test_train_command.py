"""`vidence train`: from a user's clips to a detector whose held-out figures are kept."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from torch import Tensor

from vidence.models.detector import load_detector

Call = Callable[..., Result]
LINE = "cnn-rnn(backbone='small', size=32, length=4, stride=4, units=4, width=8, rate=0.0, frozen=True)"


def write_clips(root: Path, labels: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Folders of four frames below class folders: (path, label, camera)."""
    random, rows = np.random.default_rng(0), []
    for number in range(16):
        label = labels[number % 2]
        folder = root / label / f"clip{number:02d}"
        folder.mkdir(parents=True)
        for t in range(4):
            level = 200 if number % 2 and t % 2 else 60
            pixels = np.clip(random.normal(level, 20, (24, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{t}.png"), pixels)
        rows.append((f"{label}/clip{number:02d}", label, f"camera{number // 4}"))
    return rows


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    rows = write_clips(root, ("normal", "flicker"))
    with (root / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "camera"), *rows])
    return root


def held_out(text: str) -> dict[str, float]:
    (line,) = (line for line in text.splitlines() if line.startswith("held out"))
    pairs = [each.rsplit(" ", 1) for each in line.removeprefix("held out").strip().split(", ")]
    return {name: float(value) for name, value in pairs}


@pytest.mark.parametrize("table", [False, True], ids=["folder", "csv"])
def test_train_writes_a_detector_with_its_figures(call: Call, clips: Path, tmp_path: Path, table: bool) -> None:
    data = (clips / "clips.csv", "--group", "camera") if table else (clips,)
    done = call("train", *data, "--detector", LINE, "--out", tmp_path / "made", "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert "classes    flicker, normal; normal: normal" in done.output
    figures = held_out(done.output)
    facts = json.loads((tmp_path / "made" / "detector.json").read_text())
    test = facts["facts"]["metrics"]["test"]
    assert figures == {name: pytest.approx(value, abs=6e-4) for name, value in test.items()}
    assert {"clips", "accuracy"} <= test.keys()
    assert "val" in facts["facts"]["metrics"]
    assert facts["threshold"]["rule"] == "best-f1"
    assert load_detector(tmp_path / "made").weights_digest == facts["weights"]
    assert {"log.csv", "curve.png"} <= {path.name for path in (tmp_path / "made").iterdir()}


def test_unknown_normal_classes_are_listed(call: Call, tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", ("walk", "run"))
    asked = ("train", tmp_path / "clips", "--detector", LINE, "--out", tmp_path / "made", "--epochs", 1)
    for more in ((), ("--normal", "sit")):
        done = call(*asked, *more)
        assert done.exit_code == 1
        assert "run, walk" in done.stderr
    assert not (tmp_path / "made").exists()


def test_the_users_normal_class_counts(call: Call, clips: Path, tmp_path: Path) -> None:
    asked = ("train", clips, "--detector", LINE, "--out", tmp_path / "made", "--epochs", 1)
    assert "normal: flicker\n" in call(*asked, "--normal", "flicker").output


def test_a_threshold_from_normal_footage(call: Call, clips: Path, quiet_film: Path, tmp_path: Path) -> None:
    asked = ("train", clips, "--detector", LINE, "--out", tmp_path / "made", "--epochs", 1, "--footage", quiet_film)
    done = call(*asked, "--threshold", "quantile(q=0.5)")
    assert done.exit_code == 0, done.output
    threshold = json.loads((tmp_path / "made" / "detector.json").read_text())["threshold"]
    assert threshold["origin"] == "0.5 quantile of 20 normal frames"


@pytest.mark.parametrize("rule", [(), ("--threshold", "best-f1")], ids=["none", "labels"])
def test_footage_needs_a_rule_without_labels(
    call: Call, clips: Path, quiet_film: Path, tmp_path: Path, rule: tuple[str, ...]
) -> None:
    done = call("train", clips, "--detector", LINE, "--out", tmp_path / "made", "--footage", quiet_film, *rule)
    assert done.exit_code == 2
    assert "false-alarm-budget" in done.stderr
    assert not (tmp_path / "made").exists()  # told before the training, not after


def test_missing_footage_is_told_before_the_training(call: Call, clips: Path, tmp_path: Path) -> None:
    asked = ("--detector", LINE, "--out", tmp_path / "made", "--threshold", "quantile")
    done = call("train", clips, *asked, "--footage", tmp_path / "absent.mp4")
    assert done.exit_code == 1
    assert "absent.mp4" in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--detector", "cnn-rnm"), "cnn-rnn"),
        (("--detector", LINE, "--threshold", "best-f2"), "best-f1"),
        (("--detector", LINE, "--group", "camera"), "clips.csv"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(
    call: Call, clips: Path, tmp_path: Path, wrong: tuple[str, ...], said: str
) -> None:
    done = call("train", clips, "--out", tmp_path / "made", *wrong)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "made").exists()


SMALL = "vae(length=4, size=32, smooth=2)"


def test_what_is_normal_of_a_published_set(call: Call, tiny_ped2: Path, tmp_path: Path) -> None:
    line = "vae(length=4, size=32, smooth=2, crop=[0, 0, 48, 64])"  # the set's own crop is for its larger pictures
    asked = ("train", "ucsd-ped2", "--root", tiny_ped2, "--detector", line, "--out", tmp_path / "made", "--epochs", 2)
    done = call(*asked)
    assert done.exit_code == 0, done.output
    detector = load_detector(tmp_path / "made")
    assert detector.settings.channels == 1, "the set is gray"
    assert "clips      train 2, val 1, test 4" in done.output
    assert "squared error per value" in done.output
    assert "quantile of" in done.output
    assert f"vidence evaluate {tmp_path / 'made'} ucsd-ped2 --root {tiny_ped2} --out measured" in done.output
    again = call(*asked[:-1], 3, "--resume", "--threshold", "quantile(q=0.5)")
    assert again.exit_code == 0, again.output
    assert load_detector(tmp_path / "made").facts["epochs"] == 3


def test_a_published_set_is_learned_from_without_its_test_part(call: Call, tiny_ped2: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(tiny_ped2, tmp_path / "ped2"))
    shutil.rmtree(root / "test")
    line = "previous-frame(size=32, crop=[0, 0, 48, 64])"
    done = call("train", "ucsd-ped2", "--root", root, "--detector", line, "--out", tmp_path / "made")
    assert done.exit_code == 0, done.output
    assert "note: training goes on without a test part: test/*.mp4 is missing in" in done.stderr
    assert "clips      train 2, val 1, test 0\n" in done.output
    assert "vidence evaluate" not in done.output
    told = call("evaluate", tmp_path / "made", "ucsd-ped2", "--root", root, "--out", tmp_path / "measured")
    assert told.exit_code == 1
    assert "test/*.mp4 is missing in" in told.stderr


def test_a_classifier_is_not_trained_on_one_class(call: Call, tiny_ped2: Path, tmp_path: Path) -> None:
    done = call("train", "ucsd-ped2", "--root", tiny_ped2, "--detector", LINE, "--out", tmp_path / "made")
    assert done.exit_code == 1
    assert "holds normal alone" in done.stderr
    assert "bcae1" in done.stderr
    assert not (tmp_path / "made").exists()


def test_what_is_normal_of_own_clips(call: Call, clips: Path, quiet_film: Path, tmp_path: Path) -> None:
    """The normal class, the group and the footage hold here too."""
    asked = ("--group", "camera", "--normal", "flicker", "--threshold", "quantile(q=0.5)", "--footage", quiet_film)
    done = call("train", clips / "clips.csv", "--detector", SMALL, "--out", tmp_path / "made", "--epochs", 1, *asked)
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "made" / "detector.json").read_text())
    assert set(facts["facts"]["clips"]["train"]) == {"flicker"}
    assert facts["threshold"]["origin"] == "0.5 quantile of 20 normal frames"
    assert "--group camera --normal flicker --out measured" in done.output


def test_a_folder_wins_with_a_dot(call: Call, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ucsd-ped2").symlink_to(clips)
    asked = ("--detector", SMALL, "--out", tmp_path / "made", "--epochs", 1)
    assert "needs --root DIR" in call("train", "ucsd-ped2", *asked).stderr
    assert call("train", "./ucsd-ped2", *asked).exit_code == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--film",), "--film shows a classifier's backbone"),
        (("--weights", "somewhere"), "vae takes none"),
        (("--threshold", "best-f1"), "on normal footage alone"),
        (("--normal", "sit"), "flicker, normal"),
        (("--root", "somewhere"), "--root goes with the name of a published set"),
    ],
)
def test_what_a_detector_of_the_normal_has_no_use_for(
    call: Call, clips: Path, tmp_path: Path, wrong: tuple[str, ...], said: str
) -> None:
    done = call("train", clips, "--detector", SMALL, "--out", tmp_path / "made", *wrong)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert not (tmp_path / "made").exists()


def test_ctrl_c_says_what_is_kept(call: Call, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidence.training.reconstruction_module import Reconstructor

    step = Reconstructor.training_step

    def pressed(self: Reconstructor, batch: Tensor, index: int) -> Tensor:
        if self.epoch == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Reconstructor, "training_step", pressed)
    done = call("train", clips, "--detector", SMALL, "--out", tmp_path / "made", "--epochs", 3)
    assert done.exit_code == 1
    assert "1 of 3 epochs are kept" in done.stderr


def test_the_next_command_may_be_pasted_into_a_shell(call: Call, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "my clips").symlink_to(clips)
    asked = ("--detector", SMALL, "--out", tmp_path / "it's made", "--epochs", 1, "--seed", 2, "--fps", 5)
    done = call("train", tmp_path / "my clips", *asked)
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("next"))
    words = shlex.split(line.removeprefix("next"))
    places = [str(tmp_path / name) for name in ("it's made", "my clips")]
    assert words == ["vidence", "evaluate", *places, "--fps", "5.0", "--seed", "2", "--out", "measured"]


@pytest.fixture(scope="module")
def footage(make_film: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of what is normal, in no class folder."""
    folder = tmp_path_factory.mktemp("footage")
    for number in range(3):
        made = make_film(f"monday{number}.mp4", (), frames=12, seed=number)
        (folder / made.name).symlink_to(made)
    return folder


def test_a_folder_of_videos_is_learned_as_normal(call: Call, footage: Path, tmp_path: Path) -> None:
    done = call("train", footage, "--detector", "previous-frame(size=32)", "--out", tmp_path / "made")
    assert done.exit_code == 0, done.output
    assert "clips      train 2, val 1, test 0\n" in done.output
    assert "there is no test part to measure on" in done.output
    assert "vidence evaluate" not in done.output  # there is nothing that it could measure
    told = call("evaluate", tmp_path / "made", footage, "--out", tmp_path / "measured")
    assert told.exit_code == 1
    assert "no test part" in told.stderr


def test_the_mean_frame_is_not_compared_with_itself(call: Call, footage: Path, tmp_path: Path) -> None:
    done = call("train", footage, "--detector", "mean-frame(size=32)", "--out", tmp_path / "made")
    assert done.exit_code == 0, done.output
    assert "no better than their mean" not in done.output


def test_one_long_normal_video_is_learned_from(call: Call, quiet_film: Path, tmp_path: Path) -> None:
    done = call("train", quiet_film, "--detector", "previous-frame(size=32)", "--out", tmp_path / "made")
    assert done.exit_code == 0, done.output
    assert "clips      train 1, val 1, test 0\n" in done.output
    assert "normal     3 validation frames" in done.output  # of 4: the first has none before it


def test_a_classifier_refuses_a_folder_of_videos(call: Call, footage: Path, tmp_path: Path) -> None:
    done = call("train", footage, "--detector", LINE, "--out", tmp_path / "made")
    assert done.exit_code == 1
    assert "holds normal alone" in done.stderr
    assert "bcae1" in done.stderr


def test_another_training_is_not_overwritten(call: Call, footage: Path, tmp_path: Path) -> None:
    asked = ("train", footage, "--out", tmp_path, "--detector")
    assert call(*asked, "previous-frame(size=32)").exit_code == 0
    before = (tmp_path / "detector.json").read_bytes()
    for more in ((), ("--resume",)):
        done = call(*asked, "mean-frame(size=32)", *more)
        assert done.exit_code == 1
        assert "holds a detector" in done.stderr
        assert "--replace" in done.stderr
    assert (tmp_path / "detector.json").read_bytes() == before
    assert call(*asked, "mean-frame(size=32)", "--replace").exit_code == 0
    assert (tmp_path / "detector.json").read_bytes() != before
    assert call(*asked, "mean-frame(size=32)", "--replace", "--resume").exit_code == 2


def test_a_stopped_training_is_not_overwritten(call: Call, footage: Path, tmp_path: Path) -> None:
    (tmp_path / "progress.pt").write_bytes(b"epochs")
    done = call("train", footage, "--out", tmp_path, "--detector", "previous-frame(size=32)")
    assert done.exit_code == 1
    assert "holds a stopped one. --resume goes on" in done.stderr
    assert (tmp_path / "progress.pt").read_bytes() == b"epochs"


def test_a_stopped_member_is_not_overwritten(call: Call, footage: Path, tmp_path: Path) -> None:
    (tmp_path / "members" / "learned").mkdir(parents=True)
    (tmp_path / "members" / "learned" / "progress.pt").write_bytes(b"epochs")
    done = call("train", footage, "--out", tmp_path, "--detector", "hybrid(learned=previous-frame(size=32))")
    assert done.exit_code == 1
    assert "holds a stopped one. --resume goes on" in done.stderr


def test_what_replaces_a_detector_leaves_nothing_of_it(call: Call, footage: Path, tmp_path: Path) -> None:
    asked = ("train", footage, "--out", tmp_path, "--detector")
    assert call(*asked, "previous-frame(size=32)").exit_code == 0
    before = (tmp_path / "detector.json").read_bytes()
    (tmp_path / "previous" / "1").mkdir(parents=True)
    for name in ("log.csv", "previous/1/detector.json"):
        (tmp_path / name).write_text("of the former training")
    assert call(*asked, "convlstm-predict(size=32, length=30)", "--replace").exit_code == 1  # videos are too short
    assert (tmp_path / "detector.json").read_bytes() == before
    assert (tmp_path / "previous" / "1" / "detector.json").exists()
    done = call(*asked, "mean-frame(size=32)", "--replace")
    assert done.exit_code == 0, done.output
    assert "(detector.json, model.safetensors)" in done.stdout
    assert not (tmp_path / "previous").exists(), "what --undo would go back to is another detector"
