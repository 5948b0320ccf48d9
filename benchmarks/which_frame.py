"""Which frame? Share of clips whose strongest frame lies in the event, on trained CNN+RNN classifiers.

    .venv/bin/python benchmarks/which_frame.py [--distractor] [--explainer LINE ...] [--clips 32] [--out FILE.csv]

Six models (GRU and LSTM, three seeds each) and a control that takes the mean over time learn to say whether an event of
two frames out of eight happened. A clip is 8 x 64 x 64; an event is a bright disc, for two frames, somewhere. With
`--distractor` every clip also shows, at another time, a bright square: as bright and as large as the event, and of no
class. The backbone is trained on single frames first. Explained is the logit of the class "event" against the other
(`contrast`), or the logit alone (`--score logit`). A frame's weight is the sum of its map, or the map's highest value:
the share under each is printed, sum / highest. Chance is two frames of eight, 0.25. In brackets the median completeness
gap, as a share of the score (change), where a method promises completeness.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from vidence.aside import written_aside
from vidence.errors import ExplainError
from vidence.pipeline import explainer_of, score_of

FRAMES, SIDE, EVENT, RADIUS = 8, 64, 2, 9
SEEDS = (0, 1, 2)
LINES = (
    "when-where",
    "integrated-cam",
    "integrated-gradients",
    "lrp",
    "deep-lift",
    "grad-cam",
    "gradient",
    "input-x-gradient",
    "frame-occlusion",
)
SCORES = {"contrast": "contrast(class=1)", "logit": "logit(class=1)"}


class FrameNetwork(nn.Module):
    """A small per-frame network with in-place ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(m, 3, h, w) -> (m, 32), the mean of each channel."""
        return self.layers(frames).mean((2, 3))


class Classifier(nn.Module):
    """Frames as one batch, a recurrent layer of 32 units whose last step is read out; or the mean over time."""

    def __init__(self, rnn: str) -> None:
        super().__init__()
        self.frames = FrameNetwork()
        self.rnn = None if rnn == "mean" else {"gru": nn.GRU, "lstm": nn.LSTM}[rnn](32, 32, batch_first=True)
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, t, h, w) -> (n, 2)."""
        features = self.frames(rearrange(x, "n c t h w -> (n t) c h w"))
        features = rearrange(features, "(n t) f -> n t f", n=len(x))
        return self.out(features.mean(dim=1) if self.rnn is None else self.rnn(features)[0][:, -1])


@dataclass(frozen=True)
class Clips:
    """x (n, 3, t, h, w) in [0, 1], labels (n,), and which frames show the event (n, t)."""

    x: Tensor
    labels: Tensor
    shown: Tensor


def made(n: int, seed: int, *, distractor: bool) -> Clips:
    """Half of the clips have an event."""
    dice = torch.Generator().manual_seed(seed)
    texture = F.interpolate(torch.rand(n, 3, 8, 8, generator=dice), SIDE, mode="bilinear") * 0.3 + 0.1
    x = texture[:, :, None] + 0.05 * torch.randn(n, 3, FRAMES, SIDE, SIDE, generator=dice)
    labels, shown = torch.arange(n) % 2, torch.zeros(n, FRAMES, dtype=torch.bool)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for i in range(n):
        first, other = (int(each) for each in torch.randperm(FRAMES // EVENT, generator=dice)[:2] * EVENT)
        (top, left), (down, across) = torch.randint(RADIUS, SIDE - RADIUS, (2, 2), generator=dice).tolist()
        if labels[i]:
            disc = (rows - top) ** 2 + (columns - left) ** 2 <= RADIUS**2
            x[i, :, first : first + EVENT, disc] = 0.9
            shown[i, first : first + EVENT] = True
        if distractor:
            half = round(RADIUS * torch.pi**0.5 / 2)  # the same area
            square = ((rows - down).abs() < half) & ((columns - across).abs() < half)
            x[i, :, other : other + EVENT, square] = 0.9
    return Clips(x.clamp(0, 1), labels, shown)


def trained(rnn: str, seed: int, *, distractor: bool) -> tuple[Classifier, float]:
    """A classifier and its accuracy on clips that it has not seen."""
    torch.manual_seed(seed)
    model, data = Classifier(rnn), made(512, 1000 + seed, distractor=distractor)
    frames, seen = rearrange(data.x, "n c t h w -> (n t) c h w"), data.shown.flatten().long()
    read = nn.Linear(32, 2)
    fit(nn.Sequential(model.frames, read), frames, seen, epochs=6, batch=64)
    model.frames.eval().requires_grad_(False)
    with torch.no_grad():
        features = rearrange(model.frames(frames), "(n t) f -> n t f", t=FRAMES)
    fit(_Head(model), features, data.labels, epochs=60, batch=32)
    test = made(128, 2000 + seed, distractor=distractor)
    model.eval()
    with torch.no_grad():
        accuracy = (model(test.x).argmax(1) == test.labels).float().mean()
    return model, float(accuracy)


class _Head(nn.Module):
    """What follows the features."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.rnn, self.out = model.rnn, model.out

    def forward(self, features: Tensor) -> Tensor:
        return self.out(features.mean(dim=1) if self.rnn is None else self.rnn(features)[0][:, -1])


def fit(model: nn.Module, x: Tensor, labels: Tensor, *, epochs: int, batch: int) -> None:
    """Adam on the cross-entropy."""
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):  # type: ignore[no-untyped-call]
            loss = F.cross_entropy(model(x[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


@dataclass(frozen=True)
class Cell:
    """Share of clips whose strongest frame, by the sum or the highest value of its map, shows the event; median gap."""

    by_sum: float
    by_highest: float
    gap: float | None

    def __str__(self) -> str:
        told = "" if self.gap is None else f" ({self.gap:.1%})"
        return f"{self.by_sum:.2f} / {self.by_highest:.2f}{told}"


def measured(model: nn.Module, line: str, score: str, clips: Clips) -> Cell | None:
    """Over the clips with an event; None where the map refuses the model."""
    explainer, asked = explainer_of(line), score_of(score, model)
    found, gaps = [], []
    for i in clips.labels.nonzero()[:, 0].tolist():
        try:
            told = explainer.attribute(model, clips.x[i : i + 1], asked, certify=False)
        except ExplainError:  # the control has no recurrent head
            return None
        frames = (told.values[0].sum(dim=(1, 2)).argmax(), told.values[0].amax(dim=(1, 2)).argmax())
        found.append([bool(clips.shown[i, frame]) for frame in frames])
        if told.certificate.gap is not None:
            gaps.append(abs(told.certificate.gap))
    by_sum, by_highest = torch.tensor(found).float().mean(dim=0).tolist()
    return Cell(by_sum, by_highest, statistics.median(gaps) if gaps else None)


def main() -> None:
    """Train, explain, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--distractor", action="store_true")
    parser.add_argument("--explainer", action="append")
    parser.add_argument("--score", choices=SCORES, default="contrast")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lines: Sequence[str] = asked.explainer or LINES
    models = [("mean", 0)] + [(rnn, seed) for rnn in ("gru", "lstm") for seed in SEEDS]
    table: dict[str, list[Cell | None]] = {line: [] for line in lines}
    names, console = [], Console(stderr=True)
    for rnn, seed in track(models, "models", console=console, transient=True):
        model, accuracy = trained(rnn, seed, distractor=asked.distractor)
        names.append(f"{rnn} {seed} ({accuracy:.0%})")
        clips = made(2 * asked.clips, 3000 + seed, distractor=asked.distractor)
        for line in lines:
            table[line].append(measured(model, line, SCORES[asked.score], clips))
    show(names, table)
    if asked.out:
        keep(asked.out, names, table)


def show(names: Sequence[str], table: dict[str, list[Cell | None]]) -> None:
    """A markdown table."""
    print(f"| map | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for line, cells in table.items():
        print(f"| `{line}` | {' | '.join('refused' if cell is None else str(cell) for cell in cells)} |")


def keep(path: Path, names: Sequence[str], table: dict[str, list[Cell | None]]) -> None:
    """One row per map and model."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("map", "model", "by_sum", "by_highest", "gap"))
        for line, cells in table.items():
            for name, cell in zip(names, cells, strict=True):
                if cell is not None:
                    rows.writerow((line, name, cell.by_sum, cell.by_highest, cell.gap))


if __name__ == "__main__":
    main()
