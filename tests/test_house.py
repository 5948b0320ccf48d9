"""The house rules that a machine can check: layering, sizes, names, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "vidence"
MODULES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = (
    "errors spec version record frames models scoring attribution render datasets training evaluate review "
    "beside pipeline explained_source replaying"
)
MAY_IMPORT = {
    "__main__": "cli",
    "__init__": "version pipeline models frames",
    "version": "",
    "errors": "",
    "aside": "errors",
    "spec": "errors",
    "record": "errors",
    "frames": "record spec errors",
    "motion": "errors",
    "models": "frames motion record spec errors version",
    "scoring": "frames models record spec errors version",
    "attribution": "frames models scoring motion record spec errors",
    "render": "frames attribution scoring record spec errors",
    "datasets": "frames spec errors",
    "training": "frames models datasets scoring spec errors version",
    "evaluate": "frames motion models scoring attribution render datasets training record spec errors",
    "review": "record errors",
    "beside": "frames models render scoring record",
    "pipeline": "frames models scoring attribution spec errors",
    "explained_source": "pipeline beside frames models scoring attribution render record spec errors",
    "replaying": "explained_source frames models scoring record errors",
    "testing": "frames models scoring attribution datasets spec errors",
    "cli": EVERYTHING,
}
TEXT_MODES = {"r", "w", "a", "x"}
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc", "types"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of the package that a module imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they come from"
            module = node.module or ""
            names.update([module] if module != "vidence" else [f"vidence.{alias.name}" for alias in node.names])
    return {name.split(".")[1] for name in names if name.startswith("vidence.")}


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_imports_go_one_way(path: Path) -> None:
    here = room(path)
    assert here in MAY_IMPORT, f"{here} has no row in MAY_IMPORT"
    allowed = {here, "aside"} if here not in ("errors", "version", "spec") else {here}
    assert imported(path) - set(MAY_IMPORT[here].split()) - allowed == set()


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


def test_file_names_say_something_and_are_unique() -> None:
    stems = [path.stem for path in MODULES if path.stem != "__init__" and room(path) not in ("cli",)]
    stems = [stem for stem in stems if not stem[0].isdigit()]  # numbered migrations
    assert not set(stems) & SAY_NOTHING
    twice = {stem for stem in stems if stems.count(stem) > 1 and stem != "env"}
    assert not twice


@pytest.mark.parametrize("module", ["vidence", "vidence.record", "vidence.review", "vidence.cli.main"])
def test_importing_is_light(module: str) -> None:
    heavy = "torch av cv2 lightning sklearn scipy matplotlib"
    code = f"import {module}, sys; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_text_is_utf_8_whatever_the_locale_says() -> None:
    root = PACKAGE.parents[1]
    told = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in [*MODULES, *(root / "benchmarks").glob("*.py"), root / "scripts" / "write-docs"]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and leaves_the_encoding_open(node)
    ]
    assert not told


def leaves_the_encoding_open(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file, and does not name its encoding."""
    named = {keyword.arg for keyword in call.keywords}
    mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    opens_text = call.func.attr == "open" and (mode in TEXT_MODES or "newline" in named)
    return (opens_text or call.func.attr in ("read_text", "write_text")) and "encoding" not in named
