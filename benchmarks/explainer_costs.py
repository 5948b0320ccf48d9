"""What every explainer costs: wall time, passes through the model, and peak memory, on one standard case per family.

    .venv/bin/python benchmarks/explainer_costs.py [--family NAME ...] [--explainer KEY ...] [--quick] [--out FILE.csv]

Cases (random weights, which do not change the cost; one clip of random pixels; explained is a logit or the squared
error): `recurrent`, MobileNetV2 and a GRU on 16 x 112 x 112; `volume`, R3D-18 on 16 x 112 x 112; `reconstruction`,
BCAE1 on 16 x 128 x 128; `transformer`, the small video transformer on its own size. Every cell is a process of its own:
its peak resident set less that of the plain forward pass, its passes (rows through the model, and backward), its time
as a multiple of the plain pass in the same process. Where a method stops at `--limit` seconds, the row says so;
`--quick` takes every method's small budget instead of its defaults.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from vidence.aside import written_aside

FAMILIES = ("recurrent", "volume", "reconstruction", "transformer")
COLUMNS = ("family", "explainer", "seconds", "ratio", "forwards", "gradients", "mib", "said")


def case(family: str) -> tuple[Any, Any]:
    """The network and the clip of a family."""
    import torch

    from vidence.models import DETECTORS
    from vidence.spec import build

    lines = {
        "recurrent": "cnn-rnn(backbone='mobilenet-v2', size=112, length=16)",
        "volume": "r3d-18",
        "reconstruction": "bcae1",
        "transformer": "video-transformer",
    }
    torch.manual_seed(0)
    settings = build(lines[family], DETECTORS)
    made = settings.build() if family == "reconstruction" else settings.build(("event", "normal"), normal=("normal",))
    length, size = made.windows.length, made.fit.size
    return made.network.eval(), torch.rand(1, 3, length, size, size)


def one(family: str, key: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure one cell, in this process."""
    import resource

    import torch

    from vidence.attribution import EXPLAINERS
    from vidence.errors import ExplainError
    from vidence.pipeline import default_score, score_of
    from vidence.testing import counted_passes

    torch.set_num_threads(threads)
    model, x = case(family)
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
        "seconds": seconds,
        "ratio": seconds / plain,
        "forwards": passes.forwards,
        "gradients": passes.gradients,
        "mib": (peak - before) / 1024,
    }


def cell(family: str, key: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one cell, in a process of its own."""
    command = [sys.executable, __file__, "--one", family, key, "--threads", str(asked.threads)]
    command += ["--quick"] if asked.quick else []
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=asked.limit, env=environment)
    except subprocess.TimeoutExpired:
        return {"said": f"stopped after {asked.limit:g} s"}
    if done.returncode:
        raise SystemExit(f"{key} on {family} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def row(family: str, key: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    if "said" in found:
        return f"| {family} | `{key}` | | | | | | {found['said'].split(':')[0]} |"
    return (
        f"| {family} | `{key}` | {found['seconds']:.2f} | {found['ratio']:.1f} | {found['forwards']} | "
        f"{found['gradients']} | {found['mib']:.0f} | |"
    )


def main() -> None:
    """Measure every cell, print a table, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--explainer", action="append")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one cell")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(*asked.one, quick=asked.quick, threads=asked.threads)))
        return
    from vidence.attribution import EXPLAINERS

    cells = [(family, key) for family in asked.family or FAMILIES for key in asked.explainer or sorted(EXPLAINERS)]
    print("| family | explainer | s | x plain pass | forwards | gradients | MiB above it | |")
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
