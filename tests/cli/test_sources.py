"""Many sources, one after the other: what one of them may fail by without ending the work on the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidence.cli.sources import Bars, over
from vidence.errors import ExplainError, OutputError, ShapeError, SourceError, SpecError, StoreError, VidenceError
from vidence.frames.source import Source


def done(film: Path, quiet_film: Path, error: VidenceError) -> list[str]:
    """The sources that were worked on, where the first of two raises `error`."""
    seen: list[str] = []

    def do(source: Source, bars: Bars) -> None:
        seen.append(source.name)
        if len(seen) == 1:
            raise error

    with pytest.raises(SystemExit):
        over([str(film), str(quiet_film)], do, fps=None)
    return seen


@pytest.mark.parametrize("kind", [SourceError, ShapeError, ExplainError])
def test_a_source_that_fails_by_itself_stops_no_other(
    kind: type[VidenceError], film: Path, quiet_film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert done(film, quiet_film, kind("too short")) == [str(film), str(quiet_film)]
    told = capsys.readouterr().err
    assert "Error: too short" in told
    assert "1 of 2 sources failed; the others are done." in told


@pytest.mark.parametrize("kind", [SpecError, StoreError, OutputError])
def test_what_is_wrong_for_every_source_ends_the_work(kind: type[VidenceError], film: Path, quiet_film: Path) -> None:
    with pytest.raises(kind):
        done(film, quiet_film, kind("no room"))
