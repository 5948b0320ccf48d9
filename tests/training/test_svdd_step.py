"""Tuning: what it changes and what it leaves, a slow twin of both objectives, collapse shown and told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidence.errors import DataError, SpecError
from vidence.models.one_class import centre_of
from vidence.training.clips import ClipBatches, Footage
from vidence.training.svdd_step import TUNINGS, Tuned, Tuner, Tuning, collapse, spread, tune_network, tuned_parameters

DOCS = Path(__file__).resolve().parents[2] / "docs" / "svdd.md"


class Own(nn.Module):
    """A user's own autoencoder of frames: not a `ReconstructionNetwork`, but with `encoder` and `embed`."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, bias=bias), nn.BatchNorm2d(4, affine=bias), nn.Conv2d(4, 2, 3, bias=bias)
        )
        self.decoder = nn.ConvTranspose2d(2, 3, 8)

    def embed(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        return self.encoder(frames).flatten(1).unflatten(0, (len(x), -1))


class Linear(nn.Module):
    """The mean colour of a frame through a matrix."""

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 2, bias=bias)

    def embed(self, x: Tensor) -> Tensor:
        return self.encoder(x.mean(dim=(3, 4)).transpose(1, 2))


@pytest.fixture
def footage() -> Footage:
    """Frames of one colour each, with some noise."""
    rng = np.random.default_rng(0)
    colours = (rng.integers(0, 200, (t, 1, 1, 3)) for t in (9, 6))
    return Footage([(each + rng.integers(0, 56, (len(each), 8, 8, 3))).astype(np.uint8) for each in colours])


@pytest.fixture
def own() -> Own:
    torch.manual_seed(0)
    return Own().eval()


@pytest.fixture
def linear() -> Linear:
    torch.manual_seed(0)
    return Linear()


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    held = before.state_dict()
    return {name for name, value in after.state_dict().items() if not torch.equal(value, held[name])}


def frames(footage: Footage) -> Tensor:
    """All frames as one clip (1, c, t, h, w)."""
    pixels = np.concatenate(list(footage.sources)).transpose(3, 0, 1, 2)[None]
    return torch.from_numpy(pixels).float() / 255


def test_the_recipes_differ_as_the_docs_say() -> None:
    """What text and released code agree on is the same in all: Adam's weight decay of 1e-7 is a decay of half that."""
    for recipe, how in TUNINGS.items():
        assert (how.nu, how.rate, how.decay, how.batch, how.centre, how.warm_up) == (0.01, 5e-7, 5e-8, 128, "mean", 0)
        (row,) = (line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{recipe}` |"))
        assert row.split("`")[3::2] == [how.scope, how.objective, how.norm]


@pytest.mark.parametrize("objective", ["one-class", "soft-boundary"])
def test_a_slow_twin(linear: Linear, footage: Footage, objective: str) -> None:
    how = Tuning(objective=objective, rate=0.01, epochs=3, decay=0.02, nu=0.2, warm_up=1, batch=100)
    found = tune_network(linear, footage, how)
    colours = frames(footage).mean(dim=(3, 4))[0].T  # (t, 3)
    matrix = linear.encoder.weight.detach().clone().requires_grad_()
    centre = (colours @ matrix.detach().T).mean(dim=0)
    adam, radius2 = torch.optim.Adam([matrix], lr=0.01), torch.tensor(0.0)
    for epoch in range(3):
        distance = ((colours @ matrix.T - centre) ** 2).sum(dim=1)
        loss = distance.mean() if objective == "one-class" else radius2 + torch.relu(distance - radius2).mean() / 0.2
        adam.zero_grad()
        (loss + 0.02 * (matrix**2).sum()).backward()
        adam.step()
        if epoch >= 1:
            radius2 = torch.quantile(distance.detach(), 0.8)
    torch.testing.assert_close(found.network.encoder.weight, matrix)
    torch.testing.assert_close(found.centre, centre)
    last = ((colours @ matrix.detach().T - centre) ** 2).sum(dim=1)
    torch.testing.assert_close(found.radius2, torch.quantile(last, 0.8))


def test_the_mean_distance_falls_epoch_by_epoch(linear: Linear, footage: Footage) -> None:
    tuner = Tuner(linear, ClipBatches(footage, 1, places=footage.plain(1)), Tuning(rate=1e-3))
    losses = [tuner.epoch() for _ in range(8)]
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_the_whole_encoder_is_tuned_and_nothing_else(own: Own, footage: Footage) -> None:
    before = {name: value.clone() for name, value in own.state_dict().items()}
    found = tune_network(own, footage, Tuning(rate=1e-3, epochs=2), length=3)
    learnt = {f"encoder.{name}" for name, _ in own.encoder.named_parameters()}
    assert changed(own, found.network) == learnt
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert type(found.network) is Own
    assert not found.network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in found.network.parameters())


def test_the_last_layer_alone(own: Own, footage: Footage) -> None:
    found = tune_network(own, footage, Tuning(scope="last", rate=1e-3, epochs=2))
    assert changed(own, found.network) == {"encoder.2.weight", "encoder.2.bias"}
    trailing = nn.Module()
    trailing.encoder, trailing.embed = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), nn.Identity()
    assert len(tuned_parameters(trailing, "last")) == 2  # a layer without parameters is not the last one


def test_batch_norm_drifts_only_if_it_may(own: Own, footage: Footage) -> None:
    found = tune_network(own, footage, Tuning(rate=1e-9, epochs=1, norm="drifting"))
    assert {"encoder.1.running_mean", "encoder.1.running_var"} <= changed(own, found.network)


def test_a_zero_centre_collapses_an_encoder_without_biases(linear: Linear, footage: Footage) -> None:
    how = Tuning(rate=0.02, epochs=60)
    zero = tune_network(linear, footage, Tuning(**{**vars(how), "centre": "zero"}))
    assert torch.equal(zero.centre, torch.zeros(2))
    assert zero.facts["variance_after"] < 0.05 * zero.facts["variance_before"]
    assert "collapsed" in zero.facts["warnings"][0]
    few = tune_network(linear, footage, Tuning(rate=1e-4, epochs=5))
    assert few.facts["variance_after"] > 0.9 * few.facts["variance_before"]
    assert few.facts["warnings"] == []


def test_facts_and_what_is_kept(linear: Linear, footage: Footage) -> None:
    colours = frames(footage).mean(dim=(3, 4))[0].T
    codes = (colours @ linear.encoder.weight.T).detach()
    first = tune_network(linear, footage, Tuning(epochs=2, rate=1e-3, centre="off-zero"), seed=3)
    assert first.facts["variance_before"] == pytest.approx(float(codes.var(dim=0, correction=0).sum()), rel=1e-4)
    torch.testing.assert_close(first.centre, centre_of(codes.mean(dim=0), "off-zero"))
    assert {first.facts[name] for name in ("scope", "objective", "centre")} == {"encoder", "one-class", "off-zero"}
    again = tune_network(linear, footage, Tuning(epochs=2, rate=1e-3, centre="off-zero"), seed=3)
    assert not changed(first.network, again.network)
    kept = tune_network(first.network, footage, Tuning(epochs=1, centre="kept"), centre=first.centre)
    assert torch.equal(kept.centre, first.centre)


def test_a_result_is_not_touched_by_going_on(linear: Linear, footage: Footage) -> None:
    tuner = Tuner(linear, ClipBatches(footage, 1, places=footage.plain(1)), Tuning(rate=1e-3))
    tuner.epoch()
    early: Tuned = tuner.result()
    held = early.network.encoder.weight.clone()
    tuner.epoch()
    assert torch.equal(early.network.encoder.weight, held)
    assert not torch.equal(tuner.result().network.encoder.weight, held)
    assert (early.facts["epochs"], tuner.result().facts["epochs"]) == (1, 2)


def test_spread_and_collapse() -> None:
    assert spread(torch.tensor([[0.0, 0.0], [2.0, 4.0]])) == pytest.approx(1 + 4)
    assert collapse(1.0, 0.06) == []
    assert "4.0%" in collapse(1.0, 0.04)[0]


def test_mistakes_are_told(linear: Linear, footage: Footage) -> None:
    for wrong in ({"scope": "decoder"}, {"nu": 1.0}, {"rate": 0.0}, {"centre": "median"}, {"epochs": 0}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            Tuning(**wrong)
    with pytest.raises(DataError, match="normal footage"):
        tune_network(linear, Footage([]))
    with pytest.raises(SpecError, match="kept"):
        tune_network(linear, footage, Tuning(centre="kept"))
    with pytest.raises(SpecError, match="encoder"):
        tune_network(nn.Linear(2, 2), footage)
    bare = nn.Module()
    bare.encoder, bare.embed = nn.Flatten(3), lambda x: x.transpose(1, 2).flatten(2)
    with pytest.raises(SpecError, match="parameters"):
        tune_network(bare, footage)
    with pytest.raises(SpecError, match="finite"):
        tune_network(linear, footage, Tuning(rate=1e30, epochs=2))
