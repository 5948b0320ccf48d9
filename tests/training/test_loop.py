"""A fit is repeatable, and a broken one goes on to the same end."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence.errors import DataError, OutputError, SpecError
from vidence.training import progress_file
from vidence.training.classify import train_classifier
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples
from vidence.training.schedule import Schedule

EPOCHS = 5
SCHEDULE = Schedule(epochs=EPOCHS, batch=8, rate=0.1, plateau=0, patience=None, views=1)


def fitted(make_network: Any, make_examples: Any, schedule: Schedule = SCHEDULE, **options: Any) -> Any:
    network = make_network()
    data = make_examples(12, 0), make_examples(8, 1)
    progress = train_classifier(network, *data, schedule, classes=2, **{"seed": 3, **options})
    return network, progress


def assert_same_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=f"{name} differs")


def test_a_network_is_trained_where_it_lies_whatever_gpu_there_is(
    make_network: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    network, progress = fitted(make_network, make_examples)
    assert progress.epoch
    assert {each.device.type for each in network.parameters()} == {"cpu"}


def test_same_seed_same_weights_and_another_seed_others(make_network: Any, make_examples: Any) -> None:
    state = torch.random.get_rng_state()
    first, rows = fitted(make_network, make_examples)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)  # what else draws random numbers does not matter
    second, again = fitted(make_network, make_examples)
    assert_same_weights(first, second)
    assert rows.rows == again.rows
    other, _ = fitted(make_network, make_examples, seed=4)
    assert not torch.equal(first.out.weight, other.out.weight)


@pytest.mark.parametrize("broken_after", [1, 3])
def test_a_resumed_fit_ends_like_an_unbroken_one(
    make_network: Any, make_examples: Any, tmp_path: Path, broken_after: int
) -> None:
    whole, unbroken = fitted(make_network, make_examples, folder=tmp_path / "whole")
    part = Schedule(**{**vars(SCHEDULE), "epochs": broken_after})
    fitted(make_network, make_examples, part, folder=tmp_path / "part")
    resumed, progress = fitted(make_network, make_examples, folder=tmp_path / "part", resume=True)
    assert_same_weights(whole, resumed)
    assert progress.rows == unbroken.rows
    assert unbroken.rows[-1]["rate"] < unbroken.rows[0]["rate"], "the plateau must act for this test to see its state"
    for name in ("log.csv",):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    assert (tmp_path / "part" / "curve.png").read_bytes().startswith(b"\x89PNG")


CHILD = """
import os, runpy, signal, sys, torch
torch.set_num_threads(1)
import lightning.pytorch as pl
from pathlib import Path
from vidence.training.classify import train_classifier
from vidence.training.schedule import Schedule
made = runpy.run_path(sys.argv[1])
class Blow(pl.Callback):
    def on_train_batch_end(self, trainer, module, *rest):
        if module.epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)
schedule = Schedule(epochs=5, batch=8, rate=0.1, plateau=0, patience=None, views=1)
data = made["make_examples"](12, 0), made["make_examples"](8, 1)
options = {"folder": Path(sys.argv[2]), "callbacks": [Blow()]}
train_classifier(made["make_network"](), *data, schedule, classes=2, seed=3, **options)
"""


def assert_goes_on(make_network: Any, make_examples: Any, folder: Path) -> None:
    resumed, progress = fitted(make_network, make_examples, folder=folder, resume=True)
    assert progress.epoch == EPOCHS
    assert_same_weights(fitted(make_network, make_examples)[0], resumed)


def test_killed_in_the_middle_of_an_epoch(make_network: Any, make_examples: Any, tmp_path: Path) -> None:
    conftest = Path(__file__).with_name("conftest.py")
    command = [sys.executable, "-c", CHILD, str(conftest), str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log.csv", "progress.pt"]
    assert_goes_on(make_network, make_examples, tmp_path)


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C raises, as in a terminal: a job in the background is started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_in_the_middle_of_an_epoch(make_network: Any, make_examples: Any, tmp_path: Path) -> None:
    import lightning.pytorch as pl

    class Press(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            if module.epoch == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"2 of {EPOCHS} epochs are kept in"):
        fitted(make_network, make_examples, folder=tmp_path, callbacks=[Press()])
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    assert_goes_on(make_network, make_examples, tmp_path)


def test_ctrl_c_works_again_afterwards(make_network: Any, make_examples: Any, monkeypatch: Any) -> None:
    from vidence.training.classifier_module import Classifier

    def interrupted(*rest: Any) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Classifier, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt, match="nothing is kept"):
        fitted(make_network, make_examples)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_disk_keeps_what_was_written(
    make_network: Any, make_examples: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    save, calls = torch.save, []

    def full(held: Any, path: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        save(held, path)

    monkeypatch.setattr(progress_file.torch, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        fitted(make_network, make_examples, folder=tmp_path)
    monkeypatch.undo()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    resumed, _ = fitted(make_network, make_examples, folder=tmp_path, resume=True)
    assert_same_weights(fitted(make_network, make_examples)[0], resumed)


def test_early_stopping_keeps_the_best_epoch(make_network: Any, make_examples: Any) -> None:
    schedule = Schedule(epochs=40, batch=8, rate=0.05, patience=3)
    network, progress = fitted(make_network, make_examples, schedule)
    losses = [row["val_loss"] for row in progress.rows]
    assert progress.stopped
    assert progress.epoch == progress.best_epoch + 3 < 40
    assert progress.best_epoch == 1 + int(np.argmin(losses))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in progress.best.items())
    assert not network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_only_what_is_finetuned_moves(make_network: Any, make_examples: Any) -> None:
    start = make_network()

    def moved(finetune: Any) -> set[str]:
        network, data = make_network(), make_examples(8, 0, pixels=True)
        schedule = Schedule(epochs=1, batch=8, finetune=finetune, finetune_rate=1.0)
        train_classifier(network, data, make_examples(4, 1, pixels=True), schedule, classes=2, seed=0)
        old = start.state_dict()
        return {name for name, value in network.state_dict().items() if not torch.equal(old[name], value)}

    head, last, whole = moved(0), moved(1), moved("all")
    assert not [name for name in head if name.startswith("backbone.")], "a frozen batch norm must not drift"
    assert {name for name in last - head if name.startswith("backbone.")} == {"backbone.3.weight", "backbone.3.bias"}
    assert {"backbone.0.weight", "backbone.1.running_mean"} <= whole
    with pytest.raises(SpecError, match=r"0\.\.3 stages"):
        moved(4)


def test_it_learns_and_says_nothing(
    make_network: Any, make_examples: Any, tmp_path: Path, capfd: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("lightning.pytorch").level
    _, progress = fitted(make_network, make_examples, Schedule(epochs=30, batch=8, rate=0.02, patience=None))
    assert progress.rows[-1]["val_accuracy"] >= 0.75
    assert progress.rows[-1]["train_loss"] < progress.rows[0]["train_loss"]
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir()), "no lightning_logs, no checkpoints"
    assert logging.getLogger("lightning.pytorch").level == level


def test_a_bar_is_drawn_on_stderr(make_network: Any, make_examples: Any, capfd: Any) -> None:
    fitted(make_network, make_examples, Schedule(epochs=2, batch=8), bar=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "2/2 epochs" in err


def test_nan_is_named(make_network: Any, make_examples: Any) -> None:
    data = make_examples(4, 0)
    data = Examples(data.entries[:1], data.labels)
    data.entries[0][1].x[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="loss must stay finite; got nan in epoch 1"):
        train_classifier(
            make_network(), data.chosen([0, 1]), data.chosen([2, 3]), Schedule(epochs=60), classes=2, seed=0
        )


def test_nothing_to_train_on(make_network: Any, make_examples: Any) -> None:
    none = Examples([[]], np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="got 8 and 0"):
        train_classifier(make_network(), make_examples(8, 0), none, Schedule(), classes=2, seed=0)


def test_balance_makes_a_rare_class_count_as_much(make_network: Any) -> None:
    """With features that say nothing, balanced training ends at even odds, plain training at the frequencies."""
    x = np.zeros((1, 4, 8), dtype=np.float32)
    entries = [Entry(x, np.zeros((1, 4))) for _ in range(16)]
    data = Examples([entries], np.array([1] * 4 + [0] * 12))

    def odds(balance: bool) -> float:
        network = make_network()
        schedule = Schedule(epochs=60, batch=16, rate=0.05, patience=None, plateau=60, balance=balance)
        train_classifier(network, data, data, schedule, classes=2, seed=0)
        with torch.no_grad():
            return float(network.decide(torch.from_numpy(x)).softmax(dim=1)[0, 1])

    assert odds(balance=True) == pytest.approx(0.5, abs=0.05)
    assert odds(balance=False) == pytest.approx(0.25, abs=0.05)
