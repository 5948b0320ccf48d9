"""The rule of a recommendation on tables that were made to have a winner, a tie, a fraud, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vidence.errors import DataError
from vidence.evaluate import MEASURES
from vidence.evaluate.leaderboard import FEWEST
from vidence.evaluate.measured_rows import Measured
from vidence.evaluate.recommendation import CRITERIA, RANDOMISED, halves, placed, recommend, recommendation_facts
from vidence.spec import build

ASKED = {line: build(line, MEASURES) for line in (*CRITERIA, RANDOMISED)}
CLIPS = 24


def rows(maps: dict[str, tuple[float, float, int]], *, known: str = "pixels", noise: float = 0.05) -> list[Measured]:
    """Maps by (height under every criterion, likeness without weights, forward passes)."""
    rng, made = np.random.default_rng(0), []
    for clip in range(CLIPS):
        event = clip % 4 != 0
        for name, (height, alike, passes) in maps.items():
            for measure in ASKED:
                said = measure in (CRITERIA[0], RANDOMISED) or event
                value = alike if measure == RANDOMISED else height + float(rng.normal(0, noise))
                made.append(
                    Measured(
                        clip=f"c{clip:02d}",
                        first=0,
                        source="s",
                        label="cart" if event else "normal",
                        event=event,
                        known=known,
                        explainer=name,
                        control=name == "random-map",
                        measure=measure,
                        settings="{}",
                        score="logit",
                        seed=clip,
                        weights="w",
                        value=value if said else None,
                        forwards=passes,
                        gradients=0,
                    )
                )
    return made


def test_the_best_is_chosen_and_told_by_other_clips() -> None:
    held = rows({"good": (0.9, 0.1, 50), "fair": (0.6, 0.1, 1), "random-map": (0.1, 0.0, 0)})
    found = recommend(held, ASKED)
    assert (found.line, found.unbeaten, found.clips) == ("good", (), (12, 12))
    assert [each.explainer for each in found.tried] == ["good", "fair", "random-map"]
    assert found.criteria == CRITERIA
    told = found.held_out
    assert told is not None
    assert (told.beaten, told.low, told.high) == (1, 1, 1)
    assert told.gains["random-map"].mean == pytest.approx(1)
    facts = recommendation_facts(found, held, score="logit", explained="own class", weights="w", seed=0)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["explainer"] == "good"
    assert facts["clips"] == {"choosing": 12, "told_by": 12}


def test_a_map_that_needs_no_weights_is_out() -> None:
    found = recommend(rows({"edges": (0.9, 0.97, 1), "fair": (0.6, 0.1, 1), "random-map": (0.1, 0.0, 0)}), ASKED)
    assert found.line == "fair"
    alone = recommend(rows({"edges": (0.9, 0.97, 1), "random-map": (0.1, 0.0, 0)}), ASKED)
    assert alone.chosen is None
    assert alone.line is None
    assert alone.unbeaten == ("random-map",)
    with pytest.raises(DataError, match="nothing was chosen"):
        recommendation_facts(alone, [], score="logit", explained="", weights="w", seed=0)


def test_a_map_that_is_turned_upside_down_needs_no_weights_either() -> None:
    maps = {"flipped": (0.9, -0.97, 1), "fair": (0.6, 0.1, 1), "random-map": (0.1, 0.0, 0)}
    found = recommend(rows(maps), ASKED)
    assert found.line == "fair"
    assert {each.explainer: each.alike for each in found.tried}["flipped"] == pytest.approx(0.97)


def test_a_map_whose_check_failed_has_not_passed_it() -> None:
    held = rows({"edges": (0.9, 0.1, 1), "fair": (0.6, 0.1, 1), "random-map": (0.1, 1.0, 0)})
    unchecked = [
        replace(row, value=None, refused="no memory") if (row.explainer, row.measure) == ("edges", RANDOMISED) else row
        for row in held
    ]
    assert (recommend(held, ASKED).line, recommend(unchecked, ASKED).line) == ("edges", "fair")
    weightless = [replace(row, value=None) if row.measure == RANDOMISED else row for row in held]
    assert recommend(weightless, ASKED).line == "edges"


def test_few_clips_recommend_nothing() -> None:
    held = rows({"good": (0.9, 0.1, 50), "random-map": (0.1, 0.0, 0)}, noise=0.0)
    for clips in (1, 3, 2 * FEWEST - 2, 2 * FEWEST):
        some = [row for row in held if row.seed < clips]
        if clips == 1:
            with pytest.raises(DataError, match="Take more clips"):
                recommend(some, ASKED)
            continue
        found = recommend(some, ASKED)
        assert found.chosen == "good"
        assert found.line == ("good" if clips == 2 * FEWEST else None)


def test_a_tie_goes_to_the_cheaper() -> None:
    held = rows({"dear": (0.8, 0.1, 100), "cheap": (0.8, 0.1, 2), "random-map": (0.1, 0.0, 0)}, noise=0.0)
    assert recommend(held, ASKED).line == "cheap"


def test_nothing_that_beats_the_controls_is_nothing() -> None:
    found = recommend(rows({"one": (0.5, 0.1, 1), "two": (0.5, 0.1, 1), "random-map": (0.5, 0.0, 0)}), ASKED)
    assert found.chosen is not None
    assert found.unbeaten == ("random-map",)
    assert found.line is None


def test_criteria_are_those_that_the_truth_allows() -> None:
    maps = {"good": (0.9, 0.1, 1), "random-map": (0.1, 0.0, 0)}
    assert recommend(rows(maps, known="frames"), ASKED).criteria == CRITERIA[:2]
    with pytest.raises(DataError, match="can be measured"):
        placed([], ASKED)


def test_halves_share_no_source_and_hold_every_class() -> None:
    held = rows({"good": (0.9, 0.1, 1)})
    first, second = halves(held, seed=2)
    assert not {row.clip for row in first} & {row.clip for row in second}
    assert {row.label for row in first} == {row.label for row in second} == {"cart", "normal"}
    assert len(first) + len(second) == len(held)
    assert {row.clip for row in halves(held, seed=3)[0]} != {row.clip for row in first}
    few = [replace(row, clip="one", first=int(row.clip[1:])) for row in held]
    one, other = halves(few)
    assert len({row.window for row in one}) == len({row.window for row in other}) == CLIPS / 2


def test_halves_share_no_group_of_sources() -> None:
    held = rows({"good": (0.9, 0.1, 1)})
    groups = {row.clip: f"camera {int(row.clip[1:]) // 3}" for row in held}
    first, second = ({groups[row.clip] for row in half} for half in halves(held, groups=groups, seed=2))
    assert (len(first), len(second)) == (4, 4)
    assert not first & second
    one, other = ({row.clip for row in half} for half in halves(held, groups=dict.fromkeys(groups, "one"), seed=2))
    assert (len(one), len(other)) == (CLIPS / 2, CLIPS / 2)


def test_halves_have_as_many_clips_where_groups_are_of_many_sizes() -> None:
    held = rows({"good": (0.9, 0.1, 1)})
    sizes = (8, 4, 4, 2, 2, 1, 1, 1, 1)
    names = [f"camera {i}" for i, size in enumerate(sizes) for _ in range(size)]
    clips = list(dict.fromkeys(row.clip for row in held))
    for seed in range(8):
        halved = halves(held, groups=dict(zip(clips, names, strict=True)), seed=seed)
        labels = [{row.clip: row.label for row in half} for half in halved]
        assert [len(each) for each in labels] == [CLIPS / 2, CLIPS / 2]
        assert all(1 <= sum(label == "normal" for label in each.values()) <= 5 for each in labels)


def test_the_share_of_maps_that_are_beaten() -> None:
    held = rows({"a": (0.9, 0.1, 1), "b": (0.6, 0.1, 1), "c": (0.3, 0.1, 1), "random-map": (0.0, 0.1, 0)}, noise=0.01)
    found, _ = placed(held, ASKED)
    assert [(each.explainer, pytest.approx(each.beaten)) for each in found] == [
        ("a", 1), ("b", 2 / 3), ("c", 1 / 3), ("random-map", 0),
    ]  # fmt: skip
