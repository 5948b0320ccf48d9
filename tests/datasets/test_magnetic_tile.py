import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vidence.datasets.magnetic_tile import MagneticTile, tile_groups
from vidence.errors import DataError


def test_a_tile_ends_where_exposures_start_again_or_numbers_jump():
    names = ["exp1_num_1000", "exp2_num_1004", "exp6_num_1020", "exp2_num_1030", "exp3_num_1200", "exp1_num_1201"]
    groups = tile_groups(names[::-1])
    assert [groups[name] - groups[names[0]] for name in names] == [0, 0, 0, 1, 2, 3]
    with pytest.raises(DataError, match="named like exp1_num_108719; got 'tile7'"):
        tile_groups(["tile7"])


def test_a_mask_that_is_missing_is_named(lay_out):
    root = lay_out("magnetic-tile")
    (root / "MT_Crack" / "Imgs" / "exp3_num_2003.png").unlink()
    with pytest.raises(DataError, match=r"the mask of Imgs/exp3_num_2003\.jpg"):
        MagneticTile(str(root)).samples()


def test_without_free_tiles_there_is_nothing_to_learn(lay_out):
    root = lay_out("magnetic-tile")
    (root / "MT_Free").rename(root / "MT_Fray")
    with pytest.raises(DataError, match="the class free is missing"):
        MagneticTile(str(root)).samples()


@pytest.mark.data
def test_the_real_set(shared_data):
    root = shared_data / "magnetic_tile"
    made = MagneticTile(str(root))
    samples = made.samples()
    counts = {"free": 952, "blowhole": 115, "uneven": 103, "break": 85, "crack": 57, "fray": 32}
    assert Counter(sample.label for sample in samples) == counts
    with (root / "index.csv").open() as file:
        listed = {row["name"]: row["tile_group"] for row in csv.DictReader(file)}
    pairs = {(sample.group, listed[Path(sample.path).stem]) for sample in samples}
    assert len(pairs) == len(set(listed.values())) == 263, "the groups are those of the index"
    train, val, test = made.normal_split()
    sides = [{sample.group for sample in part} for part in (train, val, test)]
    assert len(set.union(*sides)) == sum(map(len, sides))
    found = Counter(sample.label for sample in test)
    assert all(found[label] == n for label, n in counts.items() if label != "free")
    assert 0.1 < found["free"] / 952 < 0.25


@pytest.mark.data
def test_a_real_mask_fits_its_picture(shared_data):
    made = MagneticTile(str(shared_data / "magnetic_tile"))
    cracks = [sample for sample in made.samples() if sample.label == "crack"][:5]
    for sample in cracks:
        truth = made.truth(sample, 1)
        assert truth.masks is not None
        assert truth.masks.shape == (1, *sample.open().size)
        assert 0 < np.mean(truth.masks) < 0.2
