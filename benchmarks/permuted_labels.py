"""Labels that mean nothing, for the measure `label-randomisation`: a table of clips with its labels permuted.

    .venv/bin/python benchmarks/permuted_labels.py data/clips.csv data/permuted.csv [--seed 0]
    vidence train data/permuted.csv --detector cnn-rnn --out permuted-detector
    vidence compare detector data/clips.csv --measure "label-randomisation(detector='permuted-detector')"

Write the table beside the first, since its paths are relative, and train with the settings of the detector that is
measured, long enough to learn its training clips by heart; on clips that it has not seen, it can only guess.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from vidence.aside import written_aside
from vidence.datasets.folder import read_rows


def permuted(rows: list[dict[str, str]], *, seed: int) -> list[dict[str, str]]:
    """The same rows, each with the label of one drawn without replacement."""
    labels = np.random.default_rng(seed).permutation([row["label"] for row in rows]).tolist()
    return [row | {"label": label} for row, label in zip(rows, labels, strict=True)]


def main() -> None:
    """Read, permute, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows = permuted(read_rows(asked.table, ("file", "label")), seed=asked.seed)
    with written_aside(asked.out) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
