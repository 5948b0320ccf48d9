"""What asymmetric blocks cost, fused and unfused, beside the plain network of the same shape.

    .venv/bin/python benchmarks/fusion.py [--rounds 15] [--threads N] [--clock wall|cpu] [--frames 8]

All forms are measured in one process, one after the other in each round; a ratio is the median over rounds of time /
plain time of the round. `plain` has its batch norms apart, `plain, folded` has them in its convolutions, as the fused
network has. Weights are random: they do not change the cost. The CPU clock adds up the seconds of all threads: it is
the steadier one where other work runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

import torch
from torch import nn

from vidence.models.asymmetric import fuse, strengthen
from vidence.models.autoencoder import Bcae1, Cae, KsCae

TARGET = 1.05
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def forms(name: str) -> dict[str, nn.Module]:
    """The network in its four forms: KS-CAE as published, or a strengthened BCAE1."""
    plain: nn.Module
    stronger: nn.Module
    if name == "ks-cae":
        plain, stronger = Cae(plan="ks", channels=1).network(), KsCae(channels=1).network()
    else:
        plain = Bcae1(channels=1).network()
        stronger = strengthen(plain)
    made = {"plain": plain, "plain, folded": fuse(plain), "unfused": stronger, "fused": fuse(stronger)}
    return {form: network.eval() for form, network in made.items()}


@torch.no_grad()
def measure(name: str, *, rounds: int, frames: int, clock: str) -> None:
    """Print one line per form."""
    torch.manual_seed(0)
    networks, x = forms(name), torch.rand(1, 3, frames, 128, 128)
    times: dict[str, list[float]] = {form: [] for form in networks}
    for taken in range(-2, rounds):  # two rounds for first-call costs
        for form, network in networks.items():
            start = CLOCKS[clock]()
            network(x)
            if taken >= 0:
                times[form].append(CLOCKS[clock]() - start)
    print(f"{name}  plain {statistics.median(times['plain']):.4f} s")
    for form in list(networks)[1:]:
        ratios = [one / base for one, base in zip(times[form], times["plain"], strict=True)]
        wanted = f"  target <= {TARGET}" if form == "fused" else ""
        print(f"  {form:14s} {statistics.median(ratios):.3f} x  ({min(ratios):.3f} to {max(ratios):.3f}){wanted}")


def main() -> None:
    """Measure both networks and print the machine's facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--frames", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    facts = platform.processor() or platform.machine()
    print(
        f"torch {torch.__version__}, {facts}, {os.cpu_count()} cores, {asked.threads} threads, {asked.clock} clock, "
        f"load {os.getloadavg()[0]:.1f}, {asked.frames} x 128 x 128, float32, {asked.rounds} rounds"
    )
    for name in ("ks-cae", "bcae1, strengthened"):
        measure(name, rounds=asked.rounds, frames=asked.frames, clock=asked.clock)


if __name__ == "__main__":
    main()
