"""Where a decision's files lie, and which of them its evidence names."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidence.errors import OutputError
from vidence.frames.source import open_source
from vidence.record.evidence import Evidence
from vidence.record.facts import Event
from vidence.record.provenance import file_digest
from vidence.render.decision_files import DecisionFiles, folder_of, kept
from vidence.scoring.cases import Case


def drawn(place: Path, **files: str) -> Path:
    for name, text in files.items():
        (place / "in").mkdir(parents=True, exist_ok=True)
        (place / "in" / name).write_text(text)
    return place


def test_other_files_lie_elsewhere_and_the_same_in_the_same_place(film: Path, tmp_path: Path) -> None:
    source, out = open_source(film), tmp_path / "out"
    first = kept(drawn(tmp_path / "1", a="1", b="2"), out, source)
    other = kept(drawn(tmp_path / "2", a="1", b="3"), out, source)
    assert first.folder.startswith(f"film-{source.digest[:8]}/")
    assert set(first.digests) == {f"{first.folder}/in/a", f"{first.folder}/in/b"}
    assert not set(first.digests) & set(other.digests)
    (out / first.folder / "in" / "a").write_text("altered")
    assert kept(drawn(tmp_path / "3", b="2", a="1"), out, source) == first
    for name, digest in (first.digests | other.digests).items():
        assert file_digest(out / name) == digest


def test_a_place_that_cannot_be_written_is_told(film: Path, tmp_path: Path) -> None:
    source = open_source(film)
    (tmp_path / f"film-{source.digest[:8]}").write_text("a file")
    with pytest.raises(OutputError, match="must be a folder to write to"):
        kept(drawn(tmp_path / "1", a="1"), tmp_path, source)


def test_evidence_names_the_files_of_its_case() -> None:
    told = [Evidence(explainer=line, score="logit", sentence="It is so.") for line in ("residual", "evidence")]
    first, second = (f"x/{folder_of(each.explainer)}" for each in told)
    names = (f"{first}/event-1.jpg", f"{second}/event-1.jpg", f"{second}/examples-event-1.png", "x/beside-event-1.png")
    files = DecisionFiles("x", dict.fromkeys((*names, f"{first}/besides.jpg"), "0" * 64))
    residual, own = files.shown(Case((), Event(1, 2, 3), name="event-1"), told)
    assert (residual.map, residual.contours) == (f"{first}/maps.npz", f"{first}/contours.json")
    assert own.movie == f"{second}/overlay.mp4"
    assert [each.file for each in residual.pictures] == [names[0], names[3]]
    assert [each.file for each in own.pictures] == [names[1], names[2]]
    assert "differs from what was expected" in residual.pictures[0].caption
    assert [each.file for each in files.shown(Case((), None, (Event(1, 2, 3),), "besides"), told)[0].pictures] == [
        f"{first}/besides.jpg"
    ]
