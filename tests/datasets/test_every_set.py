"""What every listed set must pass, on a look-alike of its layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from vidence.datasets import DATASETS, Published
from vidence.datasets.dataset import PARTS, Sample
from vidence.datasets.opened import open_dataset
from vidence.errors import DataError

PUBLISHED = [key for key, kind in DATASETS.items() if issubclass(kind, Published)]


def groups(samples: list[Sample]) -> set[str]:
    return {sample.group for sample in samples}


@pytest.mark.parametrize("key", DATASETS)
def test_parts_are_disjoint_and_normal_where_they_must_be(key, lay_out):
    made = open_dataset(key, root=lay_out(key))
    for seed in (0, 1):
        train, val, test = made.normal_split(seed)
        assert train
        assert val
        assert test
        assert {sample.label for sample in train + val} <= set(made.normal)
        assert len(groups(train) | groups(val) | groups(test)) == sum(len(groups(part)) for part in (train, val, test))
        assert len({(one.path, one.frames) for one in train + val + test}) == len(train + val + test)
        assert {sample.label for sample in test} - set(made.normal), "the test holds anomalies"
        assert made.normal_split(seed) == (train, val, test)
    assert [made.split(name, seed=1) for name in PARTS] == [train, val, test] or key not in PUBLISHED
    parts = [groups(made.split(name)) for name in PARTS]
    assert len(set.union(*parts)) == sum(map(len, parts))
    with pytest.raises(DataError, match="train, val, test"):
        made.split("dev")


@pytest.mark.parametrize("key", DATASETS)
def test_the_truth_covers_every_frame(key, lay_out):
    made = open_dataset(key, root=lay_out(key))
    train, val, test = made.normal_split()
    for sample in [train[0], val[0], *test]:
        source = sample.open()
        frames = sum(1 for _ in source)
        truth = made.truth(sample, frames)
        assert truth.anomalous.shape == (frames,)
        assert truth.anomalous.dtype == bool
        assert truth.anomalous.any() == (sample.label not in made.normal)
        if truth.masks is not None:
            assert truth.masks.shape == (frames, *source.size)
            assert truth.masks.dtype == bool
            assert np.array_equal(truth.masks.any(axis=(1, 2)), truth.anomalous)
        if sample.mask is not None:
            with pytest.raises(DataError, match=f"{frames + 1} (frames|for)"):
                made.truth(sample, frames + 1)


@pytest.mark.parametrize("key", PUBLISHED)
def test_an_empty_root_says_what_is_missing_and_where_to_get_it(key, tmp_path):
    made = DATASETS[key](str(tmp_path))
    for ask in (made.samples, made.normal_split, lambda: made.split("test")):
        with pytest.raises(DataError, match=r"is missing in .*Get the set from") as caught:
            ask()
        assert made.origin in str(caught.value)
        assert made.layout in str(caught.value)


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_folder_of_an_archive_and_what_systems_leave_in_folders_change_nothing(key, lay_out, tmp_path_factory):
    def listed(root: Path) -> list[tuple[str, str, str, bool]]:
        made = open_dataset(key, root=root).samples()
        return [(Path(one.path).name, one.label, one.group, one.mask is None) for one in made]

    root, outer = lay_out(key), tmp_path_factory.mktemp("unpacked")
    plain = listed(root)
    shutil.copytree(root, outer / "archive-1.0" / "set")
    for folder in [outer, *(one for one in outer.rglob("*") if one.is_dir())]:
        for name in [".DS_Store", "Thumbs.db", *(f"._{file.name}" for file in folder.iterdir())]:
            (folder / name).write_bytes(b"left behind")
    assert listed(outer) == plain


@pytest.mark.parametrize("key", DATASETS)
def test_crop_and_channels_fit(key, lay_out):
    kind = DATASETS[key]
    assert kind.channels in (1, 3)
    assert kind.crop == {
        "ucsd-ped1": (14, 8, 144, 204),
        "ucsd-ped2": (80, 0, 160, 360),
        "avenue": (60, 0, 300, 640),
        "subway-entrance": (64, 8, 280, 488),
        "subway-exit": (64, 8, 280, 488),
    }.get(key)
    assert (kind.channels == 1) == key.startswith(("ucsd", "subway"))
