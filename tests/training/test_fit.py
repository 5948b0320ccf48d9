"""From files to a saved detector, and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidence import spec
from vidence.datasets.dataset import Sample
from vidence.errors import DataError, SpecError
from vidence.frames.source import open_source
from vidence.models import DETECTORS, load_detector
from vidence.models.classifier_detector import ClassifierDetector, ClassifierSettings
from vidence.models.cnn_rnn import CnnRnn
from vidence.scoring.thresholds import Quantile
from vidence.training.fit import fit
from vidence.training.schedule import Schedule

SCHEDULE = Schedule(epochs=25, batch=8, rate=0.02, views=1)


def fitted(settings: CnnRnn, clips: list[Sample], out: Path, **options: Any) -> ClassifierDetector:
    held = {"classes": ("flicker", "normal"), "normal": ("normal",), "progress": False, "schedule": SCHEDULE}
    return fit(settings, clips[:8], clips[8:], out=out, **(held | options))


def test_it_learns_saves_and_scores_as_it_was_judged(settings: CnnRnn, clips: list[Sample], tmp_path: Path) -> None:
    detector = fitted(settings, clips, tmp_path)
    assert detector.facts["metrics"]["val"]["auc"] == 1.0
    again = ClassifierSettings.load(tmp_path)
    assert again.threshold == detector.threshold
    assert detector.threshold["rule"] == "best-f1"
    above = []
    for sample in clips[8:]:
        session = again.start()
        windows = [session.push(clip) for clip in again.windows.cut(open_source(sample.path))]
        above.append(max(float(scores.values.max()) for scores in windows) > again.threshold["value"])
    assert above == [sample.label == "flicker" for sample in clips[8:]]
    facts = json.loads((tmp_path / "detector.json").read_text())["facts"]
    assert facts["clips"] == {"train": {"flicker": 4, "normal": 4}, "val": {"flicker": 2, "normal": 2}}
    assert facts["seed"] == 0
    assert facts["schedule"]["finetune"] == 0
    assert len((tmp_path / "log.csv").read_text().splitlines()) == facts["epochs"] + 1
    assert str(tmp_path) not in (tmp_path / "detector.json").read_text()


def test_the_same_fit_twice_and_resumed_gives_the_same_bytes(
    settings: CnnRnn, clips: list[Sample], tmp_path: Path
) -> None:
    digests = [fitted(settings, clips, tmp_path / name, epochs=3).weights_digest for name in "ab"]
    fitted(settings, clips, tmp_path / "c", epochs=2)
    digests.append(fitted(settings, clips, tmp_path / "c", epochs=3, resume=True).weights_digest)
    assert len(set(digests)) == 1
    assert fitted(settings, clips, tmp_path / "d", epochs=3, seed=1).weights_digest not in digests


def test_fine_tuning_trains_the_backbone_and_is_filmed(settings: CnnRnn, clips: list[Sample], tmp_path: Path) -> None:
    made: list[str] = []

    def write_movie(path: Path, frames: Any, times: Any) -> None:
        made.append(f"{path.name} {len(list(frames))}")

    schedule = Schedule(epochs=2, batch=8, finetune=1)
    detector = fitted(settings, clips, tmp_path, schedule=schedule, film=write_movie)
    torch.manual_seed(0)
    start = settings.build(("flicker", "normal"), normal=("normal",)).network.state_dict()
    moved = {name for name, value in detector.network.state_dict().items() if not torch.equal(start[name], value)}
    assert "backbone.features.10.weight" in moved
    assert "backbone.features.9.weight" not in moved
    assert made == ["filters.mp4 2", "activations.mp4 2"]


def test_a_frozen_backbone_is_not_filmed(settings: CnnRnn, clips: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="this one is frozen"):
        fitted(settings, clips, tmp_path, film=lambda *rest: None)


def test_rules_without_labels_see_normal_clips_alone(settings: CnnRnn, clips: list[Sample], tmp_path: Path) -> None:
    detector = fitted(settings, clips, tmp_path, epochs=2, rule=Quantile(0.5))
    assert detector.threshold["rule"] == "quantile(q=0.5)"
    scores = []
    for sample in clips[8:]:
        if sample.label == "normal":
            session = detector.start()
            for clip in detector.windows.cut(open_source(sample.path)):
                held = session.push(clip)
                scores += dict(zip(held.times.tolist(), held.values.tolist(), strict=True)).values()
    assert detector.threshold["value"] == pytest.approx(float(np.quantile(scores, 0.5)), abs=1e-5)


def test_a_label_that_is_no_class(settings: CnnRnn, clips: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels must be among smoke, normal; got flicker"):
        fitted(settings, clips, tmp_path, classes=("smoke", "normal"))


@pytest.mark.parametrize(
    "line",
    [
        "r3d-18(width=8, blocks=1, size=32, length=4, stride=4)",
        "convlstm(size=32, length=4, stride=4, units=8, grid=3, dropout=0.0)",
        "video-transformer(size=32, length=4, stride=4, rate=0.0, width=16, depth=1, heads=2, dropout=0.0)",
    ],
)
def test_networks_that_see_pixels_learn_are_saved_and_score(line: str, clips: list[Sample], tmp_path: Path) -> None:
    schedule = Schedule(epochs=15, batch=4, rate=5e-3, finetune_rate=1.0)
    detector = fitted(spec.build(line, DETECTORS), clips, tmp_path, schedule=schedule)
    assert detector.facts["metrics"]["val"]["auc"] == 1.0
    assert detector.facts["schedule"]["finetune"] == "all"
    again = load_detector(tmp_path)
    assert again.weights_digest == detector.weights_digest
    found = {sample.label: [] for sample in clips}
    for sample in clips[8:]:
        first = next(iter(again.windows.cut(open_source(sample.path))))
        found[sample.label].append(float(again.start().push(first).values[0]))
    assert min(found["flicker"]) > max(found["normal"])


def test_a_film_needs_a_per_frame_backbone(clips: list[Sample], tmp_path: Path) -> None:
    settings = spec.build("r3d-18(width=4, blocks=1, size=32, length=4, stride=4)", DETECTORS)
    with pytest.raises(SpecError, match="or there is none"):
        fitted(settings, clips, tmp_path, film=lambda *rest: None)
