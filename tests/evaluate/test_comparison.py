"""A comparison measures every map once, beside the controls, keeps what it has, and goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidence.attribution import AttentionRollout, GradCAM, Gradient
from vidence.attribution.explainer import Attributions, Explainer
from vidence.datasets.folder import Folder
from vidence.errors import DataError, ExplainError
from vidence.evaluate.comparison import Comparison, clip_seed, compare, not_refused
from vidence.evaluate.comparison_files import of_comparison
from vidence.evaluate.controls import CONTROLS
from vidence.evaluate.explained_clips import KnownClip, known_clips, sampled
from vidence.evaluate.leaderboard import leaderboard
from vidence.evaluate.measure import Case, Measure
from vidence.evaluate.measured_rows import MeasuredRows
from vidence.evaluate.pooled_maps import PooledMaps, pooled
from vidence.models.classifier_detector import ClassifierDetector
from vidence.scoring.scores import Contrast, Logit


@pytest.fixture(scope="module")
def clips(classifier: ClassifierDetector, marked_set: Folder) -> list[KnownClip]:
    places = sampled(classifier, marked_set, marked_set.samples(), 3)
    return list(known_clips(classifier, marked_set, places))


@pytest.fixture
def asked(classifier: ClassifierDetector, toys: dict[str, Measure]) -> Comparison:
    return Comparison(classifier, {"gradient": Gradient(), "grad-cam": GradCAM()}, toys, None, seed=3)


class Held:
    """The files of one comparison."""

    def __init__(self, folder: Path, asked: Comparison) -> None:
        self.rows = MeasuredRows(folder / "measures.csv")
        self.maps = PooledMaps(folder / "maps", asked.detector.weights_digest, asked.seed)


def test_every_map_gets_every_measure(asked: Comparison, clips: list[KnownClip], tmp_path: Path) -> None:
    held = Held(tmp_path, asked)
    seen: list[tuple[str, np.ndarray]] = []
    compare(asked, clips, held.rows, held.maps, on_map=lambda known, line, values: seen.append((line, values)))
    assert len(held.rows) == 3 * 2 * (2 + len(CONTROLS))
    assert len(seen) == 3 * (2 + len(CONTROLS))
    for row in held.rows:
        known = next(each for each in clips if each.clip.ref.digest == row.clip)
        assert row.control == (row.explainer in CONTROLS)
        assert row.seed == clip_seed(3, row.clip, row.first)
        assert row.score == (f"logit(class='{row.label}')" if row.event else row.score)
        assert (row.value is None) == (row.measure == "inside" and not row.event)
        assert row.refused == ""
        assert json.loads(row.settings) == asked.measures[row.measure].settings
        if row.explainer == "gradient" and row.value is not None:
            target = Logit(asked.detector.classes.index(row.score.split("'")[1]))
            values = Gradient()(asked.network, known.x, target)[0].numpy()
            case = Case(asked.network, known.x, target, Gradient(), values, mask=known.mask, seed=row.seed)
            assert row.value == pytest.approx(asked.measures[row.measure](case), rel=1e-4)
            assert (row.forwards, row.gradients) == (1, 1)
    assert {row.layer != "" for row in held.rows if row.explainer == "grad-cam"} == {True}


def test_what_is_there_is_not_measured_again(asked: Comparison, clips: list[KnownClip], tmp_path: Path) -> None:
    first = Held(tmp_path, asked)
    compare(asked, clips[:2], first.rows, first.maps)
    text = first.rows.path.read_text()
    again, drawn = Held(tmp_path, asked), []
    compare(asked, clips, again.rows, again.maps, on_map=lambda known, line, values: drawn.append(known.clip.ref))
    assert again.rows.path.read_text().startswith(text)
    assert {ref.digest for ref in drawn} == {clips[2].clip.ref.digest}
    assert [row.key for row in again.rows] == list(dict.fromkeys(row.key for row in again.rows))


def test_another_score_or_seed_in_the_same_file_is_another_comparison(
    asked: Comparison, clips: list[KnownClip], tmp_path: Path
) -> None:
    held = Held(tmp_path, asked)
    others = (asked, replace(asked, score=("contrast", Contrast())), replace(asked, seed=4))
    targets = [compare(each, clips[:2], held.rows, held.maps) for each in others]
    parts = [of_comparison(held.rows, *each) for each in zip(others, targets, strict=True)]
    assert {len(part) for part in parts} == {len(held.rows) // 3}
    assert {row.score for row in parts[1]} == {"contrast"}
    assert {row.seed for row in parts[2]} == {clip_seed(4, clip, first) for clip, first in targets[2]}
    assert {row.key for part in parts for row in part} == {row.key for row in held.rows}


def test_a_stop_in_the_middle_of_a_line_loses_that_line(
    asked: Comparison, clips: list[KnownClip], tmp_path: Path
) -> None:
    held = Held(tmp_path, asked)
    compare(asked, clips[:1], held.rows, held.maps)
    whole = held.rows.path.read_bytes()
    held.rows.path.write_bytes(whole[:-20])
    torn = Held(tmp_path, asked)
    assert len(torn.rows) == len(held.rows) - 1
    compare(asked, clips[:1], torn.rows, torn.maps)
    assert len(MeasuredRows(held.rows.path)) == len(held.rows)
    held.rows.path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="its columns are others"):
        Held(tmp_path, asked)


@dataclass(frozen=True)
class Broken(Explainer):
    error: BaseException

    def explain_clip(self, model: torch.nn.Module, x: torch.Tensor, score: object) -> Attributions:
        raise self.error


@dataclass(frozen=True)
class Unmeasurable(Measure):
    aspect = "complexity"

    def of(self, case: Case) -> float:
        raise IndexError("no such cell")


def test_whatever_an_explainer_or_a_measure_raises_the_others_go_on(
    asked: Comparison, clips: list[KnownClip], toys: dict[str, Measure], tmp_path: Path
) -> None:
    broken = {"broken": Broken(TypeError("no such argument")), "gradient": Gradient()}
    trial = Comparison(asked.detector, broken, {**toys, "unmeasurable": Unmeasurable()}, None)
    held = Held(tmp_path, trial)
    compare(trial, clips[:1], held.rows, held.maps)
    said = {(row.explainer, row.measure): row for row in MeasuredRows(held.rows.path)}
    assert said["broken", "inside"].refused == "failed: TypeError: no such argument"
    assert said["gradient", "unmeasurable"].refused == "failed: IndexError: no such cell"
    assert said["gradient", "inside"].value is not None
    found = leaderboard(held.rows, trial.measures)
    assert {each.explainer for each in found if each.failed and each.measure == "inside"} == {"broken"}
    for stop in (MemoryError(), KeyboardInterrupt()):
        with pytest.raises(type(stop)):
            compare(replace(trial, explainers={"broken": Broken(stop)}, seed=9), clips[:1], held.rows, held.maps)


def test_a_refusal_is_a_row_with_its_reason(
    asked: Comparison, clips: list[KnownClip], toys: dict[str, Measure], tmp_path: Path
) -> None:
    trial = Comparison(
        asked.detector,
        {"broken": Broken(RuntimeError("out of memory,\nor worse")), "attention-rollout": AttentionRollout()},
        toys,
        None,
    )
    held = Held(tmp_path, trial)
    compare(trial, clips[:1], held.rows, held.maps)
    said = {row.explainer: row.refused for row in MeasuredRows(held.rows.path) if not row.control}
    assert said["broken"] == "failed: RuntimeError: out of memory, or worse"
    assert "attention" in said["attention-rollout"]
    assert len([row for row in held.rows if row.value is not None]) == 2 * len(CONTROLS)
    kept, refused = not_refused(trial, clips[0])
    assert list(kept) == ["broken"]
    assert list(refused) == ["attention-rollout"]
    ref = clips[0].clip.ref
    assert set(held.maps.of((ref.digest, ref.first), ["broken", "centre-map"], _line(held))) == {"centre-map"}


def _line(held: Held) -> str:
    return next(iter(held.rows)).score


def test_what_is_explained(asked: Comparison, clips: list[KnownClip]) -> None:
    loud = next(known for known in clips if known.event)
    line, score = asked.target(loud)
    assert line == f"logit(class='{loud.label}')"
    output = asked.network(loud.x).detach()
    assert float(score(output, loud.x)) == float(output[0, asked.detector.classes.index(loud.label)])
    quiet = next(known for known in clips if not known.event)
    assert asked.target(quiet)[0].split("'")[1] in ("cart", "cyclist")
    contrast = Comparison(asked.detector, {}, {}, ("contrast", Contrast()))
    _, held = contrast.target(loud)
    order = output[0].argsort(descending=True)
    moved = output.roll(1, dims=1)  # the classes that are held do not follow the output
    assert float(held(moved, loud.x)) == pytest.approx(float(moved[0, order[0]] - moved[0, order[1]]))


def test_a_network_in_training_mode_is_looked_at_without_learning(
    asked: Comparison, clips: list[KnownClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = torch.nn.Sequential(
        torch.nn.BatchNorm3d(3), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(3, 4)
    )
    monkeypatch.setattr(asked.detector, "network", network)
    before = network[0].running_mean.clone()
    asked.target(clips[0])
    assert torch.equal(network[0].running_mean, before)
    assert network[0].training


def test_a_detector_without_a_network_is_refused(asked: Comparison) -> None:
    class Bare:
        network = None
        spec = "random"

    with pytest.raises(ExplainError, match="has none"):
        _ = Comparison(Bare(), {}, {}, None).network


def test_pooling_is_an_average_over_cells() -> None:
    values = np.random.default_rng(0).random((2, 32, 48), np.float32)
    found = pooled(values)
    assert found.shape == (2, 16, 16)
    assert found[1, 2, 3] == pytest.approx(values[1, 4:6, 9:12].mean(), rel=1e-5)
    assert (pooled(values[:, :8, :8]) == values[:, :8, :8]).all()
