"""What every explainer costs: wall time, passes through the model, and peak memory, on one standard case per family.

    .venv/bin/python benchmarks/explainer_costs.py [--family NAME ...] [--explainer KEY ...] [--quick] [--out FILE.csv]

Cases (random weights, which do not change the cost; one clip of random pixels; explained is a logit or the squared
error): `recurrent`, MobileNetV2 and a GRU on 16 x 112 x 112; `volume`, R3D-18 on 16 x 64 x 64; `reconstruction`, BCAE1
on 16 x 128 x 128; `transformer`, the small video transformer on its own size. Every cell is a process of its own: its
peak resident set beside that of the plain forward pass, its passes (rows through the model, and backward), its time as
a multiple of the plain pass in the same process. The passes of a method's own budget are its `price`; `--quick` runs
its small budget instead. Where a method stops at `--limit` seconds, the row says so.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from vidence.aside import written_aside
from vidence.attribution import EXPLAINERS
from vidence.errors import ExplainError
from vidence.models import R3D18, Bcae1, CnnRnn, CnnRnnNetwork, VideoTransformer
from vidence.models.backbones import BACKBONES
from vidence.pipeline import default_score, score_of
from vidence.testing import counted_passes

FAMILIES = ("recurrent", "volume", "reconstruction", "transformer")
COLUMNS = ("family", "explainer", "price", "seconds", "ratio", "forwards", "gradients", "plain_mib", "mib", "said")
CHANNELS = 512  # of the layer, for prices that depend on it


def case(family: str) -> tuple[Any, Any]:
    """The network and the clip of a family."""
    torch.manual_seed(0)
    if family == "recurrent":
        settings = CnnRnn(backbone="mobilenet-v2", size=112, length=16).resolved(weights=True)
        return CnnRnnNetwork(settings, 2, backbone=BACKBONES["mobilenet-v2"]()).eval(), torch.rand(1, 3, 16, 112, 112)
    if family == "reconstruction":
        return Bcae1().network().eval(), torch.rand(1, 3, 16, 128, 128)
    made = R3D18(size=64) if family == "volume" else VideoTransformer()
    return made.network(2).eval(), torch.rand(1, 3, made.length, made.size, made.size)


def one(family: str, key: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure one cell, in this process."""
    torch.set_num_threads(threads)
    model, x = case(family)
    t, h, w = x.shape[2:]
    with torch.no_grad():
        model(x)
        begun = time.perf_counter()
        model(x)
        plain = time.perf_counter() - begun
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    explainer = EXPLAINERS[key].quick() if quick else EXPLAINERS[key]()
    begun = time.perf_counter()
    try:
        with counted_passes(model) as passes:
            explainer(model, x, score_of(default_score(model), model))
    except ExplainError as error:
        return {"said": f"refused: {error}"}
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "price": told(EXPLAINERS[key]().price(t, h, w, CHANNELS)),
        "seconds": seconds,
        "ratio": seconds / plain,
        "forwards": passes.forwards,
        "gradients": passes.gradients,
        "plain_mib": before / 1024,
        "mib": peak / 1024,
    }


def told(price: Any) -> str:
    """Passes in words."""
    most = "at most " if price.at_most else ""
    return f"{most}{price.forwards} F" + (f", {price.gradients} G" if price.gradients else "")


def cell(family: str, key: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one cell, in a process of its own: forked, so that packages are imported once."""
    forking = multiprocessing.get_context("fork")
    here, there = forking.Pipe(duplex=False)

    def work() -> None:
        there.send(one(family, key, quick=asked.quick, threads=asked.threads))

    child = forking.Process(target=work)
    child.start()
    there.close()
    if not here.poll(asked.limit):
        child.kill()
        return {"said": f"stopped after {asked.limit:g} s"}
    try:
        return here.recv()
    except EOFError as error:  # the child wrote its own traceback
        raise SystemExit(f"{key} on {family} failed") from error
    finally:
        child.join()


def row(family: str, key: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    if "said" in found:
        return f"| {family} | `{key}` | | | | | | {found['said'].split(':')[0]} |"
    passes, peak = f"{found['forwards']} F, {found['gradients']} G", f"{found['mib']:.0f} ({found['plain_mib']:.0f})"
    times = f"{found['seconds']:.2f} | {found['ratio']:.1f}"
    return f"| {family} | `{key}` | {found['price']} | {times} | {passes} | {peak} | |"


def main() -> None:
    """Measure every cell, print a table, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--explainer", action="append")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one cell")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    cells = [(family, key) for family in asked.family or FAMILIES for key in asked.explainer or sorted(EXPLAINERS)]
    print("| family | explainer | own budget | s | x plain pass | passes | peak MiB (plain) | |")
    print("|---|---|---|---|---|---|---|---|")
    table = []
    for family, key in track(cells, "cells", console=Console(stderr=True), transient=True):
        found = cell(family, key, asked)
        table.append({"family": family, "explainer": key, **found})
        print(row(family, key, found), flush=True)
    if asked.out:
        with written_aside(asked.out) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
