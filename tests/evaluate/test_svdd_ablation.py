"""The ablation: a row per cell, equal to what tuning by itself gives; resumed, chosen without labels, drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from vidence.datasets.ucsd import UcsdPed2
from vidence.errors import DataError, SpecError
from vidence.evaluate import svdd_ablation
from vidence.evaluate.embedding_plots import embedded
from vidence.evaluate.evaluation import evaluate
from vidence.evaluate.svdd_ablation import Ablation, chosen, live_aucs, write_heatmap
from vidence.models.one_class import OneClass
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.training.svdd_step import Tuner, Tuning


@pytest.fixture(scope="module")
def ablation(tiny_autoencoder: type[Any], tiny_ped2: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = tiny_autoencoder().build()
        detector.network.encoder[0][0].weight.data *= 30  # an untrained network's codes hardly differ
    return Ablation(detector, UcsdPed2(str(tiny_ped2)), tmp_path_factory.mktemp("svdd"), Tuning(batch=16))


@pytest.fixture(scope="module")
def rows(ablation: Ablation) -> list[dict[str, Any]]:
    return ablation.run([1e-4, 1e-3], [2, 4])


def test_a_row_for_the_start_and_for_every_cell(ablation: Ablation, rows: list[dict[str, Any]]) -> None:
    assert [(row["rate"], row["epochs"]) for row in rows] == [(0, 0), (1e-4, 2), (1e-4, 4), (1e-3, 2), (1e-3, 4)]
    assert rows[0]["variance_left"] == 1.0
    assert all(row["variance_left"] < 1 for row in rows[1:])


def test_a_row_is_what_tuning_gives(ablation: Ablation, rows: list[dict[str, Any]]) -> None:
    found = ablation.tuned(rows[4])
    assert isinstance(found.network, OneClass)
    assert found.facts["metrics"]["val"]["mse"] == pytest.approx(rows[4]["val_error"], rel=1e-4)
    test = ablation.parts()[2]
    held = embedded(found, {"after": found.network}, ablation.dataset, test)
    distance = ((held.codes["after"] - found.network.centre.numpy()) ** 2).sum(axis=1)
    assert rows[4]["distance_auc"] == pytest.approx(roc_auc_score(held.anomalous, distance), abs=2e-3)
    ablation.draw(found)
    assert all((ablation.out / name).exists() for name in ("pca.png", "activations.png"))


def test_what_is_there_is_not_made_again(
    ablation: Ablation, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    epochs, counted = Tuner.epoch, []
    monkeypatch.setattr(Tuner, "epoch", lambda self: counted.append(1) or epochs(self))
    assert ablation.run([1e-4, 1e-3], [2, 4], tell=told.append) == rows
    assert (told, counted) == ([], [])
    more = ablation.run([1e-3], [4, 5], tell=told.append)
    assert told == ["rate 0.001, epoch 5"]
    assert len(counted) == 5
    assert more[1] == rows[4]


def test_a_rate_that_diverges_is_told(ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Tuner) -> float:
        raise SpecError("the rate must let the loss stay finite.")

    monkeypatch.setattr(Tuner, "epoch", failing)
    told: list[str] = []
    assert len(ablation.run([2e-3], [1], tell=told.append)) == 1
    assert told == ["the rate must let the loss stay finite."]


def cell(rate: float, epochs: int, *, error: float, distance: float, auc: float = 0.5) -> dict[str, Any]:
    return {
        "rate": rate,
        "epochs": epochs,
        "val_error": error,
        "val_distance": distance,
        "error_auc": auc,
        "distance_auc": auc,
    }


def test_the_choice_needs_no_labels() -> None:
    start = cell(0.0, 0, error=1.0, distance=10.0)
    near, costly = cell(1e-5, 5, error=1.04, distance=4.0), cell(1e-3, 5, error=1.06, distance=1.0, auc=0.9)
    assert chosen([start, near, costly]) is near
    assert chosen([start, costly]) is start


def test_the_heat_map_has_a_cell_per_setting(tmp_path: Path) -> None:
    start = cell(0.0, 0, error=1.0, distance=10.0)
    cells = [cell(rate, epochs, error=1, distance=1, auc=rate * 10 + 0.5) for rate in (0.01, 0.02) for epochs in (1, 2)]
    write_heatmap(tmp_path / "heatmap.png", [start, *cells[:3]])  # one rate went no further than an epoch
    picture = cv2.imread(str(tmp_path / "heatmap.png"))
    assert picture is not None
    assert np.ptp(picture.reshape(-1, 3), axis=0).min() > 100
    with pytest.raises(DataError, match="tuned setting"):
        write_heatmap(tmp_path / "none.png", [start])


@pytest.mark.parametrize("smooth", [1, 5])
def test_two_aucs_of_one_pass_are_those_of_two_evaluations(ablation: Ablation, smooth: int) -> None:
    given, test = ablation.detector, ablation.parts()[2]
    settings = replace(given.settings, svdd="tuned", stride=2, smooth=smooth)
    network = OneClass(given.network, 8)
    network.centre.fill_(0.1)
    expected = [
        evaluate(ReconstructionDetector(replace(settings, score=score), network), ablation.dataset, test, pixels=False)
        for score in ("ssim", "centre-distance")
    ]
    added = ReconstructionDetector(replace(settings, score="ssim+squared-error"), network, facts={"seed": 1})
    found = live_aucs(added, ablation.dataset, test)
    assert found == pytest.approx([each.metrics("live")["frame_auc"] for each in expected])
    assert math.isnan(live_aucs(added, ablation.dataset, test[3:])[0])  # no anomaly in it


def test_empty_parts(ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UcsdPed2, "normal_split", lambda self, seed: ([], [], []))
    with pytest.raises(DataError, match="0, 0 and 0"):
        ablation.parts()
    assert svdd_ablation.GROWN == 0.05
