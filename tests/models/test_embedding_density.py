import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import DataError, SpecError
from vidence.models import load_detector
from vidence.models.embedding_density import EmbeddingDensity, EmbeddingDensityNetwork
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.models.stacked_autoencoder import ConvAE
from vidence.models.vae import VAE


def built(**settings: Any) -> ReconstructionDetector:
    torch.manual_seed(0)
    return EmbeddingDensity(**{"size": 32, "length": 2} | settings).build()


def clips(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_distance_is_that_to_the_nearest_training_embeddings() -> None:
    network = built().network
    assert isinstance(network, EmbeddingDensityNetwork)
    seen, x = clips(4), torch.rand(2, 3, 3, 32, 32)
    network.learn(seen)
    maps = network.embedder.encoder(seen.movedim(3, 2).flatten(0, 2)).mean(dim=(2, 3)).detach()  # type: ignore[operator]
    assert network.count == 8
    torch.testing.assert_close(network.codes[:8], maps)
    mean, spread = maps.mean(dim=0), maps.std(dim=0, correction=0).clamp(min=1e-30)
    far = torch.cdist((network.embed(x).flatten(0, 1) - mean) / spread, (maps - mean) / spread)
    wanted = far.sort(dim=1).values[:, :5].mean(dim=1).reshape(2, 3)
    torch.testing.assert_close(network(x).distance, wanted.detach(), rtol=1e-4, atol=1e-4)


def test_of_many_frames_a_coreset_is_kept_evenly() -> None:
    network = built(coreset=3).network
    seen = clips(4)
    network.learn(seen)  # type: ignore[operator]
    everything = torch.cat([network.embed(x)[0] for x in seen])  # type: ignore[operator]
    torch.testing.assert_close(network.codes, everything[[0, 4, 7]])


def test_nothing_learnt_nothing_said() -> None:
    with pytest.raises(DataError, match="train this detector"):
        built().network(torch.rand(1, 3, 2, 32, 32))
    with pytest.raises(DataError, match="at least two"):
        built().network.learn([])  # type: ignore[operator]


def test_learning_again_forgets_the_density() -> None:
    network, x = built().network, torch.rand(1, 3, 2, 32, 32)
    network.learn(clips(4))  # type: ignore[operator]
    before = network(x).distance
    network.learn(clips(4) / 2)  # type: ignore[operator]
    assert not torch.allclose(network(x).distance, before)


def test_codes_of_a_trained_autoencoder_are_kept_with_its_digest(tmp_path: Path) -> None:
    torch.manual_seed(1)
    inner = VAE(size=32, length=2, latent=6).build()
    inner.save(tmp_path / "vae")
    detector, x = built(of=str(tmp_path / "vae"), density="mahalanobis"), torch.rand(1, 3, 2, 32, 32)
    torch.testing.assert_close(detector.network.embed(x), inner.network.embed(x))  # type: ignore[operator]
    detector.network.learn(clips(5))  # type: ignore[operator]
    detector.save(tmp_path / "density")
    shutil.rmtree(tmp_path / "vae")  # a saved detector needs no other folder
    loaded = load_detector(tmp_path / "density")
    torch.testing.assert_close(loaded.network(x).distance, detector.network(x).distance)  # type: ignore[misc]
    facts = json.loads((tmp_path / "density" / "detector.json").read_text())["backbone"]
    assert facts["weights"] == inner.weights_digest
    assert facts["detector"] == inner.spec


def test_an_autoencoder_of_another_input_is_refused(tmp_path: Path) -> None:
    VAE(size=64).build().save(tmp_path / "vae")
    ConvAE(size=32).build().save(tmp_path / "stacked")
    with pytest.raises(SpecError, match="size, crop and rate"):
        built(of=str(tmp_path / "vae"))
    with pytest.raises(SpecError, match="any length"):
        built(of=str(tmp_path / "stacked"))


@pytest.mark.parametrize(
    "wrong", [{"density": "best"}, {"backbone": "x"}, {"score": "ssim"}, {"svdd": "tuned"}, {"coreset": 1}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        EmbeddingDensity(**wrong)


def test_gray_footage_is_embedded_as_gray() -> None:
    network, x = built(channels=1).network, torch.rand(1, 3, 2, 32, 32)
    gray = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None, None]).sum(dim=1, keepdim=True)
    found = network.embed(x)  # type: ignore[operator]
    torch.testing.assert_close(network.embed(gray), found)  # type: ignore[operator]
    assert not np.allclose(built().network.embed(x).detach(), found.detach())  # type: ignore[operator]
