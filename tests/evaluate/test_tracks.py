"""One pass gives what separate passes would: errors, live scores, maps, each at its frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from vidence.datasets.dataset import Sample
from vidence.datasets.folder import Folder
from vidence.datasets.ucsd import UcsdPed2
from vidence.errors import DataError
from vidence.evaluate.cost import Meter
from vidence.evaluate.evaluation import evaluate
from vidence.evaluate.pixel_level import PixelTally
from vidence.evaluate.tracks import Maps, Track, follow
from vidence.frames.source import open_source
from vidence.models import reconstruction_detector
from vidence.models.classifier_detector import ClassifierSettings
from vidence.models.convlstm_predict import ConvLSTMPredict
from vidence.models.reconstruction import Reconstruction
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.models.recurrent_autoencoder import ConvRecurrent
from vidence.models.trivial import MeanFrame, PreviousFrame
from vidence.scoring.run import judge


@pytest.fixture
def ped2(tiny_ped2: Path) -> UcsdPed2:
    return UcsdPed2(str(tiny_ped2))


def overlapping() -> ReconstructionDetector:
    detector = MeanFrame(size=16, length=6, stride=2, smooth=3).build()
    detector.facts = {"calibration": {"low": 20.0, "high": 60.0}}
    return detector


def track(detector: ReconstructionDetector, ped2: UcsdPed2, place: int = 0, **more: PixelTally) -> Track:
    return follow(detector, ped2, ped2.split("test")[place], meter=Meter(), **more)


def test_live_scores_are_those_of_a_timeline(ped2: UcsdPed2) -> None:
    detector = overlapping()
    found = track(detector, ped2)
    whole = judge(detector, open_source(ped2.split("test")[0].path), threshold=0.5).curve
    np.testing.assert_array_equal(found.live, whole.values)
    np.testing.assert_array_equal(found.watched.scored.times, whole.times)


def test_raw_errors_are_means_over_windows(ped2: UcsdPed2) -> None:
    detector = overlapping()
    found = track(detector, ped2)
    held: dict[float, list[float]] = {}
    for clip in detector.windows.cut(open_source(ped2.split("test")[0].path)):
        errors = detector.errors(clip)
        for time, value in zip(errors.times.tolist(), errors.values.tolist(), strict=True):
            held.setdefault(time, []).append(value)
    assert max(map(len, held.values())) == 3
    np.testing.assert_allclose(found.raw, [np.mean(held[time]) for time in sorted(held)])


def test_a_source_too_short_for_a_score_ends_no_evaluation(ped2: UcsdPed2) -> None:
    whole = [Sample(each.path, each.label, each.path) for each in ped2.split("test")[2:]]
    short = replace(whole[0], frames=(0, 1))

    class Plain(Folder):
        def samples(self) -> list[Sample]:
            return whole

    plain = Plain("")
    detector = PreviousFrame(size=16, length=5).build()
    detector.threshold = {"value": 5.0, "rule": "quantile", "origin": ""}
    found = evaluate(detector, plain, [short, *whole])
    assert [len(track.frames) for track in found.tracks] == [0, 19, 19]
    assert found.metrics("live")["frames_scored"] == found.metrics("paper")["frames_scored"] == 38
    assert found.metrics() == found.metrics() | {
        name: evaluate(detector, plain, whole).metrics()[name] for name in ("frame_auc", "frame_ap", "eer")
    }
    meter = Meter()
    assert not len(follow(detector, plain, short, meter=meter).live)
    assert meter.window is None, "operations are counted on a window that has scores"


def test_frames_without_a_score_are_left_out(ped2: UcsdPed2) -> None:
    found = track(PreviousFrame(size=16, length=5).build(), ped2)
    assert found.frames.tolist() == list(range(1, 20))
    assert len(found.times) == 20
    assert found.truth.tolist() == [8 <= t <= 15 for t in range(1, 20)]
    assert found.window_s == pytest.approx(0.4)


def test_sampled_frames_keep_their_places(ped2: UcsdPed2) -> None:
    found = track(MeanFrame(size=16, length=2, rate=5.0).build(), ped2)
    assert found.frames.tolist() == list(range(0, 20, 2))
    assert found.truth.tolist() == [8 <= t <= 15 for t in range(0, 20, 2)]


@pytest.mark.parametrize("detector", [overlapping(), PreviousFrame(size=16, length=5).build()])
def test_maps_are_counted_at_their_frames(ped2: UcsdPed2, detector: ReconstructionDetector) -> None:
    """Slow twin: the mean density of every frame, all pixels kept."""
    sample, tally = ped2.split("test")[0], PixelTally()
    follow(detector, ped2, sample, meter=Meter(), tally=tally)
    held: dict[float, list[np.ndarray]] = {}
    for clip in detector.windows.cut(open_source(sample.path)):
        errors, density = detector.examined(clip)
        for time, values in zip(errors.times.tolist(), density(), strict=True):
            held.setdefault(time, []).append(values)
    means = np.stack([np.mean(held[time], axis=0) for time in sorted(held)])
    masks = ped2.truth(sample, 20).masks
    assert masks is not None
    expected = PixelTally()
    affine = detector.fit.to_source((48, 64), (16, 16))
    expected.add(means.astype(np.float32), masks[[round(time * 10) for time in sorted(held)]], affine=affine)
    found = tally.measures()
    assert found == {name: pytest.approx(value, abs=1e-5) for name, value in expected.measures().items()}
    assert found["pixel_auc"] > 0.8


class Switched(Meter):
    """Knows whether it runs."""

    on = False

    @contextmanager
    def running(self) -> Iterator[None]:
        with super().running():
            self.on = True
            yield
            self.on = False


def test_maps_cost_no_time_and_no_second_pass(ped2: UcsdPed2, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, meter = overlapping(), Switched()
    passes: list[bool] = []
    maps: list[bool] = []
    look, place = detector.network.forward, reconstruction_detector.density

    def forward(x: Tensor) -> Reconstruction:
        passes.append(meter.on)
        return look(x)

    def density(output: Reconstruction, x: Tensor, name: str) -> Tensor:
        maps.append(meter.on)
        return place(output, x, name)

    monkeypatch.setattr(detector.network, "forward", forward)
    monkeypatch.setattr(reconstruction_detector, "density", density)
    sample = ped2.split("test")[0]
    follow(detector, ped2, sample, meter=meter, tally=PixelTally())
    windows = len(list(detector.windows.cut(open_source(sample.path))))
    assert passes == [True] * windows
    assert maps == [False] * windows


def test_a_normal_source_without_masks_is_all_normal_pixels(ped2: UcsdPed2) -> None:
    detector, tally, normal = overlapping(), PixelTally(), ped2.split("test")[3]
    assert (normal.label, normal.mask) == ("normal", None)
    follow(detector, ped2, normal, meter=Meter(), tally=tally)
    assert tally._counts.sum(axis=1).tolist() == [20 * 48 * 64, 0]


def test_an_anomalous_source_without_masks_is_not_counted(ped2: UcsdPed2) -> None:
    tally, sample = PixelTally(), ped2.split("test")[0]
    bare = Sample(sample.path, sample.label, sample.group)
    found = follow(overlapping(), ped2, bare, meter=Meter(), tally=tally)
    assert not tally._counts.any()
    assert found.truth.sum() == 8


def test_maps_let_go_of_frames_that_are_done() -> None:
    maps = Maps()
    maps.add(np.array([0.0, 0.1]), np.stack([np.full((2, 2), value, np.float32) for value in (1, 2)]))
    maps.add(np.array([0.1, 0.2]), np.stack([np.full((2, 2), value, np.float32) for value in (4, 8)]))
    times, means = maps.before(0.2)
    assert times == [0.0, 0.1]
    assert means[:, 0, 0].tolist() == [1.0, 3.0]
    assert maps.before(0.2)[0] == []
    assert maps.before(np.inf)[0] == [0.2]


def test_a_classifier_is_judged_by_its_live_scores(detector_folder: Path, make_film: Callable[..., Path]) -> None:
    paths = [make_film("tracked-0.mp4", frames=12), make_film("tracked-1.mp4", (), frames=12, seed=2)]
    samples = [Sample(str(path), label, str(path)) for path, label in zip(paths, ("flash", "normal"), strict=True)]

    class Two(Folder):
        def samples(self) -> list[Sample]:
            return samples

    detector = ClassifierSettings.load(detector_folder)
    found = follow(detector, Two("."), samples[0], meter=Meter(), tally=PixelTally())
    assert (found.raw <= found.live).all()  # mean and highest of the windows that hold a frame
    assert found.truth.all()


def test_scores_that_are_not_finite_are_refused(ped2: UcsdPed2) -> None:
    detector = overlapping()
    detector.network.mean.fill_(float("nan"))  # type: ignore[operator, union-attr]
    with pytest.raises(DataError, match=r"finite; those of .*Test001"):
        track(detector, ped2)


@pytest.mark.parametrize("two_heads", [False, True])
def test_errors_are_told_by_how_far_ahead_a_frame_was_predicted(ped2: UcsdPed2, two_heads: bool) -> None:
    """Slow twin: frame by frame over all windows, the last of which is moved back."""
    detector = ConvRecurrent(mode="seq2seq", size=64, seeds=3, horizon=2, two_heads=two_heads).build()
    sample = ped2.split("test")[0]
    held: dict[int, list[float]] = {0: [], 1: []}
    for clip in detector.windows.cut(open_source(sample.path)):
        errors = detector.errors(clip)
        for time, value in zip(errors.times.tolist(), errors.values.tolist(), strict=True):
            step = clip.times.index(time) - 3
            if step >= 0 and not 8 <= round(time * 10) <= 15:
                held[step].append(value)
    assert min(map(len, held.values())) > 1
    found = evaluate(detector, ped2, [sample], pixels=False).error_per_step
    assert found == [pytest.approx(np.mean(held[step])) for step in (0, 1)]


def test_frames_that_are_not_predicted_ahead_have_no_steps(ped2: UcsdPed2) -> None:
    nearest = ConvLSTMPredict(size=16, length=4, horizon=1).build()
    for detector in (nearest, PreviousFrame(size=16, length=5).build(), overlapping()):
        assert evaluate(detector, ped2, ped2.split("test")[:1], pixels=False).error_per_step is None
