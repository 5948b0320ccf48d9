"""The presets are what docs/detectors.md says they are."""

from pathlib import Path

import pytest
import torch

from vidence.training.clips import STRIDES
from vidence.training.recipes_normal import NORMAL_RECIPES, NormalRecipe
from vidence.training.schedule import Schedule

DOCS = Path(__file__).resolve().parents[2] / "docs" / "detectors.md"


def test_all_follow_the_thesis_in_what_it_says() -> None:
    for recipe in NORMAL_RECIPES.values():
        held = recipe.schedule
        assert (held.rate, held.plateau, held.factor, held.patience) == (1e-3, 4, 0.75, None)
        assert recipe.strides == STRIDES == (1, 2, 4, 8, 16)
    assert NORMAL_RECIPES["thesis"].schedule.epochs == 300


def test_text_and_code_take_all_strides_in_large_batches() -> None:
    for name in ("thesis", "released"):
        recipe = NORMAL_RECIPES[name]  # type: ignore[index]
        assert (recipe.schedule.batch, recipe.clips) == (256, 32)
        assert recipe.strides_for(alone=False) == (1, 2, 4, 8, 16)
        assert recipe.strides_for(alone=True) == (2, 4, 8, 16)
    corrected = NORMAL_RECIPES["corrected"]
    assert corrected.strides_for(alone=True) == corrected.strides_for(alone=False) == STRIDES


def test_only_the_released_recipe_adds_noise_and_leaks() -> None:
    released = NORMAL_RECIPES["released"]
    assert (released.noise, released.noisy, released.leaked, released.weights) == (0.1, 0.5, 0.1, (1.0, 1.0))
    assert (released.schedule.decay, released.schedule.plateau_threshold) == (1e-5, 5e-5)
    assert "10% of the training clips" in released.validation
    assert "their own frames are trained on" in released.validation
    for name in ("corrected", "thesis"):
        recipe = NORMAL_RECIPES[name]  # type: ignore[index]
        assert (recipe.noise, recipe.leaked, recipe.schedule.decay, recipe.validation) == (0, 0, 0, "split by video")


def test_noise_falls_on_a_share_of_the_values() -> None:
    x = torch.full((4, 1, 8, 64, 64), 0.5)
    torch.manual_seed(0)
    added = NORMAL_RECIPES["released"].noised(x) - x
    touched = added != 0
    assert float(touched.float().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(added[touched].std()) == pytest.approx(0.1, rel=0.02)
    assert NormalRecipe(Schedule()).noised(x) is x


@pytest.mark.parametrize("name", list(NORMAL_RECIPES))
def test_the_docs_have_a_row(name: str) -> None:
    recipe = NORMAL_RECIPES[name]  # type: ignore[index]
    (row,) = (line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| {recipe.schedule.epochs} |" in row
    assert ("leak" in row) == bool(recipe.leaked) == ("frames are trained on at other strides:" in row)
    assert f"| {recipe.schedule.batch} frames or {recipe.clips} clips |" in row
    assert ("| all strides |" in row) == recipe.all_strides == ("| one stride a video |" not in row)
