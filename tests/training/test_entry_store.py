"""Entries that several threads or processes write at once, as sources of the same content make them do."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from vidence.errors import DataError
from vidence.training.entry_store import Entry, EntryStore

NAME = "ab" * 32


def test_sources_of_the_same_content_make_one_entry_side_by_side(tmp_path: Path) -> None:
    store, both = EntryStore(tmp_path), Barrier(2)
    entry = Entry(np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(3.0))

    def parts(_: int) -> Iterator[Entry]:
        both.wait(10)
        yield entry
        both.wait(10)  # both have written all, neither file has its name

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda number: store.write(NAME, parts(number)), range(2)))
    for each in (*made, store.read(NAME)):
        assert each is not None
        np.testing.assert_array_equal(each.x, entry.x)
        np.testing.assert_array_equal(each.times, entry.times)
    assert sorted(file.suffix for file in tmp_path.rglob("*") if file.is_file()) == [".npy", ".times"]


def test_an_entry_that_another_process_made_meanwhile_stays(tmp_path: Path) -> None:
    store, entry = EntryStore(tmp_path), Entry(np.zeros((3, 4), np.uint8), np.arange(3.0))

    def parts() -> Iterator[Entry]:
        yield entry
        store.write(NAME, [entry])

    store.write(NAME, parts())
    assert store.read(NAME) is not None


def test_a_source_without_rows_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none"):
        EntryStore(tmp_path).write(NAME, [])
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
