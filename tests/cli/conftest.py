"""The command line as a user calls it, and one explained film that several tests look at."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vidence.cli.main import main

Call = Callable[..., Result]


@pytest.fixture(scope="session")
def call() -> Call:
    """Call `vidence ARGUMENTS`; an error that is not ours fails the test with its traceback."""

    def run(*arguments: object) -> Result:
        done = CliRunner().invoke(main, [str(each) for each in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture(scope="session")
def explained(call: Call, film: Path, detector_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vidence explain` writes of a film with two alarms, by two explainers. Not to be changed: see `why`."""
    out = tmp_path_factory.mktemp("explained") / "why"
    lines = ("--explainer", "when-where", "--explainer", "grad-cam")
    done = call("explain", film, "--detector", detector_folder, *lines, "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 alarms" in done.output
    return out


@pytest.fixture
def why(explained: Path, tmp_path: Path) -> Path:
    """A copy of `explained` that a test may damage."""
    return Path(shutil.copytree(explained, tmp_path / "why"))


@pytest.fixture(scope="session")
def damage() -> Callable[..., None]:
    """Change a store behind its back; triggers that forbid it are dropped, as a forger would."""

    def change(why: Path, statement: str, *values: object) -> None:
        with sqlite3.connect(why / "records.db") as database:
            for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
                database.execute(f'drop trigger "{name}"')
            assert database.execute(statement, values).rowcount == 1
        database.close()

    return change
