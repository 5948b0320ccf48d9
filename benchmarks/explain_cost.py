"""What an explanation costs beside the plain forward pass, for one 16-frame 224 x 224 clip.

    .venv/bin/python benchmarks/explain_cost.py [--rounds 7] [--threads N] [--clock wall|cpu]

Rounds alternate the plain pass and each explainer; a ratio is the median over rounds of time / plain time of the round.
Weights are random: they do not change the cost. The CPU clock adds up the seconds of all threads: it is the steadier
one where other work runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from vidence.attribution import GradCAM, WhenWhere
from vidence.models.backbones import BACKBONES
from vidence.models.cnn_rnn import CnnRnn, CnnRnnNetwork
from vidence.scoring.scores import Logit

TARGETS = {("vgg19", "grad-cam"): 1.10, ("vgg19", "when-where"): 1.2, ("mobilenet-v2", "when-where"): 1.3}


def network(backbone: str) -> CnnRnnNetwork:
    """The paper's VGG19+GRU, or the best recipe on MobileNetV2."""
    line = CnnRnn(recipe="paper") if backbone == "vgg19" else CnnRnn(backbone=backbone)
    return CnnRnnNetwork(line.resolved(weights=True), 2, backbone=BACKBONES[backbone]()).eval()


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(run: Callable[[], object], clock: str) -> float:
    """Time of one call."""
    start = CLOCKS[clock]()
    run()
    return CLOCKS[clock]() - start


def measure(backbone: str, *, rounds: int, side: int, clock: str) -> None:
    """Print one line per explainer."""
    torch.manual_seed(0)
    model, x = network(backbone), torch.rand(1, 3, 16, side, side)

    def plain() -> None:
        with torch.no_grad():
            model(x)

    explainers = {"grad-cam": GradCAM(), "when-where": WhenWhere()}
    plain()  # first-call costs
    times: dict[str, list[float]] = {"plain": [], **{key: [] for key in explainers}}
    for _ in range(rounds):
        times["plain"].append(seconds(plain, clock))
        for key, explainer in explainers.items():
            asked = partial(explainer.attribute, model, x, Logit(0), certify=False)
            times[key].append(seconds(asked, clock))
    print(f"{backbone}+gru  plain forward {statistics.median(times['plain']):.3f} s")
    for key in explainers:
        ratios = [one / base for one, base in zip(times[key], times["plain"], strict=True)]
        target = TARGETS.get((backbone, key))
        wanted = "" if target is None else f"  target <= {target}"
        print(f"  {key:12s} {statistics.median(ratios):.3f} x  ({min(ratios):.3f} to {max(ratios):.3f}){wanted}")


def main() -> None:
    """Measure both networks in one run and print the machine's facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--side", type=int, default=224)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    facts = platform.processor() or platform.machine()
    print(
        f"torch {torch.__version__}, {facts}, {os.cpu_count()} cores, "
        f"{asked.threads} threads, {asked.clock} clock, load {os.getloadavg()[0]:.1f}, "
        f"16 x {asked.side} x {asked.side}, {asked.rounds} rounds"
    )
    for backbone in ("vgg19", "mobilenet-v2"):
        measure(backbone, rounds=asked.rounds, side=asked.side, clock=asked.clock)


if __name__ == "__main__":
    main()
