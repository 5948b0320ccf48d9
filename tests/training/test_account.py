"""A fit's identity is all that decides its result, less the number of epochs."""

from dataclasses import replace
from typing import Any

import torch

from vidence.models.vae import VAE
from vidence.training.account import fit_facts, fit_identity, split_seed
from vidence.training.progress_file import Progress
from vidence.training.schedule import Schedule


def test_what_decides_the_result_is_in_the_identity() -> None:
    small, usual = VAE(size=16, latent=4), Schedule()

    def identity(settings: VAE = small, schedule: Schedule = usual, **other: object) -> str:
        held: dict[str, Any] = {"train": "a", "val": "b", "seed": 0, "start": 0, "precision": "32-true"} | other
        parts = {name: held[name] for name in ("train", "val")}
        with torch.random.fork_rng():
            torch.manual_seed(held["start"])
            return fit_identity(settings.build(), schedule, parts, held["seed"], precision=held["precision"])

    cycle = Schedule(course="one-cycle")
    assert identity() == identity(schedule=Schedule(epochs=99)), "a resumed fit may go further"
    others = [
        identity(settings=VAE(size=16, latent=4, loss="compound")),
        identity(settings=VAE(size=16, latent=4, recipe="released")),
        identity(schedule=replace(Schedule(), plateau_threshold=1e-3)),
        identity(schedule=cycle),
        identity(schedule=replace(cycle, epochs=99)),  # its rate would fall later
        identity(train="c"),
        identity(train="b", val="a"),
        identity(precision="bf16-mixed"),
        identity(seed=1),
        identity(start=1),
    ]
    assert len({identity(), *others}) == 1 + len(others)


def test_facts_do_not_tell_the_time() -> None:
    facts = fit_facts(Schedule(), Progress("id", epoch=3, best_epoch=2), "data", {"train": [], "val": []}, 5)
    assert (facts["identity"], facts["epochs"], facts["kept_epoch"], facts["seed"]) == ("id", 3, 2, 5)
    names = {"training_data", "clips", "seed", "split_seed", "identity", "schedule", "epochs", "kept_epoch", "versions"}
    assert set(facts) == names


def test_the_seed_of_the_split_is_known_afterwards() -> None:
    held, parts = (Schedule(), Progress("id"), "data"), {"train": [], "val": []}
    assert split_seed(fit_facts(*held, parts, 5)) == 5
    assert split_seed(fit_facts(*held, parts, 5, 0)) == 0
    assert split_seed({"seed": 5}) == 5, "a detector of before"
    assert split_seed({}) == 0
