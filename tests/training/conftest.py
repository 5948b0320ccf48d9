"""Twelve tiny clips of two classes, as folders of frames; and a stand-in network that learns in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence.datasets.dataset import Sample
from vidence.models.cnn_rnn import CnnRnn
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples
from vidence.training.workbench import Workbench


class StandIn(nn.Module):
    """Everything that a training loop can go wrong with: batch norm, dropout, a recurrent layer, a backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3))
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.rnn, self.out = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def encode(self, x: Tensor) -> Tensor:
        n, _, t = x.shape[:3]
        folded = x.transpose(1, 2).flatten(0, 1)
        return self.backbone(folded).mean(dim=(2, 3)).unflatten(0, (n, t))

    def decide(self, features: Tensor) -> Tensor:
        normed = self.norm(features.transpose(1, 2)).transpose(1, 2)
        return self.out(self.rnn(self.drop(normed))[0][:, -1])

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(self.encode(x))


def make_network() -> StandIn:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return StandIn()


def make_examples(clips: int, seed: int, *, pixels: bool = False) -> Examples:
    """Two versions and one or two windows a clip; class 1 lies higher."""
    random, labels = np.random.default_rng(seed), np.arange(clips) % 2
    rows = []
    for _ in range(2):
        row = []
        for clip in range(clips):
            windows = 1 + clip % 2
            if pixels:
                x = random.integers(0, 120, (windows, 4, 3, 8, 8), dtype=np.uint8) + np.uint8(100 * labels[clip])
            else:
                x = (random.normal(size=(windows, 4, 8)) + labels[clip]).astype(np.float16)
            row.append(Entry(x, np.tile(np.arange(4.0), (windows, 1))))
        rows.append(row)
    return Examples(rows, labels)


@pytest.fixture(name="make_network")
def _make_network() -> Callable[[], StandIn]:
    return make_network


@pytest.fixture(name="make_examples")
def _make_examples() -> Callable[..., Examples]:
    return make_examples


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Bright clips flicker, normal ones do not; six groups with both."""
    root, made = tmp_path_factory.mktemp("clips"), []
    random = np.random.default_rng(0)
    for number in range(12):
        folder = root / f"clip{number:02d}"
        folder.mkdir()
        label = "flicker" if number % 2 else "normal"
        for t in range(6):
            level = 200 if label == "flicker" and t % 2 else 60
            pixels = np.clip(random.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{t:02d}.png"), pixels)
        made.append(Sample(str(folder), label, f"camera{number // 2}"))
    return made


@pytest.fixture
def settings() -> CnnRnn:
    return CnnRnn(
        rate=0.0,
        backbone="small",
        size=32,
        length=4,
        stride=4,
        features="gap",
        units=4,
        projection=8,
        width=8,
        frozen=True,
    )


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(("flicker", "normal"), ("normal",), cache=tmp_path / "cache")
