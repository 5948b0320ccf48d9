"""The documentation is true: every key has a row, the commands' page is current, the README's blocks run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vidence.attribution import COMBINE, EXPLAINERS
from vidence.cli.main import COMMANDS
from vidence.datasets import DATASETS
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


@pytest.fixture
def demo() -> Path:
    if not (ROOT / "demo-out" / "detector" / "detector.json").is_file():
        pytest.skip("the README's blocks need what `make demo` leaves in demo-out")
    return ROOT


def test_the_readmes_python_runs(demo: Path) -> None:
    for block in blocks("python"):
        subprocess.run([sys.executable, "-c", block], cwd=demo, check=True, capture_output=True)


def test_the_readmes_commands_run(demo: Path, tmp_path: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("vidence ")]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[1] in COMMANDS
        words[words.index("--out") + 1] = str(tmp_path / "out")
        command = [sys.executable, "-m", *words]
        subprocess.run(command, cwd=demo, check=True, capture_output=True, env={**os.environ, "COLUMNS": "100"})
