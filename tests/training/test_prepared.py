"""Principal directions are fitted before training, on the training windows alone; one cycle of the learning rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidence.models.cnn_rnn import CnnRnn, CnnRnnNetwork
from vidence.models.motion_energy import PrincipalDirections
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples
from vidence.training.prepared import PreparedView, find_directions, fixed_before_projection, prepared
from vidence.training.schedule import Schedule, schedule_for


def examples(n: int, features: int) -> Examples:
    rng = np.random.default_rng(0)
    entries = [Entry(rng.random((2, 6, features), np.float32), np.zeros((2, 6))) for _ in range(n)]
    return Examples([entries], np.arange(n) % 2)


def energetic() -> CnnRnnNetwork:
    line = CnnRnn(backbone="small", differences="energy", projection=3, projector="principal", norm="none")
    return CnnRnnNetwork(line.resolved(weights=False), 2).eval()


def windows(given: Examples) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([entry.x for entry in given.entries[0]]))


def test_what_is_prepared_once_gives_the_same_logits() -> None:
    network = energetic()
    given = examples(5, network.grid**2 * 64)
    assert fixed_before_projection(network)
    once = prepared(network, given)
    find_directions(network, once)
    torch.testing.assert_close(PreparedView(network).decide(windows(once)), network.decide(windows(given)))
    assert set(PreparedView(network).state_dict()) == set(network.state_dict())


def test_directions_are_those_of_the_windows_mean_energies() -> None:
    network = energetic()
    given = examples(5, network.grid**2 * 64)
    find_directions(network, prepared(network, given))
    expected = PrincipalDirections(128, 3)
    expected.fit(network.head.prepared(windows(given)).mean(dim=1))
    assert isinstance(network.head.projection, PrincipalDirections)
    torch.testing.assert_close(network.head.projection.mean, expected.mean)
    torch.testing.assert_close(network.head.projection.basis.abs(), expected.basis.abs(), rtol=1e-3, atol=1e-3)


def test_a_head_that_learns_before_its_projection_is_not_prepared() -> None:
    assert not fixed_before_projection(CnnRnnNetwork(CnnRnn(backbone="small").resolved(weights=False), 2))
    batch = CnnRnn(backbone="small", differences="energy", norm="batch").resolved(weights=False)
    assert not fixed_before_projection(CnnRnnNetwork(batch, 2))


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing() -> None:
    cycle = Schedule(course="one-cycle")
    shares = [cycle.share(i / 100) for i in range(101)]
    assert int(np.argmax(shares)) == 20
    assert shares[0] == pytest.approx(1 / 25)
    assert shares[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(shares[:20]) > 0)
    assert np.all(np.diff(shares[20:]) < 0)
    assert {Schedule().share(i / 9) for i in range(10)} == {1.0}


def test_the_schedule_follows_the_measured_settings() -> None:
    assert schedule_for(CnnRnn().resolved(weights=True)).course == "one-cycle"
    assert schedule_for(CnnRnn().resolved(weights=False)).finetune_rate == 1.0
    assert schedule_for(CnnRnn(recipe="paper").resolved(weights=True)) == Schedule()
