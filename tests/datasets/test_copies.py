"""The same bytes under two names are never dealt to two sides."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vidence.datasets import Folder
from vidence.datasets.copies import copies_together
from vidence.datasets.dataset import PARTS, Sample

Make = Callable[..., Sample]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(name: str, held: bytes | dict[str, bytes], group: str | None = None) -> Sample:
        path = tmp_path / name
        for inner, content in ({"": held} if isinstance(held, bytes) else held).items():
            (path / inner).parent.mkdir(parents=True, exist_ok=True)
            (path / inner).write_bytes(content)
        return Sample(str(path), "x", group or name)

    return made


def groups(*samples: Sample) -> list[str]:
    return [sample.group for sample in copies_together(samples)]


def test_copies_are_of_one_group_whatever_their_names(make: Make) -> None:
    assert groups(make("b", b"one"), make("c", b"two"), make("a", b"one"), make("d", b"longer")) == ["a", "c", "a", "d"]


def test_groups_that_share_a_copy_become_one_over_any_number_of_steps(make: Make) -> None:
    held = (("1", b"a", "p"), ("2", b"b", "p"), ("3", b"b", "q"), ("4", b"c", "q"), ("5", b"c", "r"), ("6", b"d", "s"))
    assert groups(*(make(*each) for each in held)) == ["p", "p", "p", "p", "p", "s"]


def test_folders_of_frames_are_copies_if_all_frames_are(make: Make) -> None:
    first = make("first", {"1.png": b"a", "2.png": b"b"})
    same = make("same", {"1.png": b"a", "2.png": b"b", ".hidden": b"c"})
    turned = make("turned", {"1.png": b"b", "2.png": b"a"})
    assert groups(first, same, turned, make("whole", b"ab")) == ["first", "first", "turned", "whole"]


def test_no_copy_is_dealt_to_two_sides_of_own_data(make: Make, tmp_path: Path) -> None:
    for label in ("fight", "normal"):
        for number in range(6):
            for name in ("original", "copied"):
                make(f"set/{label}/{name}{number}.mp4", f"{label}{number}".encode())
    data = Folder(str(tmp_path / "set"))
    parts = [[Path(sample.path).read_bytes() for sample in data.split(part)] for part in PARTS]
    assert sum(map(len, parts)) == 24
    assert sum(len(set(part)) for part in parts) == len(set().union(*parts)) == 12
