"""Baselines that are easy to get wrong."""

from __future__ import annotations

import numpy as np
import torch

from vidence.evaluate.baselines import last_energy
from vidence.models.motion_energy import MotionEnergy
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples


def test_last_energy_is_the_mean_over_windows_of_the_last_step() -> None:
    rng = np.random.default_rng(0)
    entries = [Entry(rng.random((2, 5, 6), np.float32), np.zeros((2, 5))) for _ in range(3)]
    energy = MotionEnergy(cells=3)
    found = last_energy(Examples([entries], np.zeros(3, np.int64)), energy)
    expected = energy(torch.from_numpy(np.array(entries[1].x)))[:, -1].mean(0).numpy()
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
