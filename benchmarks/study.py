"""Which explanation can be trusted, for which kind of network? Trains, compares, and writes docs/study.md's tables.

    .venv/bin/python benchmarks/study.py --root ../shared/data --out runs/study [--network KEY] [--seeds 3] [--clips 40]

The folder `--out` keeps the synthetic clips, a detector per network and seed, and the comparison of each, made by the
commands that a user has (`vidence train`, `vidence compare`). A stopped run goes on; what is done is not done again. A
classifier's accuracy is measured on 200 synthetic clips of people and cameras it has not seen (on the held-out part for
real data), and stands beside the 0.95 that the study asks for. Data sets that are not there are left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import nn

from vidence.aside import written_aside
from vidence.cli.evaluate import tested
from vidence.datasets.concatenated import write_pairs
from vidence.datasets.dataset import Dataset, Sample
from vidence.datasets.folder import Folder
from vidence.datasets.opened import open_dataset
from vidence.datasets.synthetic import write
from vidence.evaluate.study_tables import Compared, Trained, write_study
from vidence.models.detector import Detector, load_detector
from vidence.scoring.scores import logits_of
from vidence.training.account import split_seed

TRAINING, UNSEEN = 540, 200
UNSEEN_SEED = 1000
PAIRS = 20
RECURRENT = ("grad-cam(weights='frame_local')", "grad-cam", "when-where", "integrated-cam", "lrp", "deep-lift")
PIXELS = ("gradient", "smooth-grad(n=8)", "integrated-gradients(steps=8, limit=16)", "occlusion")
BOXES = "occlusion(box=[4, 32, 32], stride=[4, 16, 16])"
ERRORS = (
    "gradient",
    "integrated-gradients(steps=8, limit=16)",
    "deep-lift",
    "lrp",
    BOXES,
    "lime(n=128)",
    "kernel-shap(n=128)",
    "counterfactual-box",
    f"product(of=[residual, {BOXES}])",
)


@dataclass(frozen=True)
class Network:
    """One row of the study: how it is trained, on what, and which maps of it are compared."""

    key: str
    title: str
    data: str
    detector: str
    explainers: tuple[str, ...]
    epochs: int | None = None
    options: tuple[str, ...] = field(default=())
    most: int | None = None  # clips, where a clip costs minutes


NETWORKS = (
    Network("cnn-gru", "four convolutions + GRU", "synthetic", "cnn-rnn(backbone='small')", (*RECURRENT, *PIXELS), 16),
    Network(
        *("r2plus1d", "R(2+1)D-18, a quarter as wide", "synthetic", "r2plus1d-18(width=16, size=64, rate=8.0)"),
        ("grad-cam", "layer-cam", "cam", "excitation-backprop", "lrp", "deep-lift", *PIXELS),
        18,
        most=8,
    ),
    Network("convlstm", "ConvLSTM", "synthetic", "convlstm(size=64, rate=8.0)", (*RECURRENT[1:3], "lrp", *PIXELS), 18),
    Network(
        *("transformer", "video transformer", "synthetic", "video-transformer"),
        ("attention-rollout", "transformer-relevance", "cdam", "grad-cam", *PIXELS),
        30,
    ),
    Network(
        *("fight", "MobileNetV2 + GRU", "fight-surv", "cnn-rnn", (*RECURRENT, "gradient")),
        options=("--weights", "mobilenet_backbones"),
        most=8,
    ),
    Network("bcae1", "BCAE1", "ucsd-ped2", "bcae1", ERRORS, 15),
    Network("ssa", "SSA CAE", "ucsd-ped2", "ssa-cae", (*ERRORS, "input-attention"), 15),
    Network("conv-gru", "ConvGRU", "ucsd-ped2", "conv-recurrent(cell='gru', layers=1)", ERRORS, 15),
    Network(
        *("seq2seq", "Seq2Seq ConvGRU", "ucsd-ped2", "conv-recurrent(cell='gru', mode='seq2seq', layers=2)", ERRORS), 15
    ),
    Network("tiles", "BCAE1", "magnetic-tile", "bcae1", ERRORS, 10),
)
REMOVED = "grid=8, depth=2, steps=8"
OF_MAPS = ("mass-ratio", "pointing", "strongest-frame")


def measures(network: Network) -> tuple[str, ...]:
    """What is measured: a classifier's probability as it is, as in the papers, and what its maps owe to its weights;
    shares of an error, whose maps cost minutes, so that none is drawn twice.
    """
    if network.data in ("synthetic", "fight-surv"):
        removed = f"{REMOVED}, scale='probability', normalised=False"
        return (f"insertion({removed})", f"deletion({removed})", *OF_MAPS, "cascading-randomisation(stages=1)")
    return (f"insertion({REMOVED})", f"deletion({REMOVED})", *OF_MAPS)


FOLDERS = {"fight-surv": "fight_surv", "ucsd-ped2": "ucsd_ped2", "magnetic-tile": "magnetic_tile"}


@dataclass(frozen=True)
class Study:
    """Where everything lies, and how much of it is asked for."""

    out: Path
    root: Path
    clips: int
    seeds: int
    given: Mapping[str, Sequence[Path]]

    def kept(self, network: Network) -> Path:
        """Where it stands what was compared of a network."""
        return self.out / "compared" / f"{network.key}.json"

    def place(self, data: str) -> Path:
        """The training data of a network."""
        return self.out / "data" / "training" / "clips.csv" if data == "synthetic" else self.root / FOLDERS[data]

    def named(self, data: str) -> list[str]:
        """The data as the commands are told it."""
        if data == "synthetic":
            return [str(self.place(data)), "--group", "group"]
        return [data, "--root", str(self.place(data))]

    def clips_of_synthetic(self) -> None:
        """Make the training clips and the unseen ones, once."""
        for name, count, seed in (("training", TRAINING, 0), ("unseen", UNSEEN, UNSEEN_SEED)):
            folder = self.out / "data" / name
            if not (folder / "clips.csv").is_file():
                print(f"making {count} synthetic clips in {folder}", flush=True)
                write(folder, count, seed)

    def trained(self, network: Network, seed: int) -> Path:
        """The folder of a trained detector, trained now if it is neither given nor there."""
        if network.key in self.given:
            return self.given[network.key][seed]
        folder = self.out / "detectors" / f"{network.key}-{seed}"
        if not (folder / "detector.json").is_file():
            options = list(network.options)
            if "--weights" in options:
                options[-1] = str(self.root / options[-1])
            epochs = [] if network.epochs is None else ["--epochs", str(network.epochs)]
            resume = ["--resume"] if (folder / "progress.pt").is_file() else []
            detector = ["--detector", network.detector, "--seed", str(seed), "--out", str(folder)]
            _run("train", *self.named(network.data), *detector, *epochs, *options, *resume)
        return folder

    def measured(self, network: Network, folder: Path) -> float | None:
        """A classifier's accuracy where it was not trained. None for a detector of errors."""
        detector = load_detector(folder)
        if not getattr(detector, "classes", ()):
            return None
        kept = self.out / "accuracy" / f"{network.key}-{detector.weights_digest[:8]}"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(kept) as aside:
                aside.write_text(repr(_accuracy(detector, self._unseen(network, detector))), encoding="utf-8")
        return float(kept.read_text(encoding="utf-8"))

    def _unseen(self, network: Network, detector: Detector) -> Sequence[Sample]:
        if network.data == "synthetic":
            return Folder(str(self.out / "data" / "unseen" / "clips.csv"), group="group").samples()
        return tested(detector, self._set(network), split_seed(detector.facts))

    def _set(self, network: Network) -> Dataset:
        return open_dataset(network.data, root=self.place(network.data))

    def compared(self, network: Network, folder: Path) -> Path:
        """The comparison of one detector's maps, on clips it was not trained on."""
        out = self.out / "compared" / f"{network.key}-{folder.name}"
        clips = min(self.clips, network.most or self.clips)
        asked = [str(folder), *self._compared_on(network, folder), "--clips", str(clips), "--out", str(out)]
        for name, lines in (("--explainer", network.explainers), ("--measure", measures(network))):
            asked += [word for line in lines for word in (name, line)]
        _run("compare", *asked)
        return out

    def _compared_on(self, network: Network, folder: Path) -> list[str]:
        """Unseen synthetic clips, pairs of held-out fights and calm clips, or the published test part."""
        if network.data == "synthetic":
            return [str(self.out / "data" / "unseen" / "clips.csv"), "--group", "group", "--all"]
        if network.data != "fight-surv":
            return self.named(network.data)
        detector, held, pairs = load_detector(folder), self._set(network), self.out / "data" / f"pairs-{folder.name}"
        if not (pairs / "pairs.csv").is_file():
            samples = tested(detector, held, split_seed(detector.facts))
            write_pairs(pairs, samples, PAIRS, normal=held.normal, windows=detector.windows)
        return [str(pairs / "pairs.csv"), "--group", "group", "--normal", "nofight", "--all"]


def _accuracy(detector: Detector, samples: Sequence[Sample]) -> float:
    """Share of the samples whose windows' mean logits name their class."""
    right, classes, network = 0, detector.classes, cast(nn.Module, detector.network)
    for sample in samples:
        with torch.no_grad():
            logits = torch.cat([logits_of(network(detector.prepare(x))) for x in detector.windows.cut(sample.open())])
        right += classes[int(logits.mean(dim=0).argmax())] == sample.label
    return right / len(samples)


def _run(*words: str) -> None:
    """A command of ours, shown as it is typed; a failure ends the study, which goes on there when started again."""
    print(f"\n$ vidence {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "vidence", *words], check=True)


def study_network(study: Study, network: Network) -> None:
    """Train and compare one network, seed by seed, and keep what there is of it; nothing where its data are absent."""
    if network.data != "synthetic" and not study.place(network.data).is_dir():
        print(f"{network.key} is left out: there is nothing at {study.place(network.data)}", flush=True)
        return
    began, detectors = time.perf_counter(), []
    for seed in range(len(study.given.get(network.key, range(study.seeds)))):
        folder = study.trained(network, seed)
        found = Trained(seed, study.measured(network, folder), str(study.compared(network, folder)))
        detectors.append(asdict(found))
    with written_aside(study.kept(network)) as aside:
        aside.write_text(json.dumps(detectors, indent=2) + "\n", encoding="utf-8")
    print(f"{network.key}: {(time.perf_counter() - began) / 60:.0f} minutes in this run", flush=True)


def finished(study: Study) -> Iterator[Compared]:
    """Every network that was compared, in this run or an earlier one."""
    for network in NETWORKS:
        if study.kept(network).is_file():
            held = [Trained(**each) for each in json.loads(study.kept(network).read_text(encoding="utf-8"))]
            names = (network.key, network.title, network.data, network.detector)
            yield Compared(*names, network.explainers, measures(network), tuple(held))


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("../shared/data"), help="folder of the published sets")
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--page", type=Path, default=Path("docs/study.md"), help="the page whose tables are rewritten")
    parser.add_argument("--network", action="append", choices=[each.key for each in NETWORKS])
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trained", action="append", default=[], metavar="KEY=DIR", help="a detector to take as it is")
    asked = parser.parse_args()
    given: dict[str, list[Path]] = {}
    for key, _, folder in (each.partition("=") for each in asked.trained):
        given.setdefault(key, []).append(Path(folder))
    study = Study(asked.out, asked.root, asked.clips, asked.seeds, given)
    chosen = [each for each in NETWORKS if each.key in (asked.network or [one.key for one in NETWORKS])]
    print(f"{len(chosen)} networks, {asked.seeds} seeds, up to {asked.clips} clips each", flush=True)
    study.clips_of_synthetic()
    for network in chosen:
        study_network(study, network)
        write_study(asked.page, list(finished(study)))
    print(f"written  {asked.page}")


if __name__ == "__main__":
    main()
