"""Every listed measure: a known value, the same twice, nothing left on the model, and truth that beats chance."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from linear_clip import Linear
from vidence import spec
from vidence.attribution import Gradient
from vidence.attribution.explainer import Attributions, Explainer
from vidence.datasets.synthetic import Synthetic
from vidence.errors import DataError, ExplainError
from vidence.evaluate import MEASURES
from vidence.evaluate.controls import CentreMap, FrameDifference, RandomMap
from vidence.evaluate.measure import Case
from vidence.scoring.scores import Logit
from vidence.testing import assert_no_residue
from zoo import Folded

T, H, W = 4, 8, 8
CELLS = {"fill": 0, "grid": 4}  # black behind them, so that what a pixel adds to a linear score is what it loses
WORTH = torch.rand(T, H, W, generator=torch.Generator().manual_seed(0)) + 0.5
TRUTH = [key for key, measure in MEASURES.items() if measure.needs_truth]


def event() -> np.ndarray:
    """A box in the last two frames: a sixteenth of the volume."""
    mask = np.zeros((T, H, W), bool)
    mask[2:, 2:6, 3:5] = True
    return mask


def even() -> Case:
    """Every pixel adds as much to the score, and the map says so."""
    x = torch.full((1, 3, T, H, W), 0.5)
    return Case(Linear(torch.ones(T, H, W)), x, Logit(0), Gradient(), np.ones((T, H, W), np.float32))


def exact() -> Case:
    """The map is what each pixel adds to the score."""
    x = torch.rand(1, 3, T, H, W, generator=torch.Generator().manual_seed(1))
    return Case(Linear(WORTH), x, Logit(0), Gradient(), (WORTH * x[0].mean(dim=0)).numpy())


def perfect() -> Case:
    """The map is the mask."""
    x = torch.rand(1, 3, T, H, W, generator=torch.Generator().manual_seed(1))
    return Case(nn.Identity(), x, Logit(0), Gradient(), event().astype(np.float32), mask=event())


def drawn_by(explainer: Explainer) -> Callable[[], Case]:
    """The explainer's own map of a network."""

    def made() -> Case:
        torch.manual_seed(0)
        model, x = Folded().eval(), torch.rand(1, 3, T, 14, 12)
        return Case(model, x, Logit(0), explainer, explainer(model, x, Logit(0))[0].numpy())

    return made


def still() -> Case:
    """A map that stands still over a picture that does."""
    values = WORTH[:1].numpy().repeat(T, axis=0)
    return Case(Linear(WORTH), torch.full((1, 3, T, H, W), 0.5), Logit(0), Gradient(), values)


def moving() -> Case:
    """A map that stands still over a picture that does not."""
    return drawn_by(CentreMap())()


# key -> settings, case, value
KNOWN: dict[str, tuple[dict[str, Any], Callable[[], Case], float | None]] = {
    "abpc": (CELLS, even, 0.0),
    "aopc": (CELLS | {"share": 0.25, "steps": 4}, even, 0.125),
    "average-sensitivity": ({"n": 2}, moving, 0.0),
    "cascading-randomisation": ({"stages": 2}, moving, 1.0),
    "centroid-jerk": ({}, moving, 0.0),
    "deletion": (CELLS, even, 0.5),
    "effective-complexity": ({}, even, 1.0),
    "entropy": ({}, even, 1.0),
    "excess-flicker": ({}, moving, 0.0),
    "faithfulness-correlation": (CELLS, exact, 1.0),
    "flicker": ({}, moving, 0.0),
    "gini": ({}, even, 0.0),
    "independent-randomisation": ({"stages": 2}, moving, 1.0),
    "infidelity": ({"fill": 0}, exact, 0.0),
    "input-only": ({"shown": "motion"}, drawn_by(FrameDifference()), 1.0),
    "insertion": (CELLS, even, 0.5),
    "insertion-gain": (CELLS, even, 0.0),
    "iou": ({}, perfect, 1.0),
    "label-randomisation": ({}, moving, None),
    "mass-inside": ({}, perfect, 1.0),
    "mass-ratio": ({}, perfect, 16.0),
    "max-sensitivity": ({"n": 2}, moving, 0.0),
    "pixel-ap": ({}, perfect, 1.0),
    "pixel-auroc": ({}, perfect, 1.0),
    "pointing": ({}, perfect, 1.0),
    "pointing-frames": ({}, perfect, 1.0),
    "pro": ({}, perfect, 1.0),
    "rank-accuracy": ({}, perfect, 1.0),
    "re-run": ({}, moving, 1.0),
    "single-cell": (CELLS, exact, 1.0),
    "strongest-frame": ({}, perfect, 1.0),
    "temporal-gini": ({}, even, 0.0),
    "top-jaccard": ({"share": 0.125}, perfect, 1.0),
    "viou": ({}, perfect, 1.0),
    "warped-flicker": ({}, even, 0.0),
    "warped-spearman": ({}, still, 1.0),
}


def test_every_measure_is_in_the_table() -> None:
    assert set(KNOWN) == set(MEASURES)


@pytest.mark.parametrize("key", KNOWN)
def test_a_known_value(key: str) -> None:
    settings, case, value = KNOWN[key]
    found = MEASURES[key](**settings)(case())
    assert found == (None if value is None else pytest.approx(value, abs=1e-4))


@pytest.mark.parametrize("key", MEASURES)
def test_twice_is_the_same_and_nothing_is_left_on_the_model(key: str) -> None:
    torch.manual_seed(0)
    model, x = Folded(), torch.rand(1, 3, T, 14, 12)
    with torch.no_grad():  # its logit is 0 of a grey clip, and 1 of this one: a fall that can be measured
        grey, whole = (model.eval()(each)[0, 0] for each in (x.mean(dim=(2, 3, 4), keepdim=True).expand_as(x), x))
        model.out.weight[0] /= whole - grey
        model.out.bias[0] = (model.out.bias[0] - grey) / (whole - grey)
    model.train()  # explainers and measures must not mind
    mask = np.zeros((T, 14, 12), bool)
    mask[1, 2:6, 3:9] = True
    values = Gradient()(model, x, Logit(0))[0].numpy()
    before, state = values.copy(), torch.get_rng_state()
    measure = MEASURES[key].quick()
    with assert_no_residue(model):
        first, second = (measure(Case(model, x, Logit(0), Gradient(), values, mask=mask)) for _ in range(2))
    assert first == second
    assert first is not None or key == "label-randomisation"
    assert np.array_equal(values, before)
    assert torch.equal(torch.get_rng_state(), state), "torch's generator is the user's"


@pytest.mark.parametrize("key", MEASURES)
def test_a_line_of_text_is_a_measure_and_its_settings_can_be_stored(key: str) -> None:
    measure = MEASURES[key].quick()
    written = json.loads(json.dumps(measure.settings))
    assert MEASURES[key](**written) == measure
    assert spec.build(spec.line(measure, MEASURES), MEASURES) == measure
    assert MEASURES[key].aspect in (
        *("faithfulness", "localisation", "complexity", "stability", "consistency", "sanity"),
    )


def test_the_docs_say_which_way_is_good() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "measures.md").read_text()
    said = dict(re.findall(r"^\| `([\w-]+)` \| .+? \| (higher|lower|neither) \| .+ \|$", page, re.M))
    assert said == {key: measure.better or "neither" for key, measure in MEASURES.items()}


@pytest.fixture(scope="module")
def films() -> list[tuple[torch.Tensor, np.ndarray]]:
    """Synthetic clips with an event of two frames, and where it is."""
    settings = Synthetic(size=(48, 64), length=6, event_frames=2)
    clips = [settings.clip(label, seed) for seed in range(3) for label in ("cyclist", "cart")]
    return [(torch.from_numpy(clip.pixels).permute(3, 0, 1, 2)[None] / 255, clip.mask) for clip in clips]


@pytest.mark.parametrize("key", TRUTH)
def test_a_perfect_map_beats_a_random_one_on_the_synthetic_set(
    key: str, films: list[tuple[torch.Tensor, np.ndarray]]
) -> None:
    def mean(values_of: Callable[[torch.Tensor, np.ndarray, int], np.ndarray]) -> float:
        cases = [
            Case(nn.Identity(), x, Logit(0), Gradient(), values_of(x, mask, i), mask=mask, seed=i)
            for i, (x, mask) in enumerate(films)
        ]
        return float(np.mean([MEASURES[key]()(case) for case in cases]))

    truth = mean(lambda x, mask, i: mask.astype(np.float32))
    chance = mean(lambda x, mask, i: RandomMap(seed=i)(nn.Identity(), x, Logit(0))[0].numpy())
    assert truth > 1.5 * chance if MEASURES[key].better == "higher" else truth < chance / 1.5


@pytest.mark.parametrize("key", TRUTH)
def test_a_measure_of_truth_says_nothing_without_any(key: str) -> None:
    for mask in (None, np.zeros((T, H, W), bool)):
        case = Case(nn.Identity(), perfect().x, Logit(0), Gradient(), np.ones((T, H, W)), mask=mask)
        assert MEASURES[key]()(case) is None


@dataclass(frozen=True)
class Broken(Explainer):
    """A map with a hole."""

    def explain_clip(self, model: nn.Module, x: torch.Tensor, score: Any) -> Attributions:
        values = x.mean(dim=1)
        values[0, 0, 0, 0] = float("nan")
        return Attributions(values)


def test_a_broken_map_is_rejected_before_and_while_measuring() -> None:
    case = perfect()
    with pytest.raises(DataError, match="finite"):
        Case(case.model, case.x, case.score, case.explainer, np.full((T, H, W), np.nan), mask=event())
    asking = [key for key, each in MEASURES.items() if each.aspect in ("stability", "sanity")]
    whole = drawn_by(CentreMap())()
    broken = Case(whole.model, whole.x, whole.score, Broken(), whole.values)
    for key in set(asking) - {"input-only", "label-randomisation"}:
        with pytest.raises(ExplainError, match="finite"):
            MEASURES[key].quick()(broken)
