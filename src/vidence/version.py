"""The version, alone in a file so that packaging reads it without importing anything; and the commit of a checkout."""

import subprocess
from functools import cache
from pathlib import Path

__version__ = "0.1.0"


@cache
def commit() -> str | None:
    """The commit (40 digits) of the checkout that this package runs from, with ``+`` where its files differ from that.

    None: it was installed as a package, or there is no git to ask.
    """
    package = Path(__file__).resolve().parent
    if not (package.parents[1] / ".git").exists():  # the checkout of whatever project it is installed in says nothing
        return None
    try:
        told = [_git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", "--", ".")]
    except (OSError, subprocess.CalledProcessError):
        return None
    return told[0] + ("+" if told[1] else "")


def _git(folder: Path, *words: str) -> str:
    asked = ["git", *words]
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
