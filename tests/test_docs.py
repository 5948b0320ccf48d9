"""The documentation is true: every key has a row, the commands' page is current, the README's blocks run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vidence.attribution import COMBINE, EXPLAINERS
from vidence.cli import demo
from vidence.cli.main import main
from vidence.datasets import DATASETS, synthetic
from vidence.evaluate import MEASURES
from vidence.models import DETECTORS
from vidence.models.backbones import BACKBONES
from vidence.render import RENDERERS
from vidence.scoring.scores import SCORES
from vidence.scoring.thresholds import THRESHOLDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    ("explainers.md", [*EXPLAINERS, *COMBINE]),
    ("explainers.md", RENDERERS),
    ("detectors.md", DETECTORS),
    ("detectors.md", BACKBONES),
    ("scores.md", SCORES),
    ("scores.md", THRESHOLDS),
    ("datasets.md", DATASETS),
    ("measures.md", MEASURES),
]


@pytest.mark.parametrize(("page", "keys"), PAGES)
def test_every_key_has_a_row(page: str, keys: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    missing = [key for key in keys if f"\n| `{key}` |" not in text]
    assert not missing


def test_the_commands_page_is_current() -> None:
    code = "import runpy; print(runpy.run_path('scripts/write-docs')['commands_page'](), end='')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs" / "commands.md").read_text(), "run scripts/write-docs"


def test_the_tree_names_every_folder() -> None:
    package = ROOT / "src" / "vidence"
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")} - {"."}
    shown = [folder for folder in folders if not re.search(rf"^\s+{Path(folder).name}/\s", README, re.MULTILINE)]
    assert not [folder for folder in shown if "migrations" not in folder]


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readmes_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On what `vidence demo` leaves, made small: three clips from each of three cameras, one epoch, two scenes."""
    monkeypatch.setattr(synthetic, "CAMERA_CLIPS", 3)
    for name, small in (("CLIPS", 9), ("SCENES", 2), ("EPOCHS", 1)):
        monkeypatch.setattr(demo, name, small)
    monkeypatch.chdir(tmp_path)
    call("demo", "--out", "demo-out")
    assert Path("demo-out/report.html").is_file()
    for block in blocks("python"):
        exec(block, {"__name__": "__main__"})  # noqa: S102 - the README's own words
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("vidence ")]
    for line in lines:
        call(*shlex.split(line)[1:])
    assert lines
    assert Path("why/report.html").is_file()


def call(*words: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
