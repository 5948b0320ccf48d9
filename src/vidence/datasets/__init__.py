"""Labelled sets: a user's own folder, published ones in their layout, and a synthetic one whose truth is known."""

from vidence.datasets.dataset import Dataset, Sample, Truth
from vidence.datasets.fight import FightSurv
from vidence.datasets.folder import Folder

DATASETS: dict[str, type[Dataset]] = {"folder": Folder, "fight-surv": FightSurv}

__all__ = ["DATASETS", "Dataset", "FightSurv", "Folder", "Sample", "Truth"]
