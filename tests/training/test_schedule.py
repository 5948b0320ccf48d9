from dataclasses import replace

import pytest
import torch
from torch import nn

from vidence.errors import SpecError
from vidence.training.freezing import freeze, learned, set_mode, stages
from vidence.training.schedule import Schedule


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"views": -1},
        {"rate": 0.0},
        {"factor": 1.0},
        {"plateau_threshold": -1e-3},
        {"smoothing": 1.0},
        {"patience": 0},
        {"finetune": -1},
        {"finetune": "some"},
    ],
)
def test_a_schedule_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=str(next(iter(wrong.values())))):
        Schedule(**wrong)  # type: ignore[arg-type]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.head = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_stages_are_the_parts_with_parameters() -> None:
    assert [type(part).__name__ for part in stages(Net().backbone)] == ["Conv2d", "BatchNorm2d", "Conv2d"]


@pytest.mark.parametrize(("finetune", "training"), [(0, []), (1, [3]), (2, [1, 3]), ("all", [0, 1, 2, 3])])
def test_what_is_frozen_stays_in_eval_mode(finetune: int | str, training: list[int]) -> None:
    network = Net()
    freeze(network, finetune)  # type: ignore[arg-type]
    set_mode(network)
    parts = network.backbone.features
    assert [i for i in (0, 1, 3) if parts[i].training] == [i for i in training if i != 2]
    assert network.head.training
    names = set(learned(network))
    assert {"head.0.running_mean", "head.1.weight"} <= names
    assert ("backbone.features.1.running_mean" in names) == (1 in training)
    assert ("backbone.features.3.weight" in names) == (3 in training)


def test_freezing_again_thaws() -> None:
    network = Net()
    freeze(network, 0)
    freeze(network, "all")
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.is_grad_enabled()


def test_what_is_asked_for_replaces_the_schedules_values() -> None:
    plain = Schedule(epochs=30, patience=None)
    assert plain.asked(epochs=None, patience=None) == plain
    assert plain.asked(epochs=5, patience=2) == replace(plain, epochs=5, patience=2)
    with pytest.raises(SpecError, match="patience"):
        plain.asked(epochs=None, patience=0)
