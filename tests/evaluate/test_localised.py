"""Explainers and controls on clips of known truth, in one table."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from vidence.attribution.explainer import Attributions, Explainer
from vidence.errors import DataError, ShapeError
from vidence.evaluate.bootstrap import interval
from vidence.evaluate.controls import CONTROLS
from vidence.evaluate.localised import COLUMNS, MaskedClip, localise
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.record.facts import ClipRef

T, H, W = 6, 32, 48


def box(first=2, last=3, top=8, left=10, side=8) -> np.ndarray:
    mask = np.zeros((T, H, W), bool)
    mask[first : last + 1, top : top + side, left : left + side] = True
    return mask


def test_an_interval_is_the_means_spread():
    values = np.random.default_rng(1).normal(3, 1, 400).tolist()
    mean, low, high = interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(values) / 20, rel=0.1)
    assert interval([1.0, 1.0]) == (1.0, 1.0, 1.0)
    assert interval(values) == interval(values)


class Redness(nn.Module):
    """Two logits: how little, and how much, red there is; no class tells about green."""

    def forward(self, x):
        red = (x[:, 0] - x[:, 2]).flatten(1).sum(dim=1)
        return torch.stack([4 - red, red], dim=1)


@dataclass
class Finder:
    network: nn.Module
    classes: tuple[str, ...] = ("normal", "red")
    normal: tuple[str, ...] = ("normal",)
    fit: Fit = Fit(size=16)  # noqa: RUF009

    def prepare(self, clip):
        return self.fit(clip)


@dataclass(frozen=True)
class InputGradient(Explainer):
    def explain_clip(self, model, x, score):
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(model(x), x).sum(), x)
        return Attributions((gradient * x).sum(dim=1).detach())


@dataclass(frozen=True)
class Nothing(InputGradient):
    def explain_clip(self, model, x, score):
        return Attributions(torch.zeros(len(x), x.shape[2], 2, 2))


def marked(seed: int, event: bool) -> MaskedClip:
    random = np.random.default_rng(seed)
    mask = box(first=2, last=3, top=int(random.integers(0, 24)), left=int(random.integers(0, 40)))
    pixels = np.full((T, H, W, 3), 60, np.uint8)
    if event:
        pixels[mask] = (250, 0, 0)
    times = tuple(i / 8 for i in range(T))
    return MaskedClip(
        Clip(ClipRef(f"clip{seed}", "0" * 64, 0, times), pixels), mask & event, "red" if event else "normal"
    )


def test_localise_finds_what_the_network_sees_and_names_what_does_not_help():
    clips = [marked(seed, seed < 12) for seed in range(16)]
    explainers = {"gradient": InputGradient(), "nothing": Nothing()}
    table = localise(Finder(Redness()), explainers, clips)
    assert table.accuracy == 1
    good = {measure: table.row("gradient", measure).mean for measure in COLUMNS}
    assert good["pointing"] == good["strongest-frame"] == good["pointing-frames"] == 1
    assert good["mass-inside"] > 0.7, "the rest is lost to the coarser grid"
    assert table.quiet["gradient"] == pytest.approx(0, abs=1e-6)
    assert table.quiet["nothing"] is None
    assert {row.n for row in table.rows} == {12}
    assert {row.explainer for row in table.rows} == {"gradient", "nothing", *CONTROLS}
    for row in table.rows:
        assert row.low <= row.mean <= row.high
    low = table.row("random-map", "mass-ratio")
    assert low.low < 1 < low.high
    assert localise(Finder(Redness()), explainers, clips) == table, "repeatable under a seed"


def test_the_table_is_written_for_people():
    table = localise(Finder(Redness()), {"gradient": InputGradient()}, [marked(0, True), marked(1, False)])
    text = table.markdown()
    assert text.startswith("| map | mass-inside |")
    assert "| gradient | " in text
    assert "1 clips with an anomaly; accuracy on all 1.000; seed 0." in text


def test_without_an_anomaly_there_is_nothing_to_find():
    with pytest.raises(DataError, match="none of 1 clips has one"):
        localise(Finder(Redness()), {}, [marked(0, False)])


def test_a_mask_must_fit_its_clip():
    clip = marked(0, True).clip
    with pytest.raises(ShapeError, match=r"bool \(6, 32, 48\).*got bool \(6, 32, 47\)"):
        MaskedClip(clip, np.zeros((T, H, W - 1), bool), "red")
    with pytest.raises(ShapeError, match="got uint8"):
        MaskedClip(clip, np.zeros((T, H, W), np.uint8), "red")
