"""The command line as a whole: overview, errors, and `vidence info`."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vidence.attribution import EXPLAINERS
from vidence.cli.main import COMMANDS
from vidence.errors import SourceError
from vidence.scoring.scores import SCORES
from vidence.scoring.thresholds import THRESHOLDS

Call = Callable[..., Result]


def test_the_overview_names_every_command(call: Call) -> None:
    done = call("--help")
    assert done.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(call: Call, name: str) -> None:
    done = call(name, "--help")
    assert done.exit_code == 0
    assert f"\n  vidence {name}" in done.output, "an example"


def test_an_unknown_command_is_a_usage_error(call: Call) -> None:
    done = call("scoer")
    assert done.exit_code == 2
    assert "No such command 'scoer'" in done.stderr


def test_our_errors_are_one_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vidence", "verify", str(tmp_path / "none.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: there is no record store")
    assert "Traceback" not in done.stderr


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(name: str) -> None:
        warnings.warn("some of the videos are missing", stacklevel=1)
        raise SourceError("enough")

    monkeypatch.setattr("vidence.cli.main.import_module", warned)
    done = call("info")
    assert done.stderr.splitlines()[0] == "WARNING: some of the videos are missing"


@pytest.mark.parametrize("statement", ["import vidence.cli.main", "from vidence.cli.main import main; main(['-h'])"])
def test_the_overview_loads_nothing_heavy(statement: str) -> None:
    heavy = "torch av cv2 lightning sklearn scipy matplotlib sqlalchemy"
    code = f"""
import sys
try:
    {statement}
except SystemExit:
    pass
print([name for name in '{heavy}'.split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_info_lists_what_there_is(call: Call) -> None:
    done = call("info")
    assert done.exit_code == 0
    for name in ("cnn-rnn", *EXPLAINERS, *SCORES, *THRESHOLDS):
        assert name in done.output


def test_info_can_be_read(call: Call) -> None:
    lines = call("info").output.splitlines()
    assert not [line for line in lines if "MISSING" in line]
    assert "of (needed)" in " ".join(lines)
    assert max(map(len, lines)) <= 120
    for key in (*EXPLAINERS, *SCORES):
        row = next(line for line in lines if line[16:].startswith(f"{key} "))
        assert row[16 + len(key) :].startswith("  ")  # the text keeps its distance
    text = " ".join(" ".join(lines).split())
    assert "box=None, stride=None, fill='auto', chunk=None" in text
    for made in (*EXPLAINERS.values(), *SCORES.values()):
        words = " ".join((made.__doc__ or "").split()).split(". ")[0].rstrip(".")
        assert words in text  # the sentence is whole


def test_info_describes_a_detector(call: Call, detector_folder: Path) -> None:
    done = call("info", detector_folder)
    assert done.exit_code == 0
    for text in ("cnn-rnn(", "flash, normal", "set by hand", '"auc": 0.75'):
        assert text in done.output


def test_info_of_another_folder_is_refused(call: Call, tmp_path: Path) -> None:
    done = call("info", tmp_path)
    assert done.exit_code == 1
    assert "detector.json" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("score", "a.mp4", "--out", "out", "--detector"),
        ("explain", "a.mp4", "--out", "out", "--detector"),
        ("evaluate",),
        ("trust",),
        ("compare",),
        ("recommend",),
        ("adapt", "--normal", "a.mp4"),
        ("svdd",),
    ],
    ids=lambda command: command[0],
)
def test_a_gpu_that_is_not_there_is_refused_at_once(
    call: Call, detector_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rest = ("clips", "--out", "out") if len(command) == 1 else ()
    done = call(*command, detector_folder, *rest, "--device", "cuda")
    assert done.exit_code == 1
    assert "the device cuda must be a GPU that PyTorch can use; there is none" in done.output
    assert not list(tmp_path.iterdir())
