"""Labelled sets: a user's own folder, published ones in their layout, and a synthetic one whose truth is known."""

from vidence.datasets.dataset import Dataset, Sample, Truth
from vidence.datasets.fight import FightSurv
from vidence.datasets.folder import Folder
from vidence.datasets.publication import Published
from vidence.datasets.ucsd import UcsdPed1, UcsdPed2

DATASETS: dict[str, type[Folder | FightSurv | Published]] = {
    "folder": Folder,
    "fight-surv": FightSurv,
    "ucsd-ped1": UcsdPed1,
    "ucsd-ped2": UcsdPed2,
}

__all__ = ["DATASETS", "Dataset", "FightSurv", "Folder", "Sample", "Truth", "UcsdPed1", "UcsdPed2"]
