"""The figures of a whole set: complete, in JSON, undefined where they must be, and those of its parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vidence.datasets.dataset import Dataset, Sample, Truth, digest
from vidence.datasets.ucsd import UcsdPed2
from vidence.errors import DataError, SpecError
from vidence.evaluate.evaluation import Evaluation, evaluate
from vidence.evaluate.protocols import paper_scores
from vidence.frames.images import read_image
from vidence.frames.source import open_source
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.models.trivial import MeanFrame, PreviousFrame

ASKED = {  # the keys
    "protocol",
    "frame_auc",
    "frame_ap",
    "eer",
    "class_auc",
    "pixel_auc",
    "pixel_ap",
    "pro",
    "event_delay_s",
    "false_alarms_per_hour",
}
OURS = {
    "causal",
    "frame_auc_interval",
    "oracle",
    "threshold",
    "events",
    "events_found",
    "false_alarms",
    "normal_s",
    "frames",
    "frames_scored",
    "sources",
    "told_s",
    "error_per_step",
    "detector",
    "weights",
    "data",
    "cost",
    "other_protocol",
}
COST = {"frames_per_s", "threads", "parameters", "flops_per_frame", "peak_rss_mib"}


def moving(threshold: float | None = 5.0) -> ReconstructionDetector:
    detector = PreviousFrame(channels=1, size=32, length=5, smooth=1).build()
    held = {"value": threshold, "rule": "quantile", "origin": "0.99 quantile of 40 normal frames", "warnings": []}
    detector.threshold = None if threshold is None else held
    return detector


@pytest.fixture(scope="module")
def ped2(tiny_ped2: Path) -> UcsdPed2:
    return UcsdPed2(str(tiny_ped2))


@pytest.fixture(scope="module")
def found(ped2: UcsdPed2) -> Evaluation:
    return evaluate(moving(), ped2, ped2.split("test"))


def test_every_figure_is_there_and_goes_into_json(found: Evaluation) -> None:
    live, paper = found.metrics(), found.metrics("paper")
    assert set(live) == ASKED | OURS
    assert set(paper) == ASKED | OURS | {"frame_auc_overall", "frame_auc_mean"}
    assert set(live["cost"]) == COST
    assert json.loads(json.dumps(live, allow_nan=False)) == live
    assert (live["protocol"], live["causal"], paper["protocol"], paper["causal"]) == ("live", True, "paper", False)
    shared = set(live["other_protocol"])
    assert {name: paper[name] for name in shared} == live["other_protocol"]
    assert {name: live[name] for name in paper["other_protocol"]} == paper["other_protocol"]


def test_the_counts_are_those_of_the_set(found: Evaluation, ped2: UcsdPed2) -> None:
    live = found.metrics()
    assert (live["sources"], live["frames"], live["frames_scored"]) == (4, 80, 76)
    assert live["data"] == digest(ped2.split("test"))
    assert live["detector"].startswith("previous-frame(")
    assert live["told_s"] == pytest.approx(0.3)


def test_live_scores_are_pooled_and_the_papers_are_normalised_per_video(found: Evaluation) -> None:
    truth = np.concatenate([track.truth for track in found.tracks])
    pooled = roc_auc_score(truth, np.concatenate([track.live for track in found.tracks]))
    normalised = roc_auc_score(truth, np.concatenate(paper_scores([track.raw for track in found.tracks])))
    live = found.metrics()
    assert live["frame_auc"] == pytest.approx(pooled)
    assert live["other_protocol"]["frame_auc"] == pytest.approx(normalised)
    assert live["frame_auc"] > 0.9  # it moves where the truth says so
    assert live["class_auc"] == {"anomalous": pytest.approx(pooled)}
    low, high = live["frame_auc_interval"]
    assert low <= live["frame_auc"] <= high


def test_alarms_are_those_of_the_detectors_own_threshold(found: Evaluation) -> None:
    live = found.metrics()
    assert live["threshold"]["origin"] == "0.99 quantile of 40 normal frames"
    assert live["threshold"]["recall"]["anomalous"] > 0.9
    assert (live["events"], live["events_found"]) == (4, 4)
    # two begin with the first frame, which has no score: their delay is a tenth of a second
    assert live["event_delay_s"] == pytest.approx(0.05)
    assert live["normal_s"] == pytest.approx((12 + 9 + 20) / 10)
    assert live["false_alarms_per_hour"] == live["false_alarms"] / live["normal_s"] * 3600
    assert live["other_protocol"]["threshold"] is None  # the paper's score comes too late for alarms
    assert live["other_protocol"]["event_delay_s"] is None


def test_alarms_are_joined_as_the_rule_of_the_threshold_joined_them(found: Evaluation) -> None:
    (calm,) = (track for track in found.tracks if not track.anomalous.any())
    live = np.zeros(len(calm.frames))
    live[[0, -1]] = 9.0  # almost two seconds apart
    twice = replace(found, tracks=(replace(calm, live=live),))
    once = replace(twice, threshold={"value": 5.0, "rule": "false-alarm-budget(merge_s=60.0)", "merge_s": 60.0})
    assert [each.metrics()["false_alarms"] for each in (twice, once)] == [2, 1]


def test_a_detector_without_a_threshold_raises_no_alarm(ped2: UcsdPed2) -> None:
    live = evaluate(moving(None), ped2, ped2.split("test")[:2], pixels=False).metrics()
    for name in ("threshold", "events", "events_found", "event_delay_s", "false_alarms_per_hour"):
        assert live[name] is None
    assert live["oracle"]["balanced_accuracy"] > 0.8


def test_pixels_are_measured_where_there_are_masks(found: Evaluation, ped2: UcsdPed2) -> None:
    live = found.metrics()
    for name in ("pixel_auc", "pixel_ap", "pro"):
        assert 0 < live[name] < 1
        assert live[name] == found.metrics("paper")[name]  # no protocol changes a map
    without = evaluate(moving(), ped2, ped2.split("test"), pixels=False).metrics()
    assert (without["pixel_auc"], without["pixel_ap"], without["pro"]) == (None, None, None)
    assert without["frame_auc"] == live["frame_auc"]


def test_one_kind_of_frame_leaves_the_rest_undefined(ped2: UcsdPed2) -> None:
    only = [sample for sample in ped2.split("test") if sample.path.endswith("Test003.mp4")]
    live = evaluate(moving(), ped2, only, pixels=False).metrics()
    for name in ("frame_auc", "frame_ap", "eer", "oracle", "frame_auc_interval", "false_alarms_per_hour"):
        assert live[name] is None
    assert live["class_auc"] == {"anomalous": None}
    assert live["events_found"] == 1
    json.dumps(live, allow_nan=False)


class Tiles(Dataset):
    """Images: clean ones, scratched ones, spotted ones."""

    normal = ("clean",)

    def __init__(self, folder: Path) -> None:
        import cv2

        self._samples, rng = [], np.random.default_rng(0)
        for place in range(18):
            label = ("clean", "scratch", "spot")[place % 3]
            pixels = rng.integers(100, 110, (32, 32, 3)).astype(np.uint8)
            if label == "scratch":
                pixels[:, 16] = 250
            if label == "spot":
                pixels[4:7, 4:7] = 130
            cv2.imwrite(str(folder / f"{place}.png"), pixels)
            self._samples.append(Sample(str(folder / f"{place}.png"), label, str(place), label))

    def samples(self) -> list[Sample]:
        return self._samples

    def truth(self, sample: Sample, frames: int) -> Truth:
        bright = read_image(Path(sample.path)).max(axis=2) > 120
        return Truth(np.full(frames, sample.label != "clean"), bright[None])


@pytest.fixture
def tiles(tmp_path: Path) -> Tiles:
    return Tiles(tmp_path)


def test_images_are_told_apart_class_by_class(tiles: Tiles) -> None:
    detector = MeanFrame(size=32, length=1).build()
    detector.threshold = {"value": 30.0, "rule": "fixed", "origin": "set by the user"}
    clips = [next(detector.windows.cut(open_source(s.path))) for s in tiles.samples() if s.label == "clean"]
    detector.network.learn(map(detector.prepare, clips))  # type: ignore[operator, union-attr]
    found = evaluate(detector, tiles, tiles.samples())
    live = found.metrics()
    assert found.stills
    assert live["frame_auc"] == 1.0
    assert live["class_auc"] == {"scratch": 1.0, "spot": 1.0}
    assert live["other_protocol"]["frame_auc"] == 1.0  # single pictures are not normalised by themselves
    assert live["pixel_auc"] > 0.99
    assert (live["events"], live["event_delay_s"], live["false_alarms_per_hour"], live["told_s"]) == (None,) * 4
    assert live["threshold"]["value"] == 30.0


def test_what_cannot_be_measured_is_refused(ped2: UcsdPed2, found: Evaluation) -> None:
    with pytest.raises(DataError, match="at least one source"):
        evaluate(moving(), ped2, [])
    with pytest.raises(SpecError, match="live, paper"):
        found.metrics("causal")  # type: ignore[arg-type]
    whole = PreviousFrame(length=40, size=16).build()
    whole.windows = type(whole.windows)(length=40, stride=39, partial="drop")
    with pytest.raises(DataError, match="none of the 1 sources is long enough"):
        evaluate(whole, ped2, ped2.split("test")[:1])
