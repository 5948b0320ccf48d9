"""Frames per second of training BCAE1 at 128 x 128: our loop over the plain one, both in one run.

    .venv/bin/python benchmarks/train_throughput.py [--rounds 5] [--frames 256] [--threads 2] [--clock wall|cpu]

Ours is what `fit_normal` runs: clips from the frame cache's arrays, Lightning, bf16 with float32 weights where the
processor multiplies it, channels last, 16 frames a batch, blocks that malloc keeps. The plain loop is the same layers
as torch offers them, float32, channels first, 64 frames a batch. An epoch of each by turns; the ratio is the median
over rounds of one epoch's speed / that of the plain epoch beside it. Then the losses of our loop in bf16 and in
float32, from the same start on the same batches: they may differ by 2 % on average over the last quarter of the steps.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vidence.models.autoencoder import Bcae1
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.training.allocator import blocks_kept
from vidence.training.clips import ClipBatches, Footage
from vidence.training.loop import Precision, fast_precision, train
from vidence.training.normal import channels_last
from vidence.training.recipes_normal import NORMAL_RECIPES
from vidence.training.reconstruction_module import Reconstructor
from vidence.training.schedule import Schedule

TARGET, TOLERANCE = 2.0, 0.02
CPU = torch.device("cpu")
PLAIN_BATCH, SIDE, LENGTH = 64, 128, 8
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def plain_network() -> nn.Sequential:
    """BCAE1 for gray pictures, layer by layer, nothing in place."""
    encoder = [(1, 64, 3, 2), (64, 64, 3, 2), (64, 64, 3, 2), (64, 96, 3, 2), (96, 96, 4, 1)]
    decoder = [(96, 96, 4, 1), (96, 64, 3, 2), (64, 64, 3, 2), (64, 64, 4, 2), (64, 64, 4, 2)]
    layers: list[nn.Module] = []
    for shape in encoder:
        layers += [nn.Conv2d(*shape), nn.BatchNorm2d(shape[1]), nn.LeakyReLU(0.01)]
    layers[-1] = nn.Tanh()
    for shape in decoder:
        layers += [nn.ConvTranspose2d(*shape), nn.BatchNorm2d(shape[1]), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3), nn.BatchNorm2d(1), nn.Sigmoid())


def plain_epochs(pixels: np.ndarray, clock: Callable[[], float]) -> Callable[[], float]:
    """What trains one more epoch of the plain loop on (t, h, w, 1) frames and returns its frames per second."""
    torch.manual_seed(0)
    network = plain_network().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    data = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def epoch() -> float:
        begun = clock()
        for places in torch.randperm(len(data)).split(PLAIN_BATCH):  # type: ignore[no-untyped-call]
            x = data[places].float() / 255
            optimiser.zero_grad()
            F.mse_loss(network(x), x).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return len(data) / (clock() - begun)

    return epoch


class Speed(pl.Callback):  # type: ignore[misc]
    """Frames per second of an epoch's training steps, the loading of their batches included."""

    def __init__(self, frames: int, clock: Callable[[], float]) -> None:
        self.frames, self.clock, self.found, self.losses = frames, clock, 0.0, []  # type: ignore[var-annotated]

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Begin."""
        self.begun = self.clock()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """The last one counts."""
        self.found = self.frames / (self.clock() - self.begun)
        self.losses.append(float(outputs["loss"]))


def our_epochs(
    pixels: np.ndarray, clock: Callable[[], float], *, precision: Precision | None = None, kept: bool = True
) -> Callable[[int], Speed]:
    """What trains so many epochs of our loop from the same start and returns the last one's speed and all losses."""
    footage = Footage([pixels])
    recipe = NORMAL_RECIPES["corrected"]

    def epochs(count: int) -> Speed:
        torch.manual_seed(0)
        network: ReconstructionNetwork = Bcae1(channels=1, size=SIDE).network()
        channels_last(network)
        schedule = Schedule(**{**vars(recipe.schedule), "epochs": count})
        batches = ClipBatches(footage, schedule.batch, length=LENGTH, strides=(1,), seed=0)
        held = ClipBatches(footage, schedule.batch, places=footage.plain(LENGTH)[:1])
        speed = Speed(sum(len(each) for each in batches.batches()) * LENGTH, clock)

        def lesson(epoch: int) -> Reconstructor:
            return Reconstructor(network, schedule, batches, held, loss="mse", recipe=recipe, seed=0, epoch=epoch)

        with blocks_kept() if kept else nullcontext():
            train(network, schedule, lesson, precision=precision or fast_precision(CPU), callbacks=[speed])
        return speed

    return epochs


def moving(frames: int) -> np.ndarray:
    """Noisy frames with a square that moves, uint8 (t, h, w, 1)."""
    random = np.random.default_rng(0)
    pixels = random.integers(90, 110, (frames, SIDE, SIDE, 1), dtype=np.uint8)
    for t in range(frames):
        left = 2 * t % (SIDE - 24)
        pixels[t, 40:80, left : left + 24] = 200
    return pixels


def main() -> None:
    """Print both speeds, the ratio, what malloc's blocks do, and whether the losses agree; 1 where they do not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=256, help="of an epoch")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    machine = platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {machine}, {asked.threads} threads, {fast_precision(CPU)}, {asked.clock} clock")
    same = [sum(each.numel() for each in net.parameters()) for net in (plain_network(), Bcae1(channels=1).network())]
    if same[0] != same[1]:
        raise SystemExit(f"both loops must train the same network; got {same[0]} and {same[1]} parameters.")
    pixels, clock = moving(asked.frames), CLOCKS[asked.clock]
    plain = plain_epochs(pixels, clock)
    loops = {"ours": our_epochs(pixels, clock), "ours, blocks not kept": our_epochs(pixels, clock, kept=False)}
    found: dict[str, list[float]] = {"plain": [], **{name: [] for name in loops}}
    plain()  # first-call costs
    for _ in range(asked.rounds):
        found["plain"].append(plain())
        for name, run in loops.items():
            found[name].append(run(2).found)  # the first of both epochs warms up
    for name, speeds in found.items():
        ratios = [one / base for one, base in zip(speeds, found["plain"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} x plain ({min(ratios):.2f} to {max(ratios):.2f})"
        target = f", target {TARGET:g}" if name == "ours" else ""
        print(f"  {name:22s} {statistics.median(speeds):6.1f} frames/s  {spread}{target}")
    sys.exit(agree(pixels, clock))


def agree(pixels: np.ndarray, clock: Callable[[], float], *, epochs: int = 6) -> int:
    """Compare the losses of both arithmetics; 0 where they agree."""
    exact, fast = (
        np.array(our_epochs(pixels, clock, precision=precision)(epochs).losses)
        for precision in ("32-true", "bf16-mixed")
    )
    last = len(exact) // 4
    means = exact[-last:].mean(), fast[-last:].mean()
    apart = abs(means[1] / means[0] - 1)
    verdict = "agree" if apart <= TOLERANCE else "do not agree"
    losses = f"float32 {means[0]:.5f}, bf16 {means[1]:.5f}, from {exact[0]:.5f}"
    print(f"losses after {len(exact)} steps: {losses}; {apart:.2%} apart, {TOLERANCE:.0%} allowed: they {verdict}")
    return int(apart > TOLERANCE)


if __name__ == "__main__":
    main()
