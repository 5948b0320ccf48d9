"""Pictures of embeddings and activations: the right codes, the right truth, one scale, nothing left on the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vidence.datasets.ucsd import UcsdPed2
from vidence.errors import DataError
from vidence.evaluate.embedding_plots import (
    Embedded,
    embedded,
    encoder_maps,
    first_anomaly,
    write_activations,
    write_embeddings,
)
from vidence.models.one_class import embedding
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.testing import assert_no_residue


@pytest.fixture(scope="module")
def detector(tiny_autoencoder: type[Any]) -> ReconstructionDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: ReconstructionDetector = tiny_autoencoder(length=6).build()
        return made


def test_codes_and_truth_of_all_test_frames(detector: ReconstructionDetector, tiny_ped2: Path) -> None:
    dataset = UcsdPed2(str(tiny_ped2))
    samples = dataset.part("test")
    found = embedded(detector, {"before": detector.network, "twice": detector.network}, dataset, samples)
    assert found.codes["before"].shape == (80, 8)
    assert np.array_equal(found.codes["before"], found.codes["twice"])
    assert found.anomalous.sum() == 8 + 5 + 6 + 20
    assert found.anomalous[8:16].all()
    assert not found.anomalous[:8].any()
    clip = list(detector.windows.cut(samples[1].open()))[-1]  # the last two frames of the second clip
    with torch.no_grad():
        last = embedding(detector.network).embed(detector.prepare(clip))[0, -1]
    np.testing.assert_allclose(found.codes["before"][39], last.numpy(), atol=1e-6)
    with pytest.raises(DataError, match="frames"):
        embedded(detector, {"before": detector.network}, dataset, [])


def test_the_first_anomaly(detector: ReconstructionDetector, tiny_ped2: Path) -> None:
    dataset = UcsdPed2(str(tiny_ped2))
    samples = dataset.part("test")
    clip = first_anomaly(detector, dataset, samples)
    assert clip.times[0] <= 0.8 <= clip.times[-1]  # frame 9 of the first clip, ten a second
    quiet = first_anomaly(detector, dataset, samples[3:])
    assert quiet.times[0] == 0
    with pytest.raises(DataError, match="window"):
        first_anomaly(detector, dataset, [])


def test_maps_of_the_encoders_layers(detector: ReconstructionDetector) -> None:
    x = torch.rand(1, 3, 5, 16, 16)
    with assert_no_residue(detector.network):
        maps = encoder_maps(detector.network, x)
    assert [each.shape for each in maps] == [(5, 2, 2), (5, 2, 2)]
    with torch.no_grad():
        code = embedding(detector.network).embed(x)[0].reshape(5, 2, 2, 2)
    np.testing.assert_allclose(maps[-1], code.abs().mean(dim=1).numpy(), atol=1e-6)


def test_pictures_are_written(detector: ReconstructionDetector, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    codes = random.normal(size=(3000, 5)).astype(np.float32)
    held = Embedded({"before": codes, "after": codes / 2}, np.arange(3000) % 3 == 0)
    write_embeddings(tmp_path / "pca.png", codes, held, centre=codes.mean(axis=0))
    x = torch.rand(1, 3, 3, 16, 16)
    write_activations(tmp_path / "activations.png", {"before": detector.network}, x, frames=[0, 2])
    for name in ("pca.png", "activations.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 10
