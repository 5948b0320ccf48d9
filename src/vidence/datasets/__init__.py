"""Labelled sets: a user's own folder, published ones in their layout, and a synthetic one whose truth is known."""

from vidence.datasets.avenue import Avenue
from vidence.datasets.dataset import Dataset, Sample, Truth
from vidence.datasets.driver import Driver
from vidence.datasets.fight import FightSurv
from vidence.datasets.folder import Folder
from vidence.datasets.ham10000 import HAM10000
from vidence.datasets.magnetic_tile import MagneticTile
from vidence.datasets.mvtec import MVTec
from vidence.datasets.publication import Published
from vidence.datasets.shanghaitech import ShanghaiTech
from vidence.datasets.subway import SubwayEntrance, SubwayExit
from vidence.datasets.ucf_crime import UcfCrime
from vidence.datasets.ucsd import UcsdPed1, UcsdPed2

DATASETS: dict[str, type[Folder | FightSurv | Published]] = {
    "folder": Folder,
    "fight-surv": FightSurv,
    "ucsd-ped1": UcsdPed1,
    "ucsd-ped2": UcsdPed2,
    "avenue": Avenue,
    "subway-entrance": SubwayEntrance,
    "subway-exit": SubwayExit,
    "shanghaitech": ShanghaiTech,
    "ucf-crime": UcfCrime,
    "mvtec": MVTec,
    "ham10000": HAM10000,
    "driver": Driver,
    "magnetic-tile": MagneticTile,
}

__all__ = [
    "DATASETS",
    "HAM10000",
    "Avenue",
    "Dataset",
    "Driver",
    "FightSurv",
    "Folder",
    "MVTec",
    "MagneticTile",
    "Sample",
    "ShanghaiTech",
    "SubwayEntrance",
    "SubwayExit",
    "Truth",
    "UcfCrime",
    "UcsdPed1",
    "UcsdPed2",
]
