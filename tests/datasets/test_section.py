from pathlib import Path

import pytest

import vidence
from vidence.datasets.section import Section
from vidence.errors import SpecError
from vidence.frames.source import open_source


def test_a_section_is_the_frames_between_its_ends(quiet_film):
    whole = list(open_source(quiet_film))
    section = Section(open_source(quiet_film), 5, 9)
    for _ in range(2):  # twice, as from a file
        frames = list(section)
        assert [frame.time for frame in frames] == [frame.time for frame in whole[5:9]]
        assert (frames[0].pixels == whole[5].pixels).all()
    assert len(list(Section(open_source(quiet_film), 5, None))) == 15
    assert list(Section(open_source(quiet_film), 90, None)) == []


def test_sections_differ_by_their_digest_and_say_how_long_they_are(quiet_film):
    source = open_source(quiet_film)
    digests = {source.digest, *(Section(source, *ends).digest for ends in ((0, 5), (0, None), (5, None)))}
    assert len(digests) == 4
    assert Section(source, 5, 9).duration == pytest.approx(0.4)
    assert Section(source, 5, None).duration == pytest.approx(1.5)


def test_leaving_early_frees_the_file(quiet_film):
    frames = iter(Section(open_source(quiet_film), 2, 9))
    next(frames)
    frames.close()
    with pytest.raises(StopIteration):
        next(frames)


@pytest.mark.parametrize("ends", [(-1, 3), (3, 3)])
def test_an_empty_section_is_refused(quiet_film, ends):
    with pytest.raises(SpecError, match="at least one frame"):
        Section(open_source(quiet_film), *ends)


def test_the_package_opens_samples_and_not_their_paths():
    # a path alone would be the whole video where only a section is meant, and a folder of frames without its rate
    package = Path(vidence.__file__).parent
    assert not [path.name for path in package.rglob("*.py") if "open_source(sample.path)" in path.read_text()]
