import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidence.datasets import DATASETS, Dataset, FightSurv
from vidence.datasets.dataset import (
    PARTS,
    Sample,
    classes_of,
    digest,
    digest_parts,
    normal_classes,
    split,
    split_normal,
)
from vidence.errors import DataError


def made(counts: dict[str, dict[str, int]]) -> list[Sample]:
    return [
        Sample(f"{group}/{label}/{i}", label, group)
        for group, labels in counts.items()
        for label, n in labels.items()
        for i in range(n)
    ]


def sides(parts: dict[str, list[Sample]]) -> dict[str, set[str]]:
    return {part: {sample.group for sample in inside} for part, inside in parts.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 30).map(str),
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
        min_size=3,
        max_size=20,
    ),
    st.integers(0, 5),
)
def test_a_split_is_disjoint_complete_and_keeps_groups_together(counts, seed):
    samples = made(counts)
    parts = split(samples, seed=seed)
    assert list(parts) == list(PARTS)
    assert sorted(sample.path for inside in parts.values() for sample in inside) == sorted(s.path for s in samples)
    train, val, test = sides(parts).values()
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert all(parts.values()), "no part is empty"


def test_without_groups_each_label_comes_to_its_share():
    samples = [Sample(f"{label}{i}", label, f"{label}{i}") for label, n in (("a", 60), ("b", 20)) for i in range(n)]
    parts = split(samples, seed=1)
    found = {part: [sum(s.label == label for s in inside) for label in "ab"] for part, inside in parts.items()}
    assert found == {"train": [42, 14], "val": [9, 3], "test": [9, 3]}


def test_every_part_holds_every_label_when_there_are_three_clips_a_class():
    samples = [Sample(f"{label}{i}", label, f"{label}{i}") for label in "abc" for i in range(3)]
    for seed in range(5):
        assert all(classes_of(inside) == ("a", "b", "c") for inside in split(samples, seed=seed).values())


def test_a_split_follows_the_seed_and_not_the_order():
    samples = made({str(i): {"a": 2, "b": 1} for i in range(20)})
    backwards = split(samples[::-1], seed=3)
    assert split(samples, seed=3) == backwards
    assert split(samples, seed=4) != backwards


def test_a_split_needs_a_group_for_each_part():
    with pytest.raises(DataError, match=r"at least 3 groups.*got 2 with 10 samples"):
        split(made({"x": {"a": 5}, "y": {"b": 5}}))


def test_shares_must_be_positive():
    with pytest.raises(DataError, match="positive shares"):
        split(made({"x": {"a": 5}}), parts={"train": 1.0, "test": 0.0})


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["fight", "normal"], ("normal",)),
        (["Normal", "fight"], ("Normal",)),
        (["fight", "nofight"], ("nofight",)),
        (["fight", "noFight"], ("noFight",)),
        (["fight", "no_fight"], ("no_fight",)),
        (["NoEvent", "theft"], ("NoEvent",)),
        (["none", "theft"], ("none",)),
        (["blowhole", "free"], ("free",)),
        (["GOOD", "nose", "noise"], ("GOOD",)),
        (["crack", "good", "normal"], ("good", "normal")),
    ],
)
def test_normal_classes_by_their_names(classes, expected):
    assert normal_classes(classes, None) == expected


def test_normal_classes_that_were_asked_for_win_over_names():
    assert normal_classes(["normal", "walk", "run"], ["walk"]) == ("walk",)


@pytest.mark.parametrize(
    ("classes", "asked", "message"),
    [
        (["nose", "ear"], None, "the classes are: nose, ear.*--normal"),
        (["a", "b"], ["c"], "among: a, b; got c"),
        (["a", "b"], ["a", "b"], "at least one class must not be normal"),
        (["good", "normal"], None, "all count as normal"),
    ],
)
def test_normal_classes_that_cannot_be(classes, asked, message):
    with pytest.raises(DataError, match=message):
        normal_classes(classes, asked)


def test_the_digest_knows_bytes_and_labels_but_not_places(tmp_path):
    import cv2

    names = [tmp_path / place for place in ("a.png", "b.png", "c.png")]
    for level, name in zip((10, 200, 10), names, strict=True):
        cv2.imwrite(str(name), np.full((8, 8, 3), level, np.uint8))
    first, second, twin = (Sample(str(name), "x", "g") for name in names)
    assert digest([first, second]) == digest([second, twin])
    assert digest([first]) != digest([second])
    assert digest([first]) != digest([dataclasses.replace(first, label="y")])
    assert digest([first]) != digest([first, twin])


def test_the_digests_of_parts_tell_who_is_where_and_the_whole_does_not(tmp_path):
    import cv2

    for level in (10, 100, 200):
        cv2.imwrite(str(tmp_path / f"{level}.png"), np.full((8, 8, 3), level, np.uint8))
    dark, grey, light = (Sample(str(tmp_path / f"{level}.png"), "x", "g") for level in (10, 100, 200))
    whole, parts = digest_parts({"train": [dark, grey], "val": [light]})
    assert (whole, parts) == (digest([light, dark, grey]), {"train": digest([dark, grey]), "val": digest([light])})
    assert digest_parts({"train": [light, grey], "val": [dark]})[0] == whole


def test_the_registry_lists_data_sets():
    assert all(issubclass(made, Dataset) for made in DATASETS.values())


@pytest.mark.data
def test_fight_surv_keeps_each_source_video_on_one_side(shared_data):
    made = FightSurv(str(shared_data / "fight_surv"))
    samples = made.samples()
    assert len(samples) == 217
    assert classes_of(samples) == ("fight", "nofight")
    assert normal_classes(classes_of(samples)) == ("nofight",)
    parts = {name: made.split(name) for name in PARTS}
    train, val, test = sides(parts).values()
    assert len(train | val | test) == len(train) + len(val) + len(test) == 32
    assert 0.6 < len(parts["train"]) / 217 < 0.8
    with pytest.raises(DataError, match="train, val, test"):
        made.split("dev")


def test_fight_surv_says_what_it_needs(tmp_path):
    with pytest.raises(DataError, match=r"no clips\.csv"):
        FightSurv(str(tmp_path)).samples()


def test_anomalies_go_to_the_test_whole_groups_at_a_time():
    samples = made({f"calm{i}": {"ok": 4} for i in range(20)} | {f"bad{i}": {"ok": 1, "crack": 2} for i in range(4)})
    train, val, test = split_normal(samples, ["ok"], seed=2)
    assert {sample.label for sample in train + val} == {"ok"}
    assert sum(sample.label == "crack" for sample in test) == 8
    assert [len(part) for part in (train, val, test)] == [56, 12, 12 + 12]


def test_where_every_group_has_an_anomaly_some_anomalies_are_left_out():
    samples = made({str(i): {"ok": 5, "crack": 5} for i in range(20)} | {"only": {"crack": 3}})
    parts = split_normal(samples, ["ok"])
    train, val, test = ({sample.group for sample in part} for part in parts)
    assert (len(train), len(val), len(test)) == (14, 3, 4)
    assert len(train | val | test) == 21
    assert {sample.label for sample in parts[0] + parts[1]} == {"ok"}
    assert sum(sample.label == "crack" for sample in parts[2]) == 3 * 5 + 3


def test_a_set_of_normal_samples_only_has_no_test():
    train, val, test = split_normal(made({str(i): {"ok": 1} for i in range(20)}), ["ok"])
    assert (len(train) + len(val), test) == (20, [])
    assert len(val) in (3, 4)
    with pytest.raises(DataError, match="at least 2 groups"):
        split_normal(made({"a": {"ok": 5}, "b": {"crack": 1}}), ["ok"])
